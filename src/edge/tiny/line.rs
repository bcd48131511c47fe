//! The client's end of one tiny_http request, and how a request is refused.

use super::Shared;
use crate::edge::Line;
use crate::edge::socket::Hold;
use crate::edge::wire::{self, End};
use crate::error::Refusal;
use http::request;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request, Response, StatusCode};

/// How long a refused client that is still sending may take to notice.
const LINGER: Duration = Duration::from_secs(1);

/// Can so many unread bytes be left to tiny_http? It makes a buffer of that size to read them into, be
/// it at the end of the connection or on drop. Its pages are never touched, but a size that is not to
/// be had ends the process: so whoever asks for one must be found out here.
pub fn is_droppable(unread: u64) -> bool {
    let mut buffer: Vec<u8> = Vec::new();
    let granted = usize::try_from(unread).is_ok_and(|size| buffer.try_reserve_exact(size).is_ok());
    std::hint::black_box(&buffer); // or the compiler sees that nobody uses it, and grants anything
    granted
}

/// The first such header: the one that tiny_http looks at.
fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// Asks as tiny_http asks, and so gets the same answer.
fn connection_says(request: &Request, option: &str) -> bool {
    header(request, "Connection").is_some_and(|value| value.to_ascii_lowercase().contains(option))
}

/// `Connection: upgrade` makes tiny_http hand out the bare connection instead of the body.
pub fn is_raw(request: &Request) -> bool {
    connection_says(request, "upgrade")
}

/// What is unread of a request body.
#[derive(Clone, Copy, PartialEq)]
enum Unread {
    Nothing,
    Bytes(u64),
    Chunks,
}

/// One request's hold on its connection.
pub struct TinyLine {
    request: Option<Request>,
    writer: Option<Box<dyn Write + Send>>,
    unread: Unread,
    peer: SocketAddr,
    /// tiny_http ends this connection by itself after the reply.
    last: bool,
    shared: Arc<Shared>,
    _alive: Arc<()>,
}

impl TinyLine {
    /// Takes a request over. `alive` is kept until it has been answered.
    pub fn new(request: Request, peer: SocketAddr, shared: &Arc<Shared>, alive: &Arc<()>) -> Self {
        let says = |option| connection_says(&request, option);
        let old = *request.http_version() == HTTPVersion(1, 0);
        let unread = match (header(&request, "Transfer-Encoding"), header(&request, "Content-Length")) {
            (Some(_), _) => Unread::Chunks,
            (None, Some(length)) => length.parse().map_or(Unread::Nothing, Unread::Bytes),
            (None, None) => Unread::Nothing,
        };
        shared.open.fetch_add(1, SeqCst);
        TinyLine {
            unread: if unread == Unread::Bytes(0) { Unread::Nothing } else { unread },
            last: says("close") || says("upgrade") || (old && !says("keep-alive")),
            request: Some(request),
            writer: None,
            peer,
            shared: Arc::clone(shared),
            _alive: Arc::clone(alive),
        }
    }

    /// Gives up the request without a word, and in such a way that the process survives it.
    fn discard(&mut self) {
        let Some(request) = self.request.take() else { return };
        match self.unread {
            Unread::Bytes(left) if !is_droppable(left) => self.lose(request),
            _ => drop(request.into_writer()), // which has no last words, unlike the request
        }
    }

    /// Forgets something that must not be dropped. It costs a thread and two descriptors.
    fn lose<T>(&self, request: T) {
        std::mem::forget(request);
        let lost = self.shared.lost.fetch_add(1, Relaxed) + 1;
        tracing::warn!(client = %self.peer, lost, "a thread is lost to an upload too large to drop");
    }

    /// Leaves it to the threads that may wait.
    pub fn chore(self: Box<Self>, chore: fn(Box<Self>) -> Chore) {
        let chores = self.shared.chores.clone();
        // The lane is as long as the queue. Only when all of its threads wait for pipelined replies
        // or slow uploads, and it is full, does the edge wait too.
        let _ = chores.send(chore(self)); // closed: then the line is dropped, and discards itself
    }

    /// Reads the rest of the body, which tiny_http would otherwise read into memory.
    fn read_rest(&mut self) {
        let mut scratch = [0; 16 << 10];
        while self.unread != Unread::Nothing && self.read(&mut scratch).is_ok() {}
    }

    /// Takes the writer: from now on, nothing can be read.
    fn open_writer(&mut self) -> io::Result<&mut Box<dyn Write + Send>> {
        if self.unread != Unread::Nothing {
            self.read_rest();
        }
        let request = self.request.take().ok_or(ErrorKind::NotConnected)?;
        Ok(self.writer.insert(request.into_writer()))
    }

    /// The connection, for ending it.
    fn hold(&self) -> Option<Hold> {
        Hold::find(self.shared.local.port(), self.peer)
    }

    /// Answers while body bytes are unread. `into_writer` would wait for them, `respond` drops our
    /// headers: `upgrade` is the one call that writes a head and hands the connection over as it is.
    /// Hence the odd, but valid, `Upgrade` header, and the others in its wake.
    fn refuse_unread(&mut self, refusal: Refusal) -> io::Result<()> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let mut fields = b"HTTP/1.1\r\nConnection: close\r\n".to_vec();
        wire::refusal_fields(refusal, &mut fields);
        let fields = String::from_utf8_lossy(fields.trim_ascii_end()).into_owned();
        let head = Response::empty(StatusCode(refusal.status().as_u16()));
        let mut stream = request.upgrade(&fields, head);
        let written = stream.write_all(wire::refusal_text(refusal).as_bytes()).and_then(|()| stream.flush());
        let droppable = !matches!(self.unread, Unread::Bytes(left) if !is_droppable(left));
        let hold = self.hold();
        if let Some(hold) = &hold {
            hold.finish_writing();
        }
        match hold {
            Some(hold) if droppable => {
                self.linger(&hold, &mut stream);
                drop(stream);
            }
            None if droppable && self.last => drop(stream),
            // What is left of the body must not be dropped, or would be taken for the next request.
            _ => self.lose(stream),
        }
        written
    }
}

impl TinyLine {
    /// Lets a client that is still sending notice that it is refused: to close now, with bytes unread,
    /// would reset the connection, and the refusal might never be read.
    fn linger(&self, hold: &Hold, stream: &mut dyn Read) {
        // While others wait for their refusal, this client has no second to notice.
        let patience = if self.shared.chores.is_empty() { LINGER } else { Duration::ZERO };
        hold.limit_reads(LINGER);
        let deadline = Instant::now() + patience;
        let mut scratch = [0; 16 << 10];
        while Instant::now() < deadline && stream.read(&mut scratch).is_ok_and(|n| n > 0) {}
        hold.shut();
    }
}

impl Line for TinyLine {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(request) = &mut self.request else { return Ok(0) };
        let room = match self.unread {
            Unread::Nothing => return Ok(0),
            Unread::Bytes(left) => buf.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            Unread::Chunks => buf.len(),
        };
        let n = request.as_reader().read(&mut buf[..room]).map_err(|error| {
            io::Error::other(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::ClientTooSlow,
                _ => Refusal::ClientGone,
            })
        })?;
        self.unread = match self.unread {
            Unread::Bytes(_) if n == 0 => return Err(io::Error::other(Refusal::ClientGone)),
            Unread::Bytes(left) if left > n as u64 => Unread::Bytes(left - n as u64),
            Unread::Chunks if n > 0 => Unread::Chunks,
            _ => Unread::Nothing,
        };
        Ok(n)
    }

    fn may_keep(&self) -> bool {
        self.unread == Unread::Nothing && !self.shared.stopping.load(Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.open_writer()?,
        };
        writer.write_all(bytes)?;
        writer.flush()
    }

    fn end(self: Box<Self>, end: End) {
        match end {
            End::Keep => {}
            End::Close if self.last => {}
            End::Close => {
                self.shared.severed.add(self.peer, Instant::now());
                if let Some(hold) = self.hold() {
                    hold.finish_writing();
                }
            }
            End::Abort => {
                if let Some(hold) = self.hold() {
                    hold.reset();
                }
            }
        }
    }

    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        if request.is_none() || self.unread != Unread::Nothing {
            // Now, and not when it is answered: what follows on this connection may be on its way.
            self.shared.severed.add(self.peer, Instant::now());
        }
        let (bytes, end) = wire::refusal(refusal, request, self.may_keep());
        let chores = self.shared.chores.clone();
        let _ = chores.send(Chore::Answer { line: self, refusal, bytes, end });
    }
}

impl Drop for TinyLine {
    fn drop(&mut self) {
        self.discard();
        self.writer = None; // the reply is out before the request counts as done
        self.shared.open.fetch_sub(1, SeqCst);
    }
}

/// Work that may have to wait for a client.
pub enum Chore {
    /// A refusal.
    Answer { line: Box<TinyLine>, refusal: Refusal, bytes: Vec<u8>, end: End },
    /// A request that is not answered.
    Discard(Box<TinyLine>),
    /// The end of work.
    GoHome,
}

impl Chore {
    /// Does it. False when there is nothing more to do.
    pub fn carry_out(self) -> bool {
        match self {
            Chore::Answer { mut line, refusal, bytes, end } => {
                if line.unread == Unread::Nothing {
                    let end = if line.write(&bytes).is_ok() { end } else { End::Abort };
                    line.end(end);
                } else {
                    let _ = line.refuse_unread(refusal); // a client that is gone needs no answer
                }
            }
            Chore::Discard(line) => drop(line),
            Chore::GoHome => return false,
        }
        true
    }
}

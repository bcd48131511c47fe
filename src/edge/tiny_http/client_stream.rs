//! The client's end of one tiny_http request, and how a request is refused.

use super::{EdgeState, upgrade};
use crate::edge::ClientStream;
use crate::edge::response::{self, End};
use crate::edge::socket::Hold;
use crate::error::Refusal;
use crossbeam_channel::TrySendError;
use http::request;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request};

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
pub struct TinyHttpStream {
    /// Until the reply begins.
    request: Option<Request>,
    /// From then on.
    out: Option<Box<dyn Write + Send>>,
    unread: Unread,
    /// tiny_http has read the whole body already: it does so with small ones.
    buffered: bool,
    peer: SocketAddr,
    /// tiny_http ends this connection by itself after the reply.
    last: bool,
    /// Nothing that follows on this connection is believed.
    severs: bool,
    shared: Arc<EdgeState>,
    _alive: Arc<()>,
}

impl TinyHttpStream {
    /// Takes a request over. `alive` is kept until it has been answered.
    pub fn new(request: Request, peer: SocketAddr, shared: &Arc<EdgeState>, alive: &Arc<()>) -> Self {
        let says = |option| connection_says(&request, option);
        let old = *request.http_version() == HTTPVersion(1, 0);
        let unread = match (header(&request, "Transfer-Encoding"), header(&request, "Content-Length")) {
            (Some(_), _) => Unread::Chunks,
            (None, Some(length)) => length.parse().map_or(Unread::Nothing, Unread::Bytes),
            (None, None) => Unread::Nothing,
        };
        let small = matches!(unread, Unread::Bytes(length) if length <= 1024);
        shared.open.fetch_add(1, SeqCst);
        TinyHttpStream {
            unread: if unread == Unread::Bytes(0) { Unread::Nothing } else { unread },
            buffered: small && header(&request, "Expect").is_none() && !is_raw(&request),
            last: says("close") || says("upgrade") || (old && !says("keep-alive")),
            request: Some(request),
            out: None,
            severs: false,
            peer,
            shared: Arc::clone(shared),
            _alive: Arc::clone(alive),
        }
    }

    /// Leaves it to the threads that may wait. When more is left to them than they can do, the
    /// connection is reset: neither an edge nor a worker waits for a client that is refused.
    pub fn leave(self: Box<Self>, chore: impl FnOnce(Box<Self>) -> Chore) {
        let shared = Arc::clone(&self.shared);
        if let Err(TrySendError::Full(Chore::Answer { line, .. } | Chore::Linger(line) | Chore::Drop(line))) =
            shared.chores.try_send(chore(self))
        {
            line.end(End::Abort);
        }
    }

    /// Begins the reply. Where body bytes are unread, the ordinary way would wait for them.
    fn begin(&mut self, bytes: &[u8]) -> io::Result<&mut Box<dyn Write + Send>> {
        let request = self.request.take().ok_or(ErrorKind::NotConnected)?;
        let (out, bytes): (Box<dyn Write + Send>, _) = if self.unread == Unread::Nothing {
            (request.into_writer(), bytes)
        } else {
            let (head, body) = upgrade::shaped(bytes);
            (request.upgrade(&head.fields, head.response), body)
        };
        let out = self.out.insert(out);
        out.write_all(bytes).map(|()| out)
    }

    /// The connection, for ending it.
    fn hold(&self) -> Option<Hold> {
        Hold::find(self.shared.local.port(), self.peer)
    }

    /// Is the rest of the body such that the process survives its being dropped?
    fn is_droppable(&self) -> bool {
        !matches!(self.unread, Unread::Bytes(left) if !is_droppable(left))
    }

    /// Forgets what must not be dropped. It costs a thread and two descriptors.
    fn lose(&mut self) {
        std::mem::forget((self.request.take(), self.out.take()));
        let lost = self.shared.lost.fetch_add(1, Relaxed) + 1;
        tracing::warn!(client = %self.peer, lost, "a thread is lost to an upload that cannot be dropped");
    }

    /// Ends the connection. A client that is still sending would see a reset instead of its reply if it
    /// were closed at once.
    fn linger(&mut self) {
        self.sever(); // what is left of the body may be read as requests
        if let Some(hold) = self.hold() {
            // While others wait for their refusal, this client has no second to notice.
            let patience = if self.shared.chores.is_empty() { LINGER } else { Duration::ZERO };
            hold.finish_writing();
            hold.discard_input(Instant::now() + patience);
            hold.shut();
        }
    }

    /// From now on, nothing that comes on this connection is believed.
    fn sever(&mut self) {
        self.severs = true;
        self.shared.severed.add(self.peer);
    }
}

impl ClientStream for TinyHttpStream {
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
                ErrorKind::InvalidInput => Refusal::BadRequest("the body's chunks cannot be read"),
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
        self.unread == Unread::Nothing && !self.last && !self.shared.stopping.load(Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out.write_all(bytes).map(|()| out)?,
            None => self.begin(bytes)?,
        };
        out.flush()
    }

    fn end(self: Box<Self>, end: End) {
        match end {
            End::Keep => {}
            End::Abort => {
                if let Some(hold) = self.hold() {
                    hold.reset();
                }
            }
            End::Close if self.last && self.unread == Unread::Nothing => {}
            End::Close => self.leave(Chore::Linger),
        }
    }

    fn refuse(mut self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        if self.buffered {
            self.unread = Unread::Nothing; // it need not be read to be gone
        }
        if request.is_none() || self.unread != Unread::Nothing {
            // Now, and not when it is answered: what follows on this connection may be on its way.
            self.sever();
        }
        let (bytes, end) = response::refusal(refusal, request, self.may_keep());
        self.leave(|line| Chore::Answer { line, bytes, end });
    }
}

impl Drop for TinyHttpStream {
    fn drop(&mut self) {
        if !self.is_droppable() {
            self.lose();
        }
        // A request has last words when it is dropped, but not its writer.
        drop(self.request.take().map(Request::into_writer));
        self.out = None; // the reply is out before the request counts as done
        if self.severs {
            self.shared.severed.shut(self.peer, Instant::now());
        }
        self.shared.open.fetch_sub(1, SeqCst);
    }
}

/// Work that may have to wait for a client.
pub enum Chore {
    /// A refusal.
    Answer { line: Box<TinyHttpStream>, bytes: Vec<u8>, end: End },
    /// The end of a connection.
    Linger(Box<TinyHttpStream>),
    /// A request that is not answered. What is unread of it is waited for.
    Drop(Box<TinyHttpStream>),
    /// The end of work.
    GoHome,
}

impl Chore {
    /// Does it. False when there is nothing more to do.
    pub fn carry_out(self) -> bool {
        match self {
            Chore::Answer { mut line, bytes, end } => match line.write(&bytes) {
                Ok(()) if end == End::Keep || (line.last && line.unread == Unread::Nothing) => drop(line),
                Ok(()) => line.linger(),
                Err(_) => line.end(End::Abort),
            },
            Chore::Linger(mut line) => line.linger(),
            Chore::Drop(line) => drop(line),
            Chore::GoHome => return false,
        }
        true
    }
}

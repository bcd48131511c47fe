//! One tiny_http request: reading its body, writing its reply, and refusing it.

use crate::edge::client_stream::ClientStream;
use crate::edge::framing::AfterReply;
use crate::edge::response;
use crate::edge::tiny_http::connection_handle::ConnectionHandle;
use crate::edge::tiny_http::state::TinyHttpState;
use crate::edge::tiny_http::upgrade;
use crate::error::Refusal;
use crossbeam_channel::{Sender, TrySendError};
use http::request;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request};

/// Time for a refused client that is still sending to notice the refusal.
const LINGER: Duration = Duration::from_secs(1);

/// Returns whether tiny_http can skip this number of unread body bytes. To skip them, on drop for instance, it allocates
/// a buffer of that size. A failed allocation would abort the process, so the allocation is tried here first.
pub fn is_droppable(unread: u64) -> bool {
    let mut buffer: Vec<u8> = Vec::new();
    let can_allocate = usize::try_from(unread).is_ok_and(|size| buffer.try_reserve_exact(size).is_ok());
    std::hint::black_box(&buffer); // otherwise the compiler removes the unused allocation
    can_allocate
}

/// Returns the first header of this name, which is the one that tiny_http uses.
fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// Returns whether `Connection` contains `option`, by the same test as tiny_http's own.
fn connection_says(request: &Request, option: &str) -> bool {
    header(request, "Connection").is_some_and(|value| value.to_ascii_lowercase().contains(option))
}

/// Returns whether tiny_http hands out the bare connection instead of the body: it does so with
/// `Connection: upgrade`.
pub fn is_raw(request: &Request) -> bool {
    connection_says(request, "upgrade")
}

/// The part of a request body that is unread.
#[derive(Clone, Copy, PartialEq)]
enum UnreadBody {
    Nothing,
    Sized(u64),
    Chunked,
}

/// One request on its connection.
pub struct TinyHttpStream {
    /// The request, until the reply begins.
    request: Option<Request>,
    /// The writer, from then on.
    out: Option<Box<dyn Write + Send>>,
    unread: UnreadBody,
    /// Whether tiny_http has read the whole body already, as it does with small ones.
    buffered: bool,
    peer: SocketAddr,
    /// Whether tiny_http closes the connection after the reply.
    last: bool,
    /// Whether no further request on this connection is served.
    closing: bool,
    state: Arc<TinyHttpState>,
    tasks: Sender<RefusalTask>,
    _alive: Arc<()>,
}

impl TinyHttpStream {
    /// Makes a stream of a request. `alive` is kept until the request has been answered.
    pub fn new(
        request: Request,
        peer: SocketAddr,
        state: &Arc<TinyHttpState>,
        tasks: &Sender<RefusalTask>,
        alive: &Arc<()>,
    ) -> Self {
        let says = |option| connection_says(&request, option);
        let is_http_1_0 = *request.http_version() == HTTPVersion(1, 0);
        let unread = match (header(&request, "Transfer-Encoding"), header(&request, "Content-Length")) {
            (Some(_), _) => UnreadBody::Chunked,
            (None, Some(length)) => length.parse().map_or(UnreadBody::Nothing, UnreadBody::Sized),
            (None, None) => UnreadBody::Nothing,
        };
        let small = matches!(unread, UnreadBody::Sized(length) if length <= 1024);
        state.requests.fetch_add(1, SeqCst);
        TinyHttpStream {
            unread: if unread == UnreadBody::Sized(0) { UnreadBody::Nothing } else { unread },
            buffered: small && header(&request, "Expect").is_none() && !is_raw(&request),
            last: says("close") || says("upgrade") || (is_http_1_0 && !says("keep-alive")),
            request: Some(request),
            out: None,
            closing: false,
            peer,
            state: Arc::clone(state),
            tasks: tasks.clone(),
            _alive: Arc::clone(alive),
        }
    }

    /// Submits a task to the refusal threads, which may wait for the client. If too many tasks are pending
    /// the connection is reset: neither the edge nor a worker waits for a client that is refused.
    pub fn submit(self: Box<Self>, task: impl FnOnce(Box<Self>) -> RefusalTask) {
        use RefusalTask::{Drop, Linger, Reply};
        let tasks = self.tasks.clone();
        if let Err(TrySendError::Full(Reply { stream, .. } | Linger(stream) | Drop(stream))) =
            tasks.try_send(task(self))
        {
            stream.finish(AfterReply::Abort);
        }
    }

    /// Begins the reply with `bytes`. While body bytes are unread it takes an upgrade, because the ordinary
    /// way waits for them.
    fn begin(&mut self, bytes: &[u8]) -> io::Result<&mut Box<dyn Write + Send>> {
        let request = self.request.take().ok_or(ErrorKind::NotConnected)?;
        let (out, bytes): (Box<dyn Write + Send>, _) = if self.unread == UnreadBody::Nothing {
            (request.into_writer(), bytes)
        } else {
            let (head, body) = upgrade::as_upgrade(bytes);
            (request.upgrade(&head.fields, head.response), body)
        };
        let out = self.out.insert(out);
        out.write_all(bytes).map(|()| out)
    }

    /// Returns a handle for closing the connection, or `None` if it is closed already.
    fn handle(&self) -> Option<ConnectionHandle> {
        ConnectionHandle::find(self.state.local.port(), self.peer)
    }

    /// Returns whether the request can be dropped without ending the process.
    fn is_droppable(&self) -> bool {
        !matches!(self.unread, UnreadBody::Sized(left) if !is_droppable(left))
    }

    /// Leaks a request that must not be dropped. That costs a thread and two descriptors.
    fn leak(&mut self) {
        std::mem::forget((self.request.take(), self.out.take()));
        let leaked = self.state.leaked.fetch_add(1, Relaxed) + 1;
        tracing::warn!(
            client = %self.peer,
            lost = leaked,
            "the upload announces more bytes than can be skipped: its thread and two descriptors are not released"
        );
    }

    /// Closes the connection after some time: a client that is still sending would see a reset instead of
    /// its reply if it were closed at once.
    fn linger(&mut self) {
        self.mark_closing(); // what is left of the body might be read as requests
        if let Some(handle) = self.handle() {
            // While other refusals are pending, this client gets no extra time.
            let linger = if self.tasks.is_empty() { LINGER } else { Duration::ZERO };
            handle.shutdown_write();
            handle.discard_input(Instant::now() + linger);
            handle.shutdown();
        }
    }

    /// Makes the edge ignore all further requests on this connection.
    fn mark_closing(&mut self) {
        self.closing = true;
        self.state.closed.mark_closing(self.peer);
    }
}

impl ClientStream for TinyHttpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(request) = &mut self.request else { return Ok(0) };
        let room = match self.unread {
            UnreadBody::Nothing => return Ok(0),
            UnreadBody::Sized(left) => buf.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            UnreadBody::Chunked => buf.len(),
        };
        let n = request.as_reader().read(&mut buf[..room]).map_err(|error| {
            io::Error::other(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::ClientTooSlow,
                ErrorKind::InvalidInput => Refusal::BadRequest("the body's chunks are malformed"),
                _ => Refusal::ClientGone,
            })
        })?;
        self.unread = match self.unread {
            UnreadBody::Sized(_) if n == 0 => return Err(io::Error::other(Refusal::ClientGone)),
            UnreadBody::Sized(left) if left > n as u64 => UnreadBody::Sized(left - n as u64),
            UnreadBody::Chunked if n > 0 => UnreadBody::Chunked,
            _ => UnreadBody::Nothing,
        };
        Ok(n)
    }

    fn may_keep_alive(&self) -> bool {
        self.unread == UnreadBody::Nothing && !self.last && !self.state.stopping.load(Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out.write_all(bytes).map(|()| out)?,
            None => self.begin(bytes)?,
        };
        out.flush()
    }

    fn finish(self: Box<Self>, after: AfterReply) {
        match after {
            AfterReply::KeepAlive => {}
            AfterReply::Abort => {
                if let Some(handle) = self.handle() {
                    handle.reset();
                }
            }
            AfterReply::Close if self.last && self.unread == UnreadBody::Nothing => {}
            AfterReply::Close => self.submit(RefusalTask::Linger),
        }
    }

    fn refuse(mut self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        if self.buffered {
            self.unread = UnreadBody::Nothing; // tiny_http drops it with the request
        }
        if request.is_none() || self.unread != UnreadBody::Nothing {
            // Before the request is answered, because the connection's next request may arrive earlier.
            self.mark_closing();
        }
        let (bytes, after) = response::refusal(refusal, request, self.may_keep_alive());
        self.submit(|stream| RefusalTask::Reply { stream, bytes, after });
    }
}

impl Drop for TinyHttpStream {
    fn drop(&mut self) {
        if !self.is_droppable() {
            self.leak();
        }
        // tiny_http replies 500 to a request that is dropped, but its writer adds nothing.
        drop(self.request.take().map(Request::into_writer));
        self.out = None; // the reply has to be sent before the request counts as done
        if self.closing {
            self.state.closed.mark_closed(self.peer, Instant::now());
        }
        self.state.requests.fetch_sub(1, SeqCst);
    }
}

/// A task of the refusal threads, which may wait for a client.
pub enum RefusalTask {
    /// Send a refusal.
    Reply { stream: Box<TinyHttpStream>, bytes: Vec<u8>, after: AfterReply },
    /// Close a connection.
    Linger(Box<TinyHttpStream>),
    /// Drop a request without a reply, which may wait for its unread body.
    Drop(Box<TinyHttpStream>),
    /// End the thread.
    Stop,
}

impl RefusalTask {
    /// Runs the task. Returns whether the thread goes on with the next one.
    pub fn run(self) -> bool {
        match self {
            RefusalTask::Reply { mut stream, bytes, after } => match stream.write(&bytes) {
                Ok(()) if after == AfterReply::KeepAlive => drop(stream),
                Ok(()) if stream.last && stream.unread == UnreadBody::Nothing => drop(stream),
                Ok(()) => stream.linger(),
                Err(_) => stream.finish(AfterReply::Abort),
            },
            RefusalTask::Linger(mut stream) => stream.linger(),
            RefusalTask::Drop(stream) => drop(stream),
            RefusalTask::Stop => return false,
        }
        true
    }
}

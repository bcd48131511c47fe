//! Step 1a: the tiny_http edge, the one to read first.
//!
//! tiny_http accepts, gives each connection a thread, and reads heads. `Dispatch` takes each request
//! from it, checks it, and offers it at the queue's jobs; what workers read and write afterwards goes
//! through a `TinyHttpStream`. The rest answers for what tiny_http leaves open: it cannot close a connection
//! and reads unread bodies into memory (`client_stream`), and stops accepting after one error (`accept_watchdog`).

mod accept_watchdog;
mod client_stream;
mod lifecycle;
mod severed;
mod upgrade;

use super::request_head::{self, Body, RawHead};
use super::socket;
use super::{ClientStream, Exchange};
use crate::error::{Refusal, StartError};
use crate::observe::Outcome;
use crate::queue::JobSender;
use crate::sys::threads::ThreadGroup;
use accept_watchdog::Nerve;
use client_stream::{Chore, TinyHttpStream};
use crossbeam_channel::Sender;
use http::Version;
pub use lifecycle::TinyHttpEdge;
use severed::{Severed, State};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request, Server};

/// How often the edge looks for a request before it falls asleep.
const GLANCES: usize = 4;

/// What the requests of one listener share.
struct EdgeState {
    local: SocketAddr,
    /// Requests that wait for their reply.
    open: AtomicUsize,
    /// Connections given up together with their thread: to drop them would end the process.
    lost: AtomicUsize,
    stopping: AtomicBool,
    finished: AtomicBool,
    severed: Severed,
    chores: Sender<Chore>,
}

/// Takes requests from tiny_http and offers them at the jobs.
struct Dispatch {
    listener: TcpListener,
    shared: Arc<EdgeState>,
    limits: request_head::Limits,
    /// So long after its last byte, no connection of an old server is open any more.
    quiet: Duration,
    servers: Mutex<Vec<Arc<Server>>>,
    nerve: Arc<Nerve>,
    threads: ThreadGroup,
}

impl Dispatch {
    /// Starts a server on the listener, and the thread that takes its requests. When accepting has
    /// failed this is called again: the old server's connections are still served by their thread.
    fn serve(dispatch: &Arc<Self>, jobs: JobSender) -> Result<(), StartError> {
        let failed = |cause| StartError::Bind { address: dispatch.shared.local, cause };
        if !socket::has_descriptors(&dispatch.listener) {
            return Err(failed(io::Error::other("there are no file descriptors left")));
        }
        let listener = dispatch.listener.try_clone().map_err(failed)?;
        let server = Server::from_listener(listener, None).map_err(|e| failed(io::Error::other(e)))?;
        let server = Arc::new(server);
        dispatch.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&server));
        let this = Arc::clone(dispatch);
        dispatch.threads.start("edge", move || this.run(&server, &jobs))
    }

    fn run(&self, server: &Arc<Server>, jobs: &JobSender) {
        let alive = Arc::new(()); // a copy with each request: is any of this server's still open?
        let mut retired = false;
        while !self.shared.finished.load(SeqCst) {
            match self.receive(server) {
                Ok(Some(request)) => {
                    // Nobody would take the next request if this thread ended.
                    if catch_unwind(AssertUnwindSafe(|| self.admit(request, &alive, jobs))).is_err() {
                        tracing::error!("a request made the edge panic; it goes on with the next one");
                    }
                }
                Ok(None) if retired && Arc::strong_count(&alive) == 1 => break,
                Ok(None) => {}
                Err(error) => {
                    retired = true; // tiny_http accepts no more after any error
                    if !self.shared.stopping.load(SeqCst) {
                        tracing::error!("cannot accept connections: {error}");
                        self.nerve.accept_failed();
                    }
                }
            }
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|other| !Arc::ptr_eq(other, server));
    }

    /// The next request. Asking a few times before falling asleep spares tiny_http's threads most of
    /// the wake-ups under load, and this one most of its context switches.
    fn receive(&self, server: &Server) -> io::Result<Option<Request>> {
        for _ in 0..GLANCES {
            if let found @ (Ok(Some(_)) | Err(_)) = server.try_recv() {
                return found;
            }
            thread::yield_now();
        }
        if self.shared.finished.load(SeqCst) {
            return Ok(None); // the call to wake up may have been one of the answers above
        }
        server.recv_timeout(self.quiet)
    }

    /// One request: checked, then offered at the jobs or refused.
    fn admit(&self, request: Request, alive: &Arc<()>, jobs: &JobSender) {
        self.nerve.request();
        let Some(peer) = request.remote_addr().copied() else { return }; // a TCP client has one
        let arrived = Instant::now();
        let checked =
            request_head::check(raw_head(&request), &self.limits).and_then(|checked| match checked.1 {
                Body::Sized(length) if !client_stream::is_droppable(length) => Err(Refusal::BodyTooLarge),
                // tiny_http hands out the bare connection here, and nobody would read the chunks.
                Body::Chunked if client_stream::is_raw(&request) => Err(Refusal::NotImplemented),
                _ => Ok(checked),
            });
        let line = Box::new(TinyHttpStream::new(request, peer, &self.shared, alive));
        match self.shared.severed.state(peer, arrived) {
            State::Whole => {}
            State::Severed => return line.leave(Chore::Drop),
            State::Shut => return line.leave(Chore::Linger),
        }
        match checked {
            Ok(checked) => jobs.offer(Exchange::new(checked, peer, self.limits.body, line)),
            Err(refusal) => {
                jobs.recorder().record(&Outcome::refused(None, peer, arrived, refusal));
                line.refuse(refusal, None);
            }
        }
    }
}

fn raw_head(request: &Request) -> RawHead<'_, impl Iterator<Item = (&[u8], &[u8])>> {
    let version = match request.http_version() {
        HTTPVersion(1, 1) => Version::HTTP_11,
        HTTPVersion(1, 0) => Version::HTTP_10,
        _ => Version::HTTP_09,
    };
    let fields = request.headers().iter();
    let fields = fields.map(|h| (h.field.as_str().as_str().as_bytes(), h.value.as_str().as_bytes()));
    RawHead {
        method: request.method().as_str().as_bytes(),
        target: request.url().as_bytes(),
        version,
        fields,
    }
}

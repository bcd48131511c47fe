//! The thread that takes requests from tiny_http, checks them, and offers them to the queue.

use crate::edge::exchange::Exchange;
use crate::edge::options::Limits;
use crate::edge::request_head::{self, Body, RawHead};
use crate::edge::socket;
use crate::edge::tiny_http::accept_watchdog::WatchdogNotifier;
use crate::edge::tiny_http::client_stream::{self, RefusalTask, TinyHttpStream};
use crate::edge::tiny_http::closed_connections::PeerState;
use crate::edge::tiny_http::state::TinyHttpState;
use crate::error::{Refusal, StartError};
use crate::queue::sender::JobSender;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::Sender;
use http::Version;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request, Server};

/// The number of times that the edge polls for a request before it blocks.
const POLLS_BEFORE_BLOCKING: usize = 4;

/// Takes requests from tiny_http and offers them to the queue.
pub struct Dispatch {
    pub listener: TcpListener,
    pub state: Arc<TinyHttpState>,
    pub tasks: Sender<RefusalTask>,
    pub limits: Limits,
    /// Time after its last request in which a retired server's connections have all timed out.
    pub quiet_period: Duration,
    pub servers: Mutex<Vec<Arc<Server>>>,
    pub notifier: Arc<WatchdogNotifier>,
    pub threads: ThreadGroup,
}

impl Dispatch {
    /// Starts a server on the listener, and the thread that takes its requests. When accepting has
    /// failed this is called again: the old server's connections are still served by their thread.
    pub fn serve(dispatch: &Arc<Self>, jobs: JobSender) -> Result<(), StartError> {
        let failed = |cause| StartError::Bind { address: dispatch.state.local, cause };
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
        let alive = Arc::new(()); // each request holds a copy: the count tells whether any is open
        let mut retired = false;
        while !self.state.finished.load(SeqCst) {
            match self.receive(server) {
                Ok(Some(request)) => {
                    // A panic must not end this thread: it is the only one that takes requests.
                    if catch_unwind(AssertUnwindSafe(|| self.admit(request, &alive, jobs))).is_err() {
                        tracing::error!("a request was dropped after a panic in the edge");
                    }
                }
                Ok(None) if retired && Arc::strong_count(&alive) == 1 => break,
                Ok(None) => {}
                Err(error) => {
                    retired = true; // tiny_http stops accepting after any error
                    if !self.state.stopping.load(SeqCst) {
                        tracing::error!("cannot accept connections: {error}");
                        self.notifier.accept_failed();
                    }
                }
            }
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|other| !Arc::ptr_eq(other, server));
    }

    /// Returns the next request, or `None` after the quiet period without one. Polling a few times before
    /// it blocks spares tiny_http's threads most wake-ups under load, and this thread most of its context
    /// switches.
    fn receive(&self, server: &Server) -> io::Result<Option<Request>> {
        for _ in 0..POLLS_BEFORE_BLOCKING {
            if let found @ (Ok(Some(_)) | Err(_)) = server.try_recv() {
                return found;
            }
            thread::yield_now();
        }
        if self.state.finished.load(SeqCst) {
            return Ok(None); // a poll above may have consumed the call of `unblock`
        }
        server.recv_timeout(self.quiet_period)
    }

    /// Checks a request, then offers it to the queue or refuses it.
    fn admit(&self, request: Request, alive: &Arc<()>, jobs: &JobSender) {
        self.notifier.request_arrived();
        let Some(peer) = request.remote_addr().copied() else { return }; // every TCP client has one
        let arrived = Instant::now();
        let checked =
            request_head::check(raw_head(&request), &self.limits).and_then(|checked| match checked.1 {
                Body::Sized(length) if !client_stream::is_droppable(length) => Err(Refusal::BodyTooLarge),
                // tiny_http hands out the bare connection here, and the chunks would not be decoded.
                Body::Chunked if client_stream::is_raw(&request) => Err(Refusal::NotImplemented),
                _ => Ok(checked),
            });
        let stream = Box::new(TinyHttpStream::new(request, peer, &self.state, &self.tasks, alive));
        match self.state.closed.state(peer, arrived) {
            PeerState::Open => {}
            PeerState::Closing => return stream.submit(RefusalTask::Drop),
            PeerState::Closed => return stream.submit(RefusalTask::Linger),
        }
        match checked {
            Ok(checked) => jobs.offer(Exchange::new(checked, peer, self.limits.body, stream)),
            Err(refusal) => jobs.recorder().refuse_stream(stream, peer, arrived, refusal),
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

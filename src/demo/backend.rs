//! One demo backend: the tiny_http edge and a queue, with threads that answer requests themselves instead of forwarding
//! them.

use super::behaviour::Behaviour;
use crate::edge::exchange::Exchange;
use crate::edge::options::EdgeOptions;
use crate::edge::relay::ReplyBuffers;
use crate::edge::server::Server;
use crate::edge::tiny_http::edge::TinyHttpEdge;
use crate::error::StartError;
use crate::observe::recorder::Recorder;
use crate::queue::options::QueueOptions;
use crate::queue::receiver::JobReceiver;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Threads that answer, which is the number of requests that can be delayed at a time.
const ANSWERERS: usize = 64;

/// The time for requests in flight to finish when the backend stops. Delays have ended by then; only clients that are
/// still sending need it.
const GRACE: Duration = Duration::from_millis(500);

/// The time for threads to end once their connections are closed.
const CUT_OFF: Duration = Duration::from_millis(500);

/// A demo backend, bound to its address and not serving yet.
pub struct DemoBackend {
    edge: TinyHttpEdge,
    behaviour: Arc<Behaviour>,
}

/// A demo backend at work.
pub struct RunningBackend {
    server: Server,
    behaviour: Arc<Behaviour>,
    stopping: Arc<AtomicBool>,
}

impl DemoBackend {
    /// Binds an address. The backend greets with its name, or with its port as `:8081`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, name: Option<&str>, delay: Duration) -> Result<Self, StartError> {
        let edge = TinyHttpEdge::bind(address, &EdgeOptions::default())?;
        let behaviour = Arc::new(Behaviour::new(edge.local_addr(), name, delay));
        Ok(DemoBackend { edge, behaviour })
    }

    /// Binds the address of a stopped backend again, with its settings.
    pub(super) fn again(behaviour: Arc<Behaviour>) -> Result<Self, StartError> {
        Ok(DemoBackend { edge: TinyHttpEdge::bind(behaviour.address, &EdgeOptions::default())?, behaviour })
    }

    /// Returns the address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.behaviour.address
    }

    /// Returns the settings of the backend.
    pub(super) fn behaviour(&self) -> &Arc<Behaviour> {
        &self.behaviour
    }

    /// Starts serving.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self) -> Result<RunningBackend, StartError> {
        let DemoBackend { edge, behaviour } = self;
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = |behaviour: Arc<Behaviour>, stopping: Arc<AtomicBool>| {
            move |jobs: JobReceiver| answer_all(jobs, &behaviour, &stopping)
        };
        let workers = (0..ANSWERERS).map(|_| worker(Arc::clone(&behaviour), Arc::clone(&stopping))).collect();
        let recorder = Arc::new(Recorder::off());
        let server =
            Server::start("answer", vec![Box::new(edge)], QueueOptions::default(), recorder, workers)?;
        behaviour.set_runs(true);
        Ok(RunningBackend { server, behaviour, stopping })
    }
}

impl RunningBackend {
    /// Accepts nothing more, answers the delayed requests at once, and ends.
    pub fn stop(self) {
        self.behaviour.set_runs(false);
        self.stopping.store(true, SeqCst);
        self.behaviour.wake();
        let idle_by = Instant::now() + GRACE;
        self.server.stop(idle_by, idle_by + CUT_OFF);
    }
}

fn answer_all(mut receiver: JobReceiver, behaviour: &Behaviour, stopping: &AtomicBool) {
    let mut buffers = ReplyBuffers::default();
    while let Some(mut exchange) = receiver.take(Duration::MAX, &|| ()) {
        behaviour.wait(stopping);
        // It fails when the client has disconnected.
        let _ = answer(&mut exchange, behaviour, &mut buffers);
    }
}

/// Reads the request to its end, and sends the greeting, or an error if one is due.
fn answer(exchange: &mut Exchange, behaviour: &Behaviour, buffers: &mut ReplyBuffers) -> io::Result<()> {
    io::copy(exchange, &mut io::sink())?;
    let (is_good, text) = behaviour.next_reply();
    let (mut head, ()) = Response::new(()).into_parts();
    if !is_good {
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let (_, outcome) = exchange.reply(&head, Some(text.len() as u64), &mut text.as_bytes(), buffers);
    outcome.map_err(io::Error::other)
}

//! One demo backend: the tiny_http edge and a queue, with threads that answer requests themselves instead of forwarding
//! them.

use super::behaviour::Behaviour;
use crate::edge::lifecycle::{Edge, RunningEdge};
use crate::edge::response::Scratch;
use crate::edge::tiny_http::TinyHttpEdge;
use crate::edge::{self, Exchange};
use crate::error::StartError;
use crate::observe::Recorder;
use crate::queue::{self, JobReceiver};
use crate::sys::threads::ThreadGroup;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Threads that answer, which is the number of requests that can be delayed at a time.
const ANSWERERS: usize = 64;

/// How long requests in flight may take to finish when the backend stops. Delays have ended by then: this is for clients
/// that are still sending.
const GRACE: Duration = Duration::from_millis(500);

/// How long threads may take to end once their connections are closed.
const CUT_OFF: Duration = Duration::from_millis(500);

/// How often a backend that is stopping checks whether its last response is sent.
const GLANCE: Duration = Duration::from_millis(2);

/// A demo backend, bound to its address and not serving yet.
pub struct DemoBackend {
    edge: TinyHttpEdge,
    behaviour: Arc<Behaviour>,
}

/// A demo backend at work.
pub struct RunningBackend {
    edge: Box<dyn RunningEdge>,
    threads: ThreadGroup,
    behaviour: Arc<Behaviour>,
    leaving: Arc<AtomicBool>,
}

impl DemoBackend {
    /// Binds an address. The backend greets with its name, or with its port as `:8081`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, name: Option<&str>, delay: Duration) -> Result<Self, StartError> {
        let edge = TinyHttpEdge::bind(address, &edge::EdgeOptions::default())?;
        let behaviour = Arc::new(Behaviour::new(edge.local_addr(), name, delay));
        Ok(DemoBackend { edge, behaviour })
    }

    /// Binds the address of a backend that was stopped, with the same settings.
    pub(super) fn again(behaviour: Arc<Behaviour>) -> Result<Self, StartError> {
        Ok(DemoBackend {
            edge: TinyHttpEdge::bind(behaviour.address, &edge::EdgeOptions::default())?,
            behaviour,
        })
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
        let (threads, leaving) = (ThreadGroup::default(), Arc::new(AtomicBool::new(false)));
        let (jobs, receivers, monitor) =
            queue::open(ANSWERERS, queue::QueueOptions::default(), Arc::new(Recorder::off()));
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (behaviour, leaving) = (Arc::clone(&behaviour), Arc::clone(&leaving));
            threads.start(format!("answer-{number}"), move || answer_all(receiver, &behaviour, &leaving))?;
        }
        threads.start("queue-monitor", move || monitor.run())?;
        let edge = Box::new(edge).start(jobs)?;
        behaviour.set_runs(true);
        Ok(RunningBackend { edge, threads, behaviour, leaving })
    }
}

impl RunningBackend {
    /// Accepts nothing more, answers at once what it was still thinking about, and ends.
    pub fn stop(mut self) {
        self.behaviour.set_runs(false);
        self.edge.stop_accepting();
        self.leaving.store(true, SeqCst);
        self.behaviour.wake();
        let deadline = Instant::now() + GRACE;
        while !self.edge.is_idle() && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
        let deadline = Instant::now() + CUT_OFF;
        self.edge.finish(deadline);
        self.threads.join(deadline);
    }
}

fn answer_all(mut receiver: JobReceiver, behaviour: &Behaviour, leaving: &AtomicBool) {
    let mut scratch = Scratch::default();
    while let Some(mut exchange) = receiver.take(Duration::MAX, &|| ()) {
        behaviour.wait(leaving);
        // If the client has gone, there is no one to tell.
        let _ = answer(&mut exchange, behaviour, &mut scratch);
    }
}

/// Reads the request to its end, and sends the greeting, or an error if one is due.
fn answer(exchange: &mut Exchange, behaviour: &Behaviour, scratch: &mut Scratch) -> io::Result<()> {
    io::copy(exchange, &mut io::sink())?;
    let (is_good, text) = behaviour.next_reply();
    let (mut head, ()) = Response::new(()).into_parts();
    if !is_good {
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let (_, outcome) = exchange.reply(&head, Some(text.len() as u64), &mut text.as_bytes(), scratch);
    outcome.map_err(io::Error::other)
}

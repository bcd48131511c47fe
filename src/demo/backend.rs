//! One demo backend: the tiny_http edge and a queue, with somebody behind them who answers in place of a worker who
//! asks a backend.

use super::behaviour::Part;
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

/// Threads that answer: so many requests can be thought about at a time.
const ANSWERERS: usize = 64;

/// How long requests under way may take to finish when the backend stops. Nobody thinks any more by then: it is for
/// clients that are still sending.
const GRACE: Duration = Duration::from_millis(500);

/// How long threads may take to end once they have been cut off.
const CUT_OFF: Duration = Duration::from_millis(500);

/// How often a backend that is stopping looks whether the last reply is out.
const GLANCE: Duration = Duration::from_millis(2);

/// A demo backend that has its address, and is not serving yet.
pub struct DemoBackend {
    edge: TinyHttpEdge,
    part: Arc<Part>,
}

/// A demo backend at work.
pub struct RunningBackend {
    edge: Box<dyn RunningEdge>,
    threads: ThreadGroup,
    part: Arc<Part>,
    leaving: Arc<AtomicBool>,
}

impl DemoBackend {
    /// Binds an address. The backend is called by its name, or by its port as `:8081`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, name: Option<&str>, delay: Duration) -> Result<Self, StartError> {
        let edge = TinyHttpEdge::bind(address, &edge::Options::default())?;
        let part = Arc::new(Part::new(edge.local_addr(), name, delay));
        Ok(DemoBackend { edge, part })
    }

    /// Binds the address of one that has stopped, to go on with its part.
    pub(super) fn again(part: Arc<Part>) -> Result<Self, StartError> {
        Ok(DemoBackend { edge: TinyHttpEdge::bind(part.address, &edge::Options::default())?, part })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.part.address
    }

    /// The part that it plays.
    pub(super) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Starts serving.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self) -> Result<RunningBackend, StartError> {
        let DemoBackend { edge, part } = self;
        let (threads, leaving) = (ThreadGroup::default(), Arc::new(AtomicBool::new(false)));
        let (jobs, receivers, monitor) =
            queue::open(ANSWERERS, queue::Options::default(), Arc::new(Recorder::off()));
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (part, leaving) = (Arc::clone(&part), Arc::clone(&leaving));
            threads.start(format!("answer-{number}"), move || answer_all(receiver, &part, &leaving))?;
        }
        threads.start("queue-monitor", move || monitor.run())?;
        let edge = Box::new(edge).start(jobs)?;
        part.set_runs(true);
        Ok(RunningBackend { edge, threads, part, leaving })
    }
}

impl RunningBackend {
    /// Accepts nothing more, answers at once what it was still thinking about, and ends.
    pub fn stop(mut self) {
        self.part.set_runs(false);
        self.edge.stop_accepting();
        self.leaving.store(true, SeqCst);
        self.part.wake();
        let deadline = Instant::now() + GRACE;
        while !self.edge.is_idle() && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
        let deadline = Instant::now() + CUT_OFF;
        self.edge.finish(deadline);
        self.threads.join(deadline);
    }
}

fn answer_all(mut receiver: JobReceiver, part: &Part, leaving: &AtomicBool) {
    let mut scratch = Scratch::default();
    while let Some(mut exchange) = receiver.take(Duration::MAX, &|| ()) {
        part.think(leaving);
        // A client that goes away in the middle is its own business.
        let _ = answer(&mut exchange, part, &mut scratch);
    }
}

/// Reads the request to its end and greets; or fails, if that is what is next.
fn answer(exchange: &mut Exchange, part: &Part, scratch: &mut Scratch) -> io::Result<()> {
    io::copy(exchange, &mut io::sink())?;
    let (well, text) = part.next_reply();
    let (mut head, ()) = Response::new(()).into_parts();
    if !well {
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let (_, outcome) = exchange.reply(&head, Some(text.len() as u64), &mut text.as_bytes(), scratch);
    outcome.map_err(io::Error::other)
}

//! The demo backends: servers that say who they are.
//!
//! They are the balancer's own edge and queue, with somebody behind it who answers at once in place
//! of a worker who asks a backend.

use crate::edge::lifecycle::{Edge, Running};
use crate::edge::tiny::TinyEdge;
use crate::edge::wire::Scratch;
use crate::edge::{self, Exchange};
use crate::error::StartError;
use crate::queue::{self, Seat};
use crate::record::Recorder;
use crate::threads::Crew;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Threads that answer: so many requests can be thought about at a time.
const ANSWERERS: usize = 64;

/// How long requests under way may take to finish when the backend stops.
const GRACE: Duration = Duration::from_secs(1);

/// A demo backend that has its address, and is not serving yet.
pub struct DemoBackend {
    edge: TinyEdge,
    greeting: Arc<str>,
    delay: Duration,
}

/// A demo backend at work.
pub struct RunningBackend {
    edge: Box<dyn Running>,
    crew: Crew,
}

impl DemoBackend {
    /// Binds an address. The backend is called by its name, or by its port as `:8081`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, name: Option<&str>, delay: Duration) -> Result<Self, StartError> {
        let edge = TinyEdge::bind(address, &edge::Options::default())?;
        let name = name.map_or_else(|| format!(":{}", edge.local_addr().port()), str::to_owned);
        let greeting = format!("Hello from backend server on {name}\n").into();
        Ok(DemoBackend { edge, greeting, delay })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.edge.local_addr()
    }

    /// Starts serving.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self) -> Result<RunningBackend, StartError> {
        let DemoBackend { edge, greeting, delay } = self;
        let crew = Crew::default();
        let (door, seats, foreman) =
            queue::open(ANSWERERS, queue::Options::default(), Arc::new(Recorder::off()));
        for (number, seat) in seats.into_iter().enumerate() {
            let greeting = Arc::clone(&greeting);
            crew.start(format!("answer-{number}"), move || answer_all(seat, &greeting, delay))?;
        }
        crew.start("foreman", move || foreman.run())?;
        Ok(RunningBackend { edge: Box::new(edge).start(door)?, crew })
    }
}

impl RunningBackend {
    /// Finishes what is under way, and ends.
    pub fn stop(mut self) {
        let deadline = Instant::now() + GRACE;
        self.edge.stop_accepting();
        while !self.edge.is_idle() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.edge.finish(deadline);
        self.crew.join(deadline);
    }
}

fn answer_all(mut seat: Seat, greeting: &str, delay: Duration) {
    let mut scratch = Scratch::default();
    while let Some(mut exchange) = seat.take(Duration::MAX, &|| ()) {
        thread::sleep(delay);
        // A client that goes away in the middle is its own business.
        let _ = answer(&mut exchange, greeting, &mut scratch);
    }
}

/// Reads the request to its end and greets.
fn answer(exchange: &mut Exchange, greeting: &str, scratch: &mut Scratch) -> io::Result<()> {
    io::copy(exchange, &mut io::sink())?;
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let (_, outcome) = exchange.reply(&head, Some(greeting.len() as u64), &mut greeting.as_bytes(), scratch);
    outcome.map_err(io::Error::other)
}

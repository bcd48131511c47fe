//! Step 3: one request at a time. Choose, forward, relay, record.

use crate::access_log::{AccessLog, Outcome};
use crate::backend::{Backend, InFlight};
use crate::chooser::Chooser;
use crate::edge::Exchange;
use crate::edge::wire::{RelayError, Scratch};
use crate::error::Refusal;
use crate::forward::retry::{self, Next};
use crate::forward::{Failed, Forwarder, Reply};
use crate::queue::Seat;
use crate::strategy::ClientKey;
use http::StatusCode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all workers share.
pub struct Shared {
    /// Which backend is next.
    pub chooser: Chooser,
    /// Where outcomes go.
    pub log: Arc<AccessLog>,
    /// Further backends that are tried when one fails.
    pub retries: u32,
    /// How long a request may have waited in the queue.
    pub queue_timeout: Duration,
    /// How long a connection to a backend is kept without use.
    pub upstream_idle_timeout: Duration,
}

/// One worker, and what it has to itself.
pub struct Worker {
    shared: Arc<Shared>,
    forwarder: Forwarder,
    scratch: Scratch,
}

/// How far a request has come: what is recorded of it.
#[derive(Default)]
struct Progress<'a> {
    queued: Duration,
    tries: u32,
    backend: Option<&'a Backend>,
    upstream: Duration,
}

impl<'a> Progress<'a> {
    fn outcome(&self, exchange: &'a Exchange, status: StatusCode, bytes: u64) -> Outcome<'a> {
        Outcome {
            head: Some(&exchange.head),
            peer: exchange.peer,
            arrived: exchange.arrived,
            status,
            bytes,
            backend: self.backend,
            tries: self.tries,
            queued: self.queued,
            upstream: self.upstream,
        }
    }
}

impl Worker {
    /// A worker with connections of its own.
    pub fn new(shared: Arc<Shared>, forwarder: Forwarder) -> Self {
        Worker { shared, forwarder, scratch: Scratch::default() }
    }

    /// Serves requests until the queue is closed and empty.
    pub fn run(mut self, mut seat: Seat) {
        let idle = self.shared.upstream_idle_timeout;
        while let Some(exchange) = seat.take(idle, &|| self.forwarder.close_idle()) {
            // A panic costs one request: its exchange, dropped on the way, answers 502.
            if catch_unwind(AssertUnwindSafe(|| self.serve(exchange))).is_err() {
                tracing::error!("a request made this worker panic; it goes on with the next one");
            }
        }
    }

    fn serve(&mut self, mut exchange: Exchange) {
        let shared = Arc::clone(&self.shared);
        let mut progress = Progress { queued: exchange.arrived.elapsed(), ..Progress::default() };
        let outcome = if progress.queued > shared.queue_timeout {
            Err(Refusal::QueuedTooLong)
        } else {
            self.forward(&shared, &mut exchange, &mut progress)
        };
        let (status, bytes) = match outcome {
            Ok((reply, _in_flight)) => self.relay(&mut exchange, reply, progress.backend),
            Err(refusal) => exchange.refuse(refusal),
        };
        shared.log.record(&progress.outcome(&exchange, status, bytes));
    }

    /// Tries backends until one has begun a reply.
    fn forward<'a>(
        &self,
        shared: &'a Shared,
        exchange: &mut Exchange,
        progress: &mut Progress<'a>,
    ) -> Result<(Reply, InFlight<'a>), Refusal> {
        let client = ClientKey { address: exchange.peer.ip() };
        let mut refusal = Refusal::NoBackend;
        for backend in shared.chooser.tour(client).take(1 + shared.retries as usize) {
            progress.tries += 1;
            progress.backend = Some(backend);
            let in_flight = backend.enter();
            match self.try_backend(backend, exchange, progress) {
                Ok(reply) => return Ok((reply, in_flight)),
                Err((failed, next)) => {
                    refusal = failed.refusal;
                    if next != Next::Another {
                        break;
                    }
                }
            }
        }
        Err(refusal)
    }

    /// One backend, and a second time over a new connection if the first was stale.
    fn try_backend(
        &self,
        backend: &Backend,
        exchange: &mut Exchange,
        progress: &mut Progress<'_>,
    ) -> Result<Reply, (Failed, Next)> {
        loop {
            let began = Instant::now();
            let outcome = self.forwarder.send(backend, exchange);
            progress.upstream = began.elapsed();
            let failed = match outcome {
                Ok(reply) => {
                    backend.report(None);
                    return Ok(reply);
                }
                Err(failed) => failed,
            };
            let request = retry::Request {
                idempotent: retry::is_idempotent(&exchange.head.method),
                body_untouched: exchange.body_untouched(),
            };
            let next = retry::next(failed.failure, request);
            // A stale connection leaves the pool by failing, so this comes to an end.
            if next != Next::Redial {
                if !failed.failure.client {
                    backend.report(Some(&failed.cause));
                }
                return Err((failed, next));
            }
        }
    }

    fn relay(
        &mut self,
        exchange: &mut Exchange,
        reply: Reply,
        backend: Option<&Backend>,
    ) -> (StatusCode, u64) {
        let Reply { head, length, mut body } = reply;
        let (sent, outcome) = exchange.reply(&head, length, &mut body, &mut self.scratch);
        if let Err(error @ RelayError::Backend(_)) = &outcome {
            let name = backend.map_or("-", |backend| backend.authority().as_str());
            tracing::warn!("backend {name}: {error}");
        }
        (head.status, sent)
    }
}

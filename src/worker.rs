//! Step 3: one request at a time. Choose, forward, relay, record.

use crate::backend::instance::{Backend, InFlight};
use crate::balance::strategy::ClientKey;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::cluster::swap::CachedReader;
use crate::edge::Exchange;
use crate::edge::response::{RelayError, Scratch};
use crate::error::Refusal;
use crate::forward::forwarder::Forwarder;
use crate::forward::outcome::{BackendReply, FailedAttempt};
use crate::forward::retry::{self, RetryDecision};
use crate::observe::{Ended, Progress, Recorder, Sent};
use crate::queue::JobReceiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all workers share.
pub struct Shared {
    /// Where outcomes go.
    pub recorder: Arc<Recorder>,
    /// How long a request may have waited in the queue, and how long it may wait for a backend that is not full.
    pub queue_timeout: Duration,
}

/// One worker, and what it has to itself.
pub struct Worker {
    number: usize,
    shared: Arc<Shared>,
    snapshot: CachedReader<RoutingSnapshot>,
    forwarder: Forwarder,
    scratch: Scratch,
}

impl Worker {
    /// A worker with a number and connections of its own.
    pub fn new(
        number: usize,
        shared: Arc<Shared>,
        snapshot: CachedReader<RoutingSnapshot>,
        forwarder: Forwarder,
    ) -> Self {
        Worker { number, shared, snapshot, forwarder, scratch: Scratch::default() }
    }

    /// Serves requests until the queue is closed and empty.
    pub fn run(mut self, mut receiver: JobReceiver) {
        loop {
            let idle = self.snapshot.get().forward.upstream_idle_timeout;
            let Some(mut exchange) = receiver.take(idle, &|| self.forwarder.close_idle()) else { return };
            // A panic costs one request.
            if catch_unwind(AssertUnwindSafe(|| self.serve(&mut exchange))).is_err() {
                tracing::error!("a request made this worker panic; it goes on with the next one");
                self.shared.recorder.give_up(exchange);
            }
        }
    }

    fn serve(&mut self, exchange: &mut Exchange) {
        let (shared, snapshot) = (Arc::clone(&self.shared), Arc::clone(self.snapshot.get()));
        self.forwarder.set_options(&snapshot.forward);
        let mut progress = shared.recorder.begin(self.number, exchange);
        let outcome = if progress.queued > shared.queue_timeout {
            Err(Refusal::QueuedTooLong)
        } else {
            self.forward(&snapshot, exchange, &mut progress)
        };
        let sent = match outcome {
            Ok((reply, in_flight)) => {
                progress.relays();
                self.relay(exchange, reply, in_flight.backend())
            }
            // All of its backends are draining, and there is another snapshot by now: its backends may not be.
            Err(Refusal::NoBackend) if !Arc::ptr_eq(&snapshot, self.snapshot.get()) => {
                drop(progress);
                return self.serve(exchange);
            }
            Err(refusal) => progress.refuse(exchange, refusal),
        };
        shared.recorder.record(&progress.outcome(exchange, sent));
    }

    /// Tries backends until one has begun a reply.
    fn forward<'a>(
        &self,
        snapshot: &'a RoutingSnapshot,
        exchange: &mut Exchange,
        progress: &mut Progress<'a>,
    ) -> Result<(BackendReply, InFlight<'a>), Refusal> {
        snapshot.budget.count_request(Instant::now());
        let client = ClientKey { address: exchange.peer.ip() };
        let mut attempts =
            snapshot.selector.attempts(client, &exchange.head.headers, self.shared.queue_timeout);
        let mut last: Option<FailedAttempt> = None;
        for _ in 0..=snapshot.forward.retries {
            // The budget is asked where there is a retry to be made, and not for one that nobody makes.
            if last.as_ref().is_some_and(|failed| !attempts.has_next() || !snapshot.may_retry(failed.failure))
            {
                break;
            }
            let Some(in_flight) = attempts.next_backend()? else { break };
            let backend = in_flight.backend();
            progress.tries(backend);
            match self.try_backend(snapshot, backend, exchange, progress) {
                Ok(mut reply) => {
                    attempts.set_cookie(backend, &mut reply.head.headers);
                    return Ok((reply, in_flight));
                }
                Err((failed, RetryDecision::TryAnother)) => last = Some(failed),
                Err((failed, _)) => return Err(failed.refusal),
            }
        }
        Err(last.map_or(Refusal::NoBackend, |failed| failed.refusal))
    }

    /// One backend, and a second time over a new connection if the first was stale.
    fn try_backend(
        &self,
        snapshot: &RoutingSnapshot,
        backend: &Backend,
        exchange: &mut Exchange,
        progress: &mut Progress<'_>,
    ) -> Result<BackendReply, (FailedAttempt, RetryDecision)> {
        loop {
            let began = Instant::now();
            let outcome = self.forwarder.send(backend, &snapshot.trusted_proxies, exchange);
            progress.upstream = began.elapsed();
            let failed = match outcome {
                Ok(reply) => {
                    snapshot.record_reply(backend, began, reply.head.status);
                    return Ok(reply);
                }
                Err(failed) => failed,
            };
            let request = retry::Repeatability {
                idempotent: retry::is_idempotent(&exchange.head.method),
                body_untouched: exchange.body_untouched(),
            };
            let next = retry::decide(failed.failure, request);
            // A stale connection leaves the pool by failing, so this comes to an end.
            if next != RetryDecision::Redial {
                if !failed.failure.client {
                    snapshot.record_failure(backend, failed.failure, began, &failed.cause);
                }
                return Err((failed, next));
            }
        }
    }

    fn relay(&mut self, exchange: &mut Exchange, reply: BackendReply, backend: &Backend) -> Sent {
        let BackendReply { mut head, length, mut body } = reply;
        self.shared.recorder.echo_id(&exchange.head.headers, &mut head.headers);
        let (bytes, outcome) = exchange.reply(&head, length, &mut body, &mut self.scratch);
        if let Err(error @ RelayError::Backend(_)) = &outcome {
            tracing::warn!("backend {}: {error}", backend.authority());
        }
        Sent { status: head.status, bytes, ended: Ended::after_relay(&outcome) }
    }
}

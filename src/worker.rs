//! Step 3: one request at a time. Choose, forward, relay, record.

use crate::backend::instance::{Backend, InFlight};
use crate::balance::strategy::ClientKey;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::cluster::swap::CachedReader;
use crate::edge::exchange::Exchange;
use crate::edge::relay::{RelayError, ReplyBuffers};
use crate::error::Refusal;
use crate::forward::forwarder::Forwarder;
use crate::forward::outcome::{BackendReply, FailedAttempt};
use crate::forward::retry::{self, RetryDecision};
use crate::observe::ended::Ended;
use crate::observe::progress::{ActiveRequest, Progress, Sent};
use crate::observe::recorder::Recorder;
use crate::queue::receiver::JobReceiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state that all workers of a balancer share.
pub struct WorkerContext {
    /// Records the outcomes.
    pub recorder: Arc<Recorder>,
    /// The longest total wait of a request, for a worker and for a backend below its limit.
    pub queue_timeout: Duration,
}

/// One worker, with its own connections to backends.
pub struct Worker {
    number: usize,
    context: Arc<WorkerContext>,
    snapshot: CachedReader<RoutingSnapshot>,
    forwarder: Forwarder,
    buffers: ReplyBuffers,
}

impl Worker {
    /// Returns the worker with this number.
    pub fn new(
        number: usize,
        context: Arc<WorkerContext>,
        snapshot: CachedReader<RoutingSnapshot>,
        forwarder: Forwarder,
    ) -> Self {
        Worker { number, context, snapshot, forwarder, buffers: ReplyBuffers::default() }
    }

    /// Serves requests until the queue is closed and empty.
    pub fn run(mut self, mut jobs: JobReceiver) {
        loop {
            let idle = self.snapshot.get().forward.upstream_idle_timeout;
            let Some(mut exchange) = jobs.take(idle, &|| self.forwarder.close_idle()) else { return };
            // A panic costs one request.
            if catch_unwind(AssertUnwindSafe(|| self.serve(&mut exchange))).is_err() {
                tracing::error!("a worker panicked on a request and goes on with the next one");
                self.context.recorder.panicked(exchange);
            }
        }
    }

    fn serve(&mut self, exchange: &mut Exchange) {
        let snapshot = Arc::clone(self.snapshot.get());
        self.serve_from(snapshot, exchange);
    }

    /// Serves a request by this snapshot of the backends, or by a newer one if all backends of this one drain.
    fn serve_from(&mut self, mut snapshot: Arc<RoutingSnapshot>, exchange: &mut Exchange) {
        let context = Arc::clone(&self.context);
        let active = context.recorder.begin(self.number, exchange);
        if active.queued() <= context.queue_timeout {
            snapshot.budget.count_request(Instant::now());
        }
        while !self.serve_by(&snapshot, exchange, &active) {
            snapshot = Arc::clone(self.snapshot.get());
        }
    }

    /// Serves a request by this snapshot. Returns false, with nothing sent to the client or a backend, if all of
    /// its backends drain and there is a newer snapshot.
    fn serve_by(
        &mut self,
        snapshot: &Arc<RoutingSnapshot>,
        exchange: &mut Exchange,
        active: &ActiveRequest<'_>,
    ) -> bool {
        self.forwarder.set_options(&snapshot.forward);
        let mut progress = active.progress();
        let outcome = if active.queued() > self.context.queue_timeout {
            Err(Refusal::QueuedTooLong)
        } else {
            self.forward(snapshot, exchange, &mut progress)
        };
        let sent = match outcome {
            Ok((reply, in_flight)) => {
                progress.relay_begins();
                self.relay(exchange, reply, in_flight.backend())
            }
            Err(Refusal::NoBackend) if !Arc::ptr_eq(snapshot, self.snapshot.get()) => return false,
            Err(refusal) => progress.refuse(exchange, refusal),
        };
        self.context.recorder.record(&progress.outcome(exchange, sent));
        true
    }

    /// Tries backends until one has begun a reply.
    fn forward<'a>(
        &self,
        snapshot: &'a RoutingSnapshot,
        exchange: &mut Exchange,
        progress: &mut Progress<'a>,
    ) -> Result<(BackendReply, InFlight<'a>), Refusal> {
        let client = ClientKey { address: exchange.peer.ip() };
        let deadline = exchange.arrived + self.context.queue_timeout;
        let mut attempts = snapshot.selector.attempts(client, &exchange.head.headers, deadline);
        let mut last: Option<FailedAttempt> = None;
        for _ in 0..=snapshot.forward.retries {
            // The budget counts only retries that are made.
            if last.as_ref().is_some_and(|failed| !attempts.has_next() || !snapshot.may_retry(failed.failure))
            {
                break;
            }
            let Some(in_flight) = attempts.next_backend()? else { break };
            let backend = in_flight.backend();
            progress.try_backend(backend);
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

    /// Tries one backend, and once more over a new connection if the first was stale.
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
            // A stale connection leaves the pool when it fails, so this loop ends.
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
        self.context.recorder.echo_id(&exchange.head.headers, &mut head.headers);
        let (bytes, outcome) = exchange.reply(&head, length, &mut body, &mut self.buffers);
        if let Err(error @ RelayError::Backend(_)) = &outcome {
            tracing::warn!("backend {}: {error}", backend.authority());
        }
        Sent { status: head.status, bytes, ended: Ended::after_relay(&outcome) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::member::Member;
    use crate::cluster::membership::Membership;
    use crate::cluster::names::System;
    use crate::cluster::options::Upstream;
    use crate::edge::client_stream::fake::{self, Refusals};
    use crate::forward::retry_budget::RetryBudgetOptions;
    use crate::observe::access_log::line::AccessLogFormat;
    use crate::observe::access_log::writer::AccessLog;
    use crate::observe::metrics::registry::Metrics;
    use crate::sys::threads::ThreadGroup;
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Mutex;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// An access log in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bed {
        members: Arc<Membership>,
        context: Arc<WorkerContext>,
        threads: ThreadGroup,
        lines: Lines,
    }

    impl Bed {
        /// One backend with room for one request, and a retry budget of one retry for each request.
        fn new(backend: SocketAddr, queue_timeout: Duration) -> Self {
            let mut upstream = Upstream::new(vec![member(backend)]);
            upstream.choice.max_in_flight = Some(1);
            upstream.budget = RetryBudgetOptions { percent: 100, floor: 0 };
            let metrics = Arc::new(Metrics::new().unwrap());
            let (threads, lines, counted) = (ThreadGroup::default(), Lines::default(), Arc::clone(&metrics));
            let log = AccessLog::to(AccessLogFormat::Json, Box::new(lines.clone()), &threads).unwrap();
            let counters = Box::new(move |name: &str| counted.counters(name));
            let members = Membership::new(upstream, 4, Arc::new(System), None, counters).unwrap();
            let recorder = Arc::new(Recorder::new(log, metrics, 1));
            let context = Arc::new(WorkerContext { recorder, queue_timeout });
            Bed { members: Arc::new(members), context, threads, lines }
        }

        fn worker(&self) -> Worker {
            let mut reader = self.members.snapshot().reader();
            let forwarder = Forwarder::new(&reader.get().forward, 1 << 14);
            Worker::new(0, Arc::clone(&self.context), reader, forwarder)
        }

        /// The one line of the access log, once all that could write to it is gone.
        fn line(self) -> serde_json::Value {
            drop(self.context);
            assert_eq!(self.threads.join(Instant::now() + LONG), 0);
            serde_json::from_slice(&self.lines.0.lock().unwrap()).unwrap()
        }
    }

    fn member(address: SocketAddr) -> Member {
        format!("http://{address}").parse().unwrap()
    }

    fn exchange(arrived: Instant) -> Exchange {
        let mut exchange = fake::exchange("/", &Refusals::default());
        exchange.arrived = arrived;
        exchange
    }

    /// A backend that answers one request.
    fn answer_one() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        });
        address
    }

    #[test]
    fn a_request_served_by_a_newer_snapshot_is_counted_once_and_its_selection_is_not_queue_time() {
        const SELECTION: Duration = Duration::from_millis(100);
        let bed = Bed::new("127.0.0.1:1".parse().unwrap(), LONG);
        let first = bed.members.snapshot().get();
        let _full = first.selector.backends[0].try_acquire(usize::MAX).unwrap();
        let mut worker = bed.worker();
        let serving = thread::spawn(move || worker.serve(&mut exchange(Instant::now())));
        while bed.context.recorder.busy() == 0 {
            thread::yield_now();
        }
        thread::sleep(SELECTION); // the request waits for the full backend meanwhile
        bed.members.add(member(answer_one())).unwrap();
        bed.members.drain("127.0.0.1:1").unwrap();
        serving.join().unwrap();
        let now = Instant::now();
        let retries = [first.budget.try_grant(now), first.budget.try_grant(now)];
        assert_eq!(retries, [true, false], "one request, one retry");
        let line = bed.line();
        assert_eq!((&line["status"], &line["tries"]), (&200.into(), &1.into()));
        let [queued, total] = ["queue_seconds", "total_seconds"].map(|name| line[name].as_f64().unwrap());
        assert!(total - queued >= SELECTION.as_secs_f64(), "{queued} of {total} in the queue");
    }

    #[test]
    fn the_queue_timeout_is_one_deadline_for_the_queue_and_the_wait_for_a_backend() {
        const TIMEOUT: Duration = Duration::from_secs(4);
        let bed = Bed::new("127.0.0.1:1".parse().unwrap(), TIMEOUT);
        let snapshot = bed.members.snapshot().get();
        let _full = snapshot.selector.backends[0].try_acquire(usize::MAX).unwrap();
        let arrived = Instant::now().checked_sub(TIMEOUT - TIMEOUT / 8).unwrap();
        let mut worker = bed.worker();
        worker.serve(&mut exchange(arrived));
        drop(worker);
        let waited = arrived.elapsed();
        assert!((TIMEOUT..TIMEOUT * 3 / 2).contains(&waited), "{waited:?}");
        assert_eq!(bed.line()["reason"], "backends_full");
    }
}

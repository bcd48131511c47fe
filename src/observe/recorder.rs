//! One `record(outcome)` for everybody who ends a request: workers, edges and the foreman. What becomes of it, a line in the
//! access log, a number that is counted or something to be watched, is nobody else's business.

use super::Ended;
use super::Progress;
use super::recent::{Recent, RecentRequest};
use super::worker_status::{Activity, WorkerStatus};
use crate::backend::Backend;
use crate::edge::exchange::Exchange;
use crate::edge::request_id;
use crate::edge::response::refusal_bytes;
use crate::error::Refusal;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use http::{HeaderMap, StatusCode, request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What there is to say of one request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The request's head, unless it could not be believed.
    pub head: Option<&'a request::Parts>,
    /// The client's address.
    pub peer: SocketAddr,
    /// How it ended.
    pub ended: Ended,
    /// The status that was sent.
    pub status: StatusCode,
    /// Why the answer was the balancer's own, if it was.
    pub refusal: Option<Refusal>,
    /// Body bytes of the request that were taken from the client.
    pub received: u64,
    /// Body bytes of the reply.
    pub bytes: u64,
    /// The backend that was chosen last.
    pub backend: Option<&'a Backend>,
    /// Backends that were tried.
    pub tries: u32,
    /// How long it waited for a worker; nothing if it never was in the queue.
    pub queued: Option<Duration>,
    /// From the last try's beginning to its reply's head, or its failure.
    pub upstream: Duration,
    /// From when it was ready for a worker to the end of its reply.
    pub total: Duration,
}

impl<'a> Outcome<'a> {
    /// A request that was refused before a worker had it.
    pub fn refused(
        head: Option<&'a request::Parts>,
        peer: SocketAddr,
        arrived: Instant,
        refusal: Refusal,
    ) -> Self {
        let total = arrived.elapsed();
        Outcome {
            head,
            peer,
            ended: refusal.into(),
            status: refusal.status(),
            refusal: Some(refusal),
            received: 0,
            bytes: refusal_bytes(refusal, head),
            backend: None,
            tries: 0,
            queued: (refusal == Refusal::QueuedTooLong).then_some(total),
            upstream: Duration::ZERO,
            total,
        }
    }

    /// The same of one whose head could be believed.
    fn of_refused(exchange: &'a Exchange, refusal: Refusal) -> Self {
        let refused = Outcome::refused(Some(&exchange.head), exchange.peer, exchange.arrived, refusal);
        Outcome { received: exchange.received(), ..refused }
    }
}

/// Where outcomes go.
pub struct Recorder {
    opened: Instant,
    log: AccessLog,
    metrics: Option<Arc<Metrics>>,
    recent: Option<Recent>,
    /// One for each worker.
    statuses: Box<[WorkerStatus]>,
}

impl Recorder {
    /// Writes them into the log, if there is one, and counts them, for so many workers.
    pub fn new(log: AccessLog, metrics: Arc<Metrics>, workers: usize) -> Self {
        let statuses = (0..workers).map(|_| WorkerStatus::default()).collect();
        Recorder { opened: Instant::now(), log, metrics: Some(metrics), recent: None, statuses }
    }

    /// The same, and remembers the last ones for those who watch.
    pub fn watched(self) -> Self {
        Recorder { recent: Some(Recent::default()), ..self }
    }

    /// Nobody wants to know.
    pub fn off() -> Self {
        let (log, statuses) = (AccessLog::off(), Box::default());
        Recorder { opened: Instant::now(), log, metrics: None, recent: None, statuses }
    }

    /// This worker begins with a request.
    pub fn begin(&self, worker: usize, exchange: &mut Exchange) -> Progress<'_> {
        self.name(exchange);
        let now = Instant::now();
        let status = &self.statuses[worker];
        status.begin(now.saturating_duration_since(self.opened).as_micros() as u64, &exchange.head);
        Progress::new(status, now.saturating_duration_since(exchange.arrived))
    }

    /// Records how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.record(outcome);
        }
        if let Some(recent) = &self.recent {
            recent.note(outcome);
        }
        self.log.record(outcome);
    }

    /// Refuses a request that no worker has had, and records that.
    pub fn refuse(&self, mut exchange: Exchange, refusal: Refusal) {
        self.name(&mut exchange);
        self.record(&Outcome::of_refused(&exchange, refusal));
        exchange.refuse(refusal);
    }

    /// Its worker has panicked. If its reply has not begun, it is refused.
    pub fn give_up(&self, mut exchange: Exchange) {
        let refusal = Refusal::BadGateway;
        self.record(&Outcome { ended: Ended::Panicked, ..Outcome::of_refused(&exchange, refusal) });
        exchange.refuse(refusal);
    }

    /// Where requests are logged, each has an id to be found by.
    fn name(&self, exchange: &mut Exchange) {
        if self.log.is_on() {
            request_id::settle(&mut exchange.head.headers);
        }
    }

    /// The client is told which id it was.
    pub fn echo_id(&self, request: &HeaderMap, reply: &mut HeaderMap) {
        if self.log.is_on() {
            request_id::echo(request, reply);
        }
    }

    /// How many workers are at work now.
    pub fn busy(&self) -> usize {
        self.statuses.iter().filter(|status| status.is_busy()).count()
    }

    /// What those are at, and for how long, by the number of the worker.
    pub fn activities(&self) -> impl Iterator<Item = (usize, Activity, Duration)> {
        let now = self.opened.elapsed();
        let activities =
            self.statuses.iter().enumerate().filter_map(|(number, status)| Some((number, status.look()?)));
        activities.map(move |(number, activity)| {
            let since = Duration::from_micros(activity.since);
            (number, activity, now.saturating_sub(since))
        })
    }

    /// Puts the requests that ended last on their list. It has to be done each second at least.
    pub fn gather_recent(&self) {
        self.recent.iter().for_each(Recent::gather);
    }

    /// The requests that ended last, the newest last; none if nobody was to watch.
    pub fn recent(&self) -> Vec<RecentRequest> {
        self.recent.as_ref().map(Recent::all).unwrap_or_default()
    }

    /// How many lines of the access log could not be written, or not in time.
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped()
    }
}

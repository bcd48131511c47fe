//! The one place where the end of a request is recorded, by workers, edges and the queue alike. The recorder passes
//! it on to the access log, the metrics and the list of recent requests.

use crate::edge::client_stream::ClientStream;
use crate::edge::exchange::Exchange;
use crate::edge::request_id;
use crate::error::Refusal;
use crate::observe::access_log::writer::AccessLog;
use crate::observe::ended::Ended;
use crate::observe::metrics::registry::Metrics;
use crate::observe::outcome::Outcome;
use crate::observe::progress::ActiveRequest;
use crate::observe::recent::{RecentRequest, RecentRequests};
use crate::observe::worker_status::{WorkerActivity, WorkerStatus};
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records how requests end, and what each worker is doing.
pub struct Recorder {
    opened: Instant,
    log: AccessLog,
    metrics: Option<Arc<Metrics>>,
    recent: Option<RecentRequests>,
    /// One for each worker.
    statuses: Box<[WorkerStatus]>,
}

impl Recorder {
    /// Returns a recorder that writes to the log, if it is on, and counts, for this number of workers.
    pub fn new(log: AccessLog, metrics: Arc<Metrics>, workers: usize) -> Self {
        let statuses = (0..workers).map(|_| WorkerStatus::default()).collect();
        Recorder { opened: Instant::now(), log, metrics: Some(metrics), recent: None, statuses }
    }

    /// Returns the recorder with a list of recent requests.
    pub fn with_recent(self) -> Self {
        Recorder { recent: Some(RecentRequests::default()), ..self }
    }

    /// Returns a recorder that records nothing.
    pub fn off() -> Self {
        let (log, statuses) = (AccessLog::off(), Box::default());
        Recorder { opened: Instant::now(), log, metrics: None, recent: None, statuses }
    }

    /// Notes that a worker begins with a request. The worker counts as busy until the result is dropped.
    pub fn begin(&self, worker: usize, exchange: &mut Exchange) -> ActiveRequest<'_> {
        self.assign_id(exchange);
        let now = Instant::now();
        let status = self.statuses.get(worker);
        if let Some(status) = status {
            status.begin(now.saturating_duration_since(self.opened).as_micros() as u64, &exchange.head);
        }
        ActiveRequest::new(status, now.saturating_duration_since(exchange.arrived))
    }

    /// Records how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.record(outcome);
        }
        if let Some(recent) = &self.recent {
            recent.record(outcome);
        }
        self.log.record(outcome);
    }

    /// Records that a request is refused before a worker took it, and refuses it.
    pub fn refuse(&self, mut exchange: Exchange, refusal: Refusal) {
        self.assign_id(&mut exchange);
        self.record(&Outcome::of_refused(&exchange, refusal));
        exchange.refuse(refusal);
    }

    /// Records that a client is refused whose request has no head that can be trusted, and refuses it.
    pub fn refuse_stream(
        &self,
        stream: Box<dyn ClientStream>,
        peer: SocketAddr,
        arrived: Instant,
        refusal: Refusal,
    ) {
        self.record(&Outcome::refused(None, peer, arrived, refusal));
        stream.refuse(refusal, None);
    }

    /// Records that a worker panicked on a request, and refuses the request if its reply has not begun.
    pub fn panicked(&self, mut exchange: Exchange) {
        let refusal = Refusal::BadGateway;
        self.record(&Outcome { ended: Ended::Panicked, ..Outcome::of_refused(&exchange, refusal) });
        exchange.refuse(refusal);
    }

    /// Gives a request an id where requests are logged.
    fn assign_id(&self, exchange: &mut Exchange) {
        if self.log.is_on() {
            request_id::ensure(&mut exchange.head.headers);
        }
    }

    /// Tells the client the id of its request where requests are logged.
    pub fn echo_id(&self, request: &HeaderMap, reply: &mut HeaderMap) {
        if self.log.is_on() {
            request_id::echo(request, reply);
        }
    }

    /// Returns the number of workers that serve a request now.
    pub fn busy(&self) -> usize {
        self.statuses.iter().filter(|status| status.is_busy()).count()
    }

    /// Returns each busy worker's number, what it is doing, and for how long.
    pub fn activities(&self) -> impl Iterator<Item = (usize, WorkerActivity, Duration)> {
        let now = self.opened.elapsed();
        let activities =
            self.statuses.iter().enumerate().filter_map(|(number, status)| Some((number, status.read()?)));
        activities.map(move |(number, activity)| {
            let since = Duration::from_micros(activity.since);
            (number, activity, now.saturating_sub(since))
        })
    }

    /// Moves the requests that ended last to the list of recent requests. It has to be called once a second at least.
    pub fn gather_recent(&self) {
        self.recent.iter().for_each(RecentRequests::collect);
    }

    /// Returns the requests that ended last, the newest last; empty where they are not kept.
    pub fn recent(&self) -> Vec<RecentRequest> {
        self.recent.as_ref().map(RecentRequests::list).unwrap_or_default()
    }

    /// Returns the number of access log lines that could not be written, or not in time.
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::client_stream::fake::{self, Refusals};

    #[test]
    fn a_worker_can_begin_a_request_while_the_recorder_is_off() {
        let mut exchange = fake::exchange("/", &Refusals::default());
        let recorder = Recorder::off();
        let active = recorder.begin(3, &mut exchange);
        assert_eq!(recorder.busy(), 0);
        drop(active);
    }
}

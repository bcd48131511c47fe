//! One `record(outcome)` for everybody who ends a request: workers, edges and the foreman. What becomes of it, a line in the
//! access log or a number that is counted, is nobody else's business.

use crate::access_log::AccessLog;
use crate::backend::Backend;
use crate::edge::Exchange;
use crate::edge::wire::refusal_text;
use crate::error::Refusal;
use crate::metrics::Metrics;
use http::{StatusCode, request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How one request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The request's head, unless it could not be believed.
    pub head: Option<&'a request::Parts>,
    /// The client's address.
    pub peer: SocketAddr,
    /// When it was ready for a worker.
    pub arrived: Instant,
    /// The status that was sent.
    pub status: StatusCode,
    /// Why the answer was the balancer's own, if it was.
    pub refusal: Option<Refusal>,
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
}

impl<'a> Outcome<'a> {
    /// A request that was refused before a worker had it.
    pub fn refused(
        head: Option<&'a request::Parts>,
        peer: SocketAddr,
        arrived: Instant,
        refusal: Refusal,
    ) -> Self {
        Outcome {
            head,
            peer,
            arrived,
            status: refusal.status(),
            refusal: Some(refusal),
            bytes: refusal_text(refusal).len() as u64,
            backend: None,
            tries: 0,
            queued: (refusal == Refusal::QueuedTooLong).then(|| arrived.elapsed()),
            upstream: Duration::ZERO,
        }
    }
}

/// How far a worker has come with a request: what is recorded of it. While there is one, its worker is busy.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How long it waited for a worker.
    pub queued: Duration,
    /// Backends that were tried.
    pub tries: u32,
    /// The backend that was chosen last.
    pub backend: Option<&'a Backend>,
    /// From the last try's beginning to its reply's head, or its failure.
    pub upstream: Duration,
    refusal: Option<Refusal>,
    _busy: Busy<'a>,
}

impl<'a> Progress<'a> {
    /// It goes to this backend now. If it went to another one before, that one has failed.
    pub fn tries(&mut self, backend: &'a Backend) {
        if let Some(tally) = self.backend.and_then(Backend::tally) {
            tally.count_retry();
        }
        self.tries += 1;
        self.backend = Some(backend);
    }

    /// It gets an answer of the balancer's own. Returns what that is.
    pub fn refuse(&mut self, exchange: &mut Exchange, refusal: Refusal) -> (StatusCode, u64) {
        self.refusal = Some(refusal);
        exchange.refuse(refusal)
    }

    /// What became of it.
    pub fn outcome(&self, exchange: &'a Exchange, status: StatusCode, bytes: u64) -> Outcome<'a> {
        Outcome {
            head: Some(&exchange.head),
            peer: exchange.peer,
            arrived: exchange.arrived,
            status,
            refusal: self.refusal,
            bytes,
            backend: self.backend,
            tries: self.tries,
            queued: Some(self.queued),
            upstream: self.upstream,
        }
    }
}

/// A worker that is at work: counts itself out when dropped, on a panic too.
#[derive(Debug)]
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Busy(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Where outcomes go.
pub struct Recorder {
    log: AccessLog,
    metrics: Option<Arc<Metrics>>,
    busy: AtomicUsize,
}

impl Recorder {
    /// Writes them into the log, if there is one, and counts them.
    pub fn new(log: AccessLog, metrics: Arc<Metrics>) -> Self {
        Recorder { log, metrics: Some(metrics), busy: AtomicUsize::new(0) }
    }

    /// Nobody wants to know.
    pub fn off() -> Self {
        Recorder { log: AccessLog::off(), metrics: None, busy: AtomicUsize::new(0) }
    }

    /// A worker begins with a request.
    pub fn begin(&self, exchange: &Exchange) -> Progress<'_> {
        Progress {
            queued: exchange.arrived.elapsed(),
            tries: 0,
            backend: None,
            upstream: Duration::ZERO,
            refusal: None,
            _busy: Busy::among(&self.busy),
        }
    }

    /// Records how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.record(outcome);
        }
        self.log.record(outcome);
    }

    /// Refuses a request that no worker has had, and records that.
    pub fn turn_away(&self, mut exchange: Exchange, refusal: Refusal) {
        self.record(&Outcome::refused(Some(&exchange.head), exchange.peer, exchange.arrived, refusal));
        exchange.refuse(refusal);
    }

    /// How many workers are at work now.
    pub fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_at_work_no_more() {
        let busy = AtomicUsize::new(0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _at_work = Busy::among(&busy);
            assert_eq!(busy.load(Relaxed), 1);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
        assert_eq!(busy.load(Relaxed), 0);
    }
}

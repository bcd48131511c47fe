//! A request on its way through a worker.

use super::worker_status::WorkerStatus;
use super::{Ended, Outcome};
use crate::backend::Backend;
use crate::edge::Exchange;
use crate::error::Refusal;
use http::StatusCode;
use std::time::Duration;

/// How far a worker has come with a request: what is recorded of it. While there is one, its worker is busy.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How long it waited for a worker.
    pub queued: Duration,
    /// From the last try's beginning to its reply's head, or its failure.
    pub upstream: Duration,
    tries: u32,
    backend: Option<&'a Backend>,
    refusal: Option<Refusal>,
    status: AtWork<'a>,
}

/// What the client has been sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The status.
    pub status: StatusCode,
    /// Bytes of the body.
    pub bytes: u64,
    /// Why it is no more than that.
    pub ended: Ended,
}

impl<'a> Progress<'a> {
    pub(super) fn new(status: &'a WorkerStatus, queued: Duration) -> Self {
        let (tries, upstream, status) = (0, Duration::ZERO, AtWork(status));
        Progress { queued, upstream, tries, backend: None, refusal: None, status }
    }

    /// It goes to this backend now. If it went to another one before, that one has failed.
    pub fn tries(&mut self, backend: &'a Backend) {
        if let Some(counters) = self.backend.and_then(Backend::counters) {
            counters.count_retry();
        }
        self.tries += 1;
        self.backend = Some(backend);
        self.status.0.tries(backend);
    }

    /// The client gets a backend's reply now.
    pub fn relays(&self) {
        self.status.0.relays();
    }

    /// It gets an answer of the balancer's own. Returns what that is.
    pub fn refuse(&mut self, exchange: &mut Exchange, refusal: Refusal) -> Sent {
        self.refusal = Some(refusal);
        let (status, bytes) = exchange.refuse(refusal);
        Sent { status, bytes, ended: refusal.into() }
    }

    /// What became of it.
    pub fn outcome(&self, exchange: &'a Exchange, sent: Sent) -> Outcome<'a> {
        Outcome {
            head: Some(&exchange.head),
            peer: exchange.peer,
            ended: sent.ended,
            status: sent.status,
            refusal: self.refusal,
            received: exchange.received(),
            bytes: sent.bytes,
            backend: self.backend,
            tries: self.tries,
            queued: Some(self.queued),
            upstream: self.upstream,
            total: exchange.arrived.elapsed(),
        }
    }
}

/// A worker that is at work: idle again when dropped, on a panic too.
#[derive(Debug)]
struct AtWork<'a>(&'a WorkerStatus);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_worker_that_panics_is_at_work_no_more() {
        let (status, head) = (WorkerStatus::default(), Request::new(()).into_parts().0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            status.begin(1, &head);
            let _progress = Progress::new(&status, Duration::ZERO);
            assert!(status.is_busy());
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err() && !status.is_busy());
    }
}

//! The record of a request while a worker serves it.

use crate::backend::instance::Backend;
use crate::edge::exchange::Exchange;
use crate::error::Refusal;
use crate::observe::ended::Ended;
use crate::observe::outcome::Outcome;
use crate::observe::worker_status::WorkerStatus;
use http::StatusCode;
use std::time::Duration;

/// A request that a worker has taken. The worker counts as busy until this is dropped, on a panic too.
#[derive(Debug)]
pub struct ActiveRequest<'a> {
    status: Option<&'a WorkerStatus>,
    queued: Duration,
}

/// The progress of a request at its worker.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The time from the beginning of the last try to the head of its reply, or to its failure.
    pub upstream: Duration,
    active: &'a ActiveRequest<'a>,
    tries: u32,
    backend: Option<&'a Backend>,
    refusal: Option<Refusal>,
}

/// The reply as sent to the client.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The status.
    pub status: StatusCode,
    /// Bytes of the body.
    pub bytes: u64,
    /// How the request ended.
    pub ended: Ended,
}

impl<'a> ActiveRequest<'a> {
    /// Returns a request that waited for this long; `status` is its worker's, where that is shown.
    pub(super) fn new(status: Option<&'a WorkerStatus>, queued: Duration) -> Self {
        ActiveRequest { status, queued }
    }

    /// Returns how long the request waited for a worker.
    pub fn queued(&self) -> Duration {
        self.queued
    }

    /// Returns the progress of a request that no backend has been tried for.
    pub fn progress(&'a self) -> Progress<'a> {
        Progress { upstream: Duration::ZERO, active: self, tries: 0, backend: None, refusal: None }
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        if let Some(status) = self.status {
            status.end();
        }
    }
}

impl<'a> Progress<'a> {
    /// Notes that the request goes to this backend. If it went to another one before, that one has failed.
    pub fn try_backend(&mut self, backend: &'a Backend) {
        if let Some(counters) = self.backend.and_then(Backend::counters) {
            counters.count_retry();
        }
        self.tries += 1;
        self.backend = Some(backend);
        if let Some(status) = self.active.status {
            status.set_backend(backend);
        }
    }

    /// Notes that a backend's reply has begun.
    pub fn relay_begins(&self) {
        if let Some(status) = self.active.status {
            status.set_relaying();
        }
    }

    /// Answers with a refusal, and returns what was sent.
    pub fn refuse(&mut self, exchange: &mut Exchange, refusal: Refusal) -> Sent {
        self.refusal = Some(refusal);
        let (status, bytes) = exchange.refuse(refusal);
        Sent { status, bytes, ended: refusal.into() }
    }

    /// Returns the outcome of the request, which has ended.
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
            queued: Some(self.active.queued),
            upstream: self.upstream,
            total: exchange.arrived.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_worker_that_panics_is_no_longer_busy() {
        let (status, head) = (WorkerStatus::default(), Request::new(()).into_parts().0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            status.begin(1, &head);
            let _active = ActiveRequest::new(Some(&status), Duration::ZERO);
            assert!(status.is_busy());
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err() && !status.is_busy());
    }
}

//! The counters of one balancer.

use crate::backend::counters::{BackendCounters, StatusCounts, Totals};
use crate::backend::instance::Backend;
use crate::backend::latency::Latency;
use crate::error::Refusal;
use crate::observe::outcome::Outcome;
use http::StatusCode;
use prometheus::{Error, Histogram, HistogramOpts, HistogramVec};
use std::mem::discriminant;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The upper bounds of the histograms' buckets, in seconds: from the reply time of a backend on the same machine to the default
/// timeout for a reply's head. They are close together below a second, where clients notice a difference.
const BOUNDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The name and the help of the backends' histograms.
pub(super) const UPSTREAM: (&str, &str) = (
    "turnwheel_upstream_duration_seconds",
    "From the beginning of a request's last try to the head of its reply, or its failure.",
);

/// The classes of statuses, where single statuses are of no interest.
pub const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// The index of `5xx` in [`CLASSES`].
const SERVER_ERROR: usize = 3;

/// The metrics of one balancer.
pub struct Metrics {
    /// Requests for which no backend was chosen, by status.
    pub(super) without_backend: StatusCounts,
    /// Requests by class, as in [`CLASSES`].
    classes: [AtomicU64; CLASSES.len()],
    pub(super) duration: Histogram,
    latency: Latency,
    pub(super) queue_wait: Histogram,
    /// Refused requests by reason, as in [`Refusal::ALL`].
    pub(super) rejected: [AtomicU64; Refusal::ALL.len()],
    /// Makes the histograms of backends, and holds none of them.
    upstream: Mutex<HistogramVec>,
}

impl Metrics {
    /// Returns metrics that are all zero.
    ///
    /// # Errors
    /// When Prometheus does not allow the name or the bounds of a histogram.
    pub fn new() -> Result<Self, Error> {
        let opts = |name, help| HistogramOpts::new(name, help).buckets(BOUNDS.to_vec());
        let duration = opts(
            "turnwheel_request_duration_seconds",
            "From the moment when a request is ready for a worker to the end of its reply.",
        );
        let queue_wait = opts("turnwheel_queue_wait_seconds", "How long requests have waited for a worker.");
        Ok(Metrics {
            without_backend: StatusCounts::default(),
            classes: Default::default(),
            duration: Histogram::with_opts(duration)?,
            latency: Latency::default(),
            queue_wait: Histogram::with_opts(queue_wait)?,
            rejected: Default::default(),
            upstream: Mutex::new(HistogramVec::new(opts(UPSTREAM.0, UPSTREAM.1), &["backend"])?),
        })
    }

    /// Returns the counters of a new backend with this name. They are exported as long as the backend is a member; another
    /// backend of the same name has counters of its own.
    pub fn counters(&self, backend: &str) -> BackendCounters {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = upstream.with_label_values(&[backend]);
        // Removed again, so that the next backend of this name gets another histogram. It is there, because the lock is held.
        let _ = upstream.remove_label_values(&[backend]);
        BackendCounters::new(histogram)
    }

    /// Counts a request that has ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        match outcome.backend.map(Backend::counters) {
            None => self.without_backend.count(outcome.status),
            Some(Some(counters)) => counters.count(outcome.status, outcome.upstream),
            Some(None) => {} // a backend without counters
        }
        self.classes[class(outcome.status)].fetch_add(1, Relaxed);
        self.duration.observe(outcome.total.as_secs_f64());
        self.latency.note(outcome.total);
        if let Some(queued) = outcome.queued {
            self.queue_wait.observe(queued.as_secs_f64());
        }
        if let Some(refusal) = outcome.refusal {
            let is_same = |one: &Refusal| discriminant(one) == discriminant(&refusal);
            if let Some(index) = Refusal::ALL.iter().position(is_same) {
                self.rejected[index].fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns the number of requests in each of the [`CLASSES`].
    pub fn classes(&self) -> [(&'static str, u64); CLASSES.len()] {
        std::array::from_fn(|index| (CLASSES[index], self.classes[index].load(Relaxed)))
    }

    /// Returns the number of requests for which no backend was chosen.
    pub fn without_backend(&self) -> u64 {
        self.without_backend.counted().map(|(_, count)| count).sum()
    }

    /// Returns the totals of all requests that have ended.
    pub fn totals(&self) -> Totals {
        let counts = self.classes().map(|(_, count)| count);
        Totals { requests: counts.iter().sum(), errors: counts[SERVER_ERROR], times: self.latency.times() }
    }
}

/// Returns the index of a status's class in [`CLASSES`].
fn class(status: StatusCode) -> usize {
    match status.as_u16() / 100 {
        hundreds @ 2..=5 => usize::from(hundreds) - 2,
        _ => CLASSES.len() - 1,
    }
}

//! The counters of one backend.

use super::latency::{Latency, Times};
use http::StatusCode;
use prometheus::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The lowest status code that `http` accepts. The highest is 999.
const LOWEST: u16 = 100;
const STATUSES: usize = 900;

/// The number of requests that ended with each status. A status is an index, so counting needs no lookup.
#[derive(Debug)]
pub struct StatusCounts(Box<[AtomicU64]>);

impl Default for StatusCounts {
    fn default() -> Self {
        StatusCounts((0..STATUSES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl StatusCounts {
    /// Counts a request that ended with this status.
    pub fn count(&self, status: StatusCode) {
        let index = usize::from(status.as_u16().saturating_sub(LOWEST));
        self.0[index.min(STATUSES - 1)].fetch_add(1, Relaxed);
    }

    /// Returns every status that was counted, and always 200: a series that begins at 0 shows its first increase.
    pub fn counted(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (LOWEST..).zip(self.0.iter().map(|count| count.load(Relaxed)));
        counts.filter(|(status, count)| *count > 0 || *status == 200)
    }
}

/// The totals of the requests that have ended since the start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// All requests.
    pub requests: u64,
    /// Requests that ended with 5xx.
    pub errors: u64,
    /// The durations of their last tries.
    pub times: Times,
}

/// The counters of one backend. They belong to it and go with it when it is removed.
#[derive(Debug)]
pub struct BackendCounters {
    statuses: StatusCounts,
    retries: AtomicU64,
    upstream: Histogram,
    latency: Latency,
}

impl BackendCounters {
    /// Creates counters at zero; durations are also observed by `upstream`.
    pub(crate) fn new(upstream: Histogram) -> Self {
        BackendCounters {
            statuses: StatusCounts::default(),
            retries: AtomicU64::new(0),
            upstream,
            latency: Latency::default(),
        }
    }

    /// Counts a request that ended here, and the duration of its last try.
    pub fn count(&self, status: StatusCode, upstream: Duration) {
        self.statuses.count(status);
        self.upstream.observe(upstream.as_secs_f64());
        self.latency.note(upstream);
    }

    /// Returns the totals so far.
    pub fn totals(&self) -> Totals {
        let (mut requests, mut errors) = (0, 0);
        for (status, count) in self.statuses.counted() {
            requests += count;
            errors += if status / 100 == 5 { count } else { 0 };
        }
        Totals { requests, errors, times: self.latency.times() }
    }

    /// Counts a try that failed here and is repeated on another backend.
    pub fn count_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Returns the number of requests by status.
    pub(crate) fn statuses(&self) -> &StatusCounts {
        &self.statuses
    }

    /// Returns the number of tries that were repeated elsewhere.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Returns the histogram of the durations of tries.
    pub(crate) fn upstream(&self) -> &Histogram {
        &self.upstream
    }
}

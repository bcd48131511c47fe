//! What is counted of one backend.

use super::latency::{Latency, Times};
use http::StatusCode;
use prometheus::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The lowest status there is. The highest is 999: `http` knows no other.
const LOWEST: u16 = 100;
const STATUSES: usize = 900;

/// How many requests have ended with each status: a status is an index, so there is nothing to look for.
#[derive(Debug)]
pub struct StatusCounts(Box<[AtomicU64]>);

impl Default for StatusCounts {
    fn default() -> Self {
        StatusCounts((0..STATUSES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl StatusCounts {
    /// One more with this one.
    pub fn count(&self, status: StatusCode) {
        let index = usize::from(status.as_u16().saturating_sub(LOWEST));
        self.0[index.min(STATUSES - 1)].fetch_add(1, Relaxed);
    }

    /// All that have been counted, and 200 even if it has not: a series that begins at 0 shows its first step.
    pub fn counted(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (LOWEST..).zip(self.0.iter().map(|count| count.load(Relaxed)));
        counts.filter(|(status, count)| *count > 0 || *status == 200)
    }
}

/// Requests that have ended since the beginning.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// All of them.
    pub requests: u64,
    /// Those with 5xx.
    pub errors: u64,
    /// How long they took.
    pub times: Times,
}

/// What is counted of one backend. It has it with it, and takes it along when it leaves.
#[derive(Debug)]
pub struct BackendCounters {
    statuses: StatusCounts,
    retries: AtomicU64,
    upstream: Histogram,
    latency: Latency,
}

impl BackendCounters {
    /// Nothing has been counted, and times go into this histogram.
    pub(crate) fn new(upstream: Histogram) -> Self {
        BackendCounters {
            statuses: StatusCounts::default(),
            retries: AtomicU64::new(0),
            upstream,
            latency: Latency::default(),
        }
    }

    /// A request has ended here with this status, and its last try took so long.
    pub fn count(&self, status: StatusCode, upstream: Duration) {
        self.statuses.count(status);
        self.upstream.observe(upstream.as_secs_f64());
        self.latency.note(upstream);
    }

    /// What requests have ended here.
    pub fn totals(&self) -> Totals {
        let (mut requests, mut errors) = (0, 0);
        for (status, count) in self.statuses.counted() {
            requests += count;
            errors += if status / 100 == 5 { count } else { 0 };
        }
        Totals { requests, errors, times: self.latency.times() }
    }

    /// A try has failed here, and another backend is tried.
    pub fn count_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// How many requests have ended with each status.
    pub(crate) fn statuses(&self) -> &StatusCounts {
        &self.statuses
    }

    /// How many tries have been made elsewhere because they failed here.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// How long tries took.
    pub(crate) fn upstream(&self) -> &Histogram {
        &self.upstream
    }
}

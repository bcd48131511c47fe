//! Counts requests and exports them to Prometheus.
//!
//! **Counting is cheap.** A worker reaches each of its counters without a lock and without a lookup by name: a backend carries
//! its own counters ([`BackendCounters`](crate::backend::counters::BackendCounters)), a status is an array index, and a time
//! takes a few atomic additions to a histogram.
//!
//! **Gauges are read, not counted.** The queue depth, the requests in flight and the health of a backend are read at the time of
//! a scrape ([`Readings`]) and cost requests nothing.
//!
//! **Recent figures are kept apart** ([`History`]): a sampler reads the counters once a second. Times are counted a second time
//! for it, in narrower buckets ([`latency`](crate::backend::latency)).
//!
//! **A backend's series end when it leaves.** They are absent from the next scrape, and start at zero if the backend returns.
//! Requests that a backend finishes after it has left count in the totals and in no series of a backend.

pub mod exposition;
pub mod history;
pub mod registry;

//! The answer to `GET /api/history`: the last two minutes by the second.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Samples of the last two minutes, or only the samples after the requested number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Number of the newest sample, 0 when there is none yet.
    pub newest: u64,
    /// The samples, the oldest first.
    pub samples: Vec<Sample>,
}

/// The requests that ended in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Sequence number since the start of the balancer, from 1.
    pub number: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests that ended with a status of 5xx.
    pub errors: u64,
    /// Median time, in seconds; `None` without a request.
    pub p50_seconds: Option<f64>,
    /// 99th percentile of the time, in seconds; `None` without a request.
    pub p99_seconds: Option<f64>,
    /// Requests that ended at each backend, by its name.
    pub backends: BTreeMap<String, u64>,
}

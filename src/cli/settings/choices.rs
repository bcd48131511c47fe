//! Settings with a few values to choose from, by the names that flags and the file use.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The edge that takes requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeName {
    /// A thread for each connection; for lessons on loopback, not for untrusted clients
    TinyHttp,
    /// A fixed number of threads for any number of connections; for production
    Parked,
}

/// The strategy that chooses a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// Each backend in turn
    RoundRobin,
    /// Each backend in turn, as often as its weight says, without bursts
    WeightedRoundRobin,
    /// The backend with the fewest requests in flight, relative to its weight
    LeastConnections,
    /// The less loaded of two backends chosen at random
    PowerOfTwo,
    /// Always the same backend for the same client address
    ClientHash,
}

/// Whether backends are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthSwitch {
    /// Check each backend at regular intervals
    On,
    /// Learn of failures from requests only
    Off,
}

/// What happens to a request when no backend is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AllDownAction {
    /// Try the backends all the same
    Try,
    /// Reply with 503 at once
    Refuse,
}

/// The format of access log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogMode {
    /// No access log
    Off,
    /// The combined log format, followed by backend, tries and times
    Text,
    /// One JSON object per line
    Json,
}

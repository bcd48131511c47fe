//! Settings with a few values to choose from.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which edge takes requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// A thread for each connection: the one to read first
    TinyHttp,
    /// A fixed number of threads, however many connections: the one for real traffic
    Parked,
}

/// Who chooses the backend that a request is tried on first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Each in turn
    RoundRobin,
    /// Each in turn, as often as its weight says, and without bursts
    WeightedRoundRobin,
    /// Whoever has the fewest requests under way
    LeastConnections,
    /// Of two drawn by lot, whoever has fewer
    PowerOfTwo,
    /// The same client address, the same backend
    ClientHash,
}

/// Are backends asked how they are?
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Each of them, again and again
    On,
    /// Never: only requests show who fails
    Off,
}

/// What happens when no backend is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AllDown {
    /// All of them are tried: some reply is better than none
    Try,
    /// Requests get 503 at once
    Refuse,
}

/// How access log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// None
    Off,
    /// The combined format, then backend, tries and times
    Text,
    /// One JSON object a line
    Json,
}

//! The answer to `GET /api/demo` and to each change there.

use serde::{Deserialize, Serialize};

/// The demo's traffic and backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoState {
    /// The traffic that the demo makes itself.
    pub traffic: TrafficState,
    /// Its backends.
    pub backends: Vec<DemoBackendState>,
}

/// The traffic that the demo makes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficState {
    /// Requests a second; 0 without traffic.
    pub rate: u32,
    /// Clients that make them.
    pub clients: u32,
    /// Requests sent since the start of the demo.
    pub sent: u64,
    /// Sent requests that got a status of 5xx or no response.
    pub failed: u64,
}

/// A demo backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoBackendState {
    /// Its address, which is its name in the API.
    pub name: String,
    /// Whether it runs; one that does not refuses connections.
    pub running: bool,
    /// Delay of each response, in milliseconds.
    pub delay_ms: u64,
    /// Responses of a hundred that are a 500.
    pub error_percent: u32,
}

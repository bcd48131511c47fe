//! The answer to `GET /api/state`: the balancer at this moment.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The balancer and its backends at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of the program.
    pub version: String,
    /// Time since the start, in seconds.
    pub uptime_seconds: f64,
    /// Time of day in UTC, `2026-11-23T02:37:46.734Z`.
    pub now: String,
    /// Whether `/readyz` answers with 200.
    pub ready: bool,
    /// The reason why the balancer is not ready; `None` when it is.
    pub why_not: Option<String>,
    /// Name of the edge: `tiny-http` or `parked`.
    pub edge: String,
    /// Addresses on which the balancer listens for traffic.
    pub listen: Vec<SocketAddr>,
    /// Name of the strategy that chooses backends.
    pub strategy: String,
    /// Name of the backend that gets the next request; `None` unless the strategy is round robin and a backend is usable.
    pub next: Option<String>,
    /// Open connections of clients, idle ones included; `None` with the tiny-http edge, which does not count them.
    pub connections: Option<usize>,
    /// Requests that wait for a worker.
    pub queue_depth: usize,
    /// Requests that may wait for a worker.
    pub queue_capacity: usize,
    /// Worker threads.
    pub workers: usize,
    /// Worker threads that have a request.
    pub workers_busy: usize,
    /// The busy workers and their requests.
    pub busy: Vec<BusyWorker>,
    /// Requests that have ended since the start, by class of status: `2xx`, `3xx`, `4xx`, `5xx`, `other`.
    pub requests: BTreeMap<String, u64>,
    /// Ended requests for which no backend was chosen.
    pub rejected: u64,
    /// Lines of the access log that were not written, or not in time.
    pub access_log_dropped: u64,
    /// Rates and times of all requests in the last ten seconds.
    pub lately: RecentRates,
    /// A sample of the requests that ended last, the newest last.
    pub recent: Vec<EndedRequest>,
    /// Whether this is the demo, which has `/api/demo`.
    pub demo: bool,
    /// The backends, in the order of the rotation.
    pub backends: Vec<BackendState>,
}

/// A worker that has a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BusyWorker {
    /// Number of the worker, from 0.
    pub worker: usize,
    /// Method of its request.
    pub method: String,
    /// Path of its request without the query, cut at 48 bytes.
    pub path: String,
    /// Name of the backend that was chosen; `None` until one is.
    pub backend: Option<String>,
    /// Phase of the request: `choosing`, `waiting` or `relaying`.
    pub phase: String,
    /// Time since the worker took the request, in seconds.
    pub for_seconds: f64,
}

/// Rates and times over the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecentRates {
    /// Seconds that are covered: ten, or fewer shortly after the start.
    pub seconds: f64,
    /// Requests a second.
    pub rate: f64,
    /// Responses with a status of 5xx a second.
    pub errors: f64,
    /// Median time, in seconds; `None` without a request.
    pub p50_seconds: Option<f64>,
    /// 99th percentile of the time, in seconds; `None` without a request.
    pub p99_seconds: Option<f64>,
}

/// [`RecentRates`] of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendRates {
    /// Its rates and times.
    #[serde(flatten)]
    pub rates: RecentRates,
    /// Its share of all backends' requests, 0 to 1; `None` if there were none.
    pub share: Option<f64>,
}

/// A request that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedRequest {
    /// Sequence number, from 1.
    pub number: u64,
    /// Time since its end, in seconds.
    pub ago_seconds: f64,
    /// Its method; `None` if its head was malformed.
    pub method: Option<String>,
    /// Its path without the query, cut at 48 bytes; `None` if its head was malformed.
    pub path: Option<String>,
    /// Name of the backend that was chosen last; `None` if none was.
    pub backend: Option<String>,
    /// Status that was sent to the client.
    pub status: u16,
    /// The way in which it ended, as one word: `ok`, or the fault.
    pub ended: String,
    /// Time from being ready for a worker to the end of the response, in seconds.
    pub seconds: f64,
    /// Backends that were tried.
    pub tries: u32,
}

/// A backend at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendState {
    /// Its authority, `127.0.0.1:8081`.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<SocketAddr>,
    /// `checking`, `up`, `down` or `draining`.
    pub state: String,
    /// Reason for the state.
    pub why: String,
    /// Time of day at which the state began, in UTC.
    pub since: String,
    /// Time since the state began, in seconds.
    pub for_seconds: f64,
    /// Its weight.
    pub weight: u32,
    /// Whether it is used only when no other backend is usable.
    pub backup: bool,
    /// Requests that it is serving.
    pub in_flight: usize,
    /// Requests that it may serve at a time.
    pub max_in_flight: usize,
    /// Whether it is serving no request.
    pub idle: bool,
    /// Tries since the start.
    pub tries: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Requests that ended at this backend.
    pub requests: u64,
    /// Responses with a status of 5xx among them.
    pub errors: u64,
    /// Rates and times of the last ten seconds; `None`, and left out, except in the answer to `GET /api/state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lately: Option<BackendRates>,
}

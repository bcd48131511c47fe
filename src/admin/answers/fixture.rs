//! Answers with every field filled in, for the tests of the API's contract and of its readers.

#![cfg(test)]

use super::demo::{DemoBackendState, DemoState, TrafficState};
use super::history::{Sample, Samples};
use super::state::{BackendRates, BackendState, BusyWorker, EndedRequest, RecentRates, State};
use std::ops::RangeInclusive;

const NOW: &str = "2026-11-23T02:37:46.734Z";

/// A balancer with two backends, two busy workers and two recent requests.
pub fn state() -> State {
    State {
        version: "0.1.0".into(),
        uptime_seconds: 3725.5,
        now: NOW.into(),
        ready: true,
        why_not: None,
        edge: "parked".into(),
        listen: ["127.0.0.1:8080", "[::1]:8080"].map(|address| address.parse().unwrap()).into(),
        strategy: "round-robin".into(),
        next: Some("127.0.0.1:8082".into()),
        connections: Some(12),
        queue_depth: 256,
        queue_capacity: 1024,
        workers: 64,
        workers_busy: 3,
        busy: vec![
            busy(0, "GET", "/quick", None, "choosing", 0.001),
            busy(7, "POST", "/slow", Some("127.0.0.1:8081"), "waiting", 2.5),
        ],
        requests: [("2xx", 12000), ("3xx", 0), ("4xx", 300), ("5xx", 45), ("other", 0)]
            .map(|(class, count)| (class.to_owned(), count))
            .into(),
        rejected: 4,
        access_log_dropped: 0,
        lately: rates(123.4, 0.0012, 0.0204),
        recent: vec![
            ended(1, 1.5, "/old", "127.0.0.1:8081", 200, "ok", 0.0013, 1),
            ended(2, 0.2, "/new", "127.0.0.1:8082", 502, "backend_failed", 0.25, 3),
        ],
        demo: false,
        backends: vec![backend("127.0.0.1:8081", "up"), backend("127.0.0.1:8082", "down")],
    }
}

fn busy(worker: usize, method: &str, path: &str, at: Option<&str>, phase: &str, time: f64) -> BusyWorker {
    BusyWorker {
        worker,
        method: method.into(),
        path: path.into(),
        backend: at.map(str::to_owned),
        phase: phase.into(),
        for_seconds: time,
    }
}

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
fn ended(
    number: u64,
    ago_seconds: f64,
    path: &str,
    backend: &str,
    status: u16,
    ended: &str,
    seconds: f64,
    tries: u32,
) -> EndedRequest {
    EndedRequest {
        number,
        ago_seconds,
        method: Some("GET".into()),
        path: Some(path.into()),
        backend: Some(backend.into()),
        status,
        ended: ended.into(),
        seconds,
        tries,
    }
}

fn rates(rate: f64, p50: f64, p99: f64) -> RecentRates {
    RecentRates { seconds: 10.0, rate, errors: 0.5, p50_seconds: Some(p50), p99_seconds: Some(p99) }
}

/// A backend of this name and state.
pub fn backend(name: &str, state: &str) -> BackendState {
    BackendState {
        name: name.into(),
        addresses: vec![([127, 0, 0, 1], 8081).into()],
        state: state.into(),
        why: "a check was refused".into(),
        since: NOW.into(),
        for_seconds: 61.0,
        weight: 5,
        backup: false,
        in_flight: 2,
        max_in_flight: 100,
        idle: false,
        tries: 6200,
        failures: 12,
        requests: 6150,
        errors: 45,
        lately: Some(BackendRates { rates: rates(61.7, 0.0011, 0.0199), share: Some(0.5) }),
    }
}

/// Samples of these numbers, with as many requests as the number says.
pub fn samples(numbers: RangeInclusive<u64>) -> Samples {
    let newest = *numbers.end();
    let sample = |number| Sample {
        number,
        requests: number,
        errors: 0,
        p50_seconds: Some(0.001),
        p99_seconds: Some(0.02),
        backends: [("127.0.0.1:8081".to_owned(), number)].into(),
    };
    Samples { newest, samples: numbers.map(sample).collect() }
}

/// A demo with one backend.
pub fn demo() -> DemoState {
    let name = "127.0.0.1:8081".into();
    let backend = DemoBackendState { name, running: true, delay_ms: 0, error_percent: 0 };
    DemoState { traffic: TrafficState { rate: 0, clients: 4, sent: 0, failed: 0 }, backends: vec![backend] }
}

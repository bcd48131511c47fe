//! What `/api/state` and `/api/history` say, as far as they say it: whatever is missing, or is something else than it
//! should be, is `None`, so that an older balancer is shown as well as a newer one. Pure.

use crate::cli::client::clean;
use serde_json::Value;
use std::collections::VecDeque;

/// Samples that are kept: the last two minutes.
pub const SAMPLES: usize = 120;

/// The balancer as it was when it was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Which turnwheel it is.
    pub version: Option<String>,
    /// How long it has served.
    pub uptime: Option<f64>,
    /// Would it serve?
    pub ready: Option<bool>,
    /// Why not.
    pub why_not: Option<String>,
    /// Which edge it has.
    pub edge: Option<String>,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Who chooses backends.
    pub strategy: Option<String>,
    /// The backend whose turn it is.
    pub next: Option<String>,
    /// Connections of clients.
    pub connections: Option<u64>,
    /// Requests that wait, and how many may.
    pub queue: Part,
    /// Workers that are at work, and all of them.
    pub workers: Part,
    /// Requests since the start.
    pub requests: Option<u64>,
    /// The last ten seconds.
    pub lately: Lately,
    /// What workers are at, the longest first.
    pub busy: Vec<Busy>,
    /// Requests that have ended, the newest first.
    pub recent: Vec<Recent>,
    /// The backends.
    pub backends: Vec<Backend>,
}

/// A number, and how large it can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How many there are.
    pub now: Option<u64>,
    /// How many there can be.
    pub most: Option<u64>,
}

/// The last ten seconds, of the balancer or of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lately {
    /// Requests a second.
    pub rate: Option<f64>,
    /// Replies with 5xx a second.
    pub errors: Option<f64>,
    /// Seconds that half of the requests took at most.
    pub p50: Option<f64>,
    /// Seconds that all but one in a hundred took at most.
    pub p99: Option<f64>,
    /// A backend's part of all backends' requests, 0 to 1.
    pub share: Option<f64>,
}

/// A worker with a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busy {
    /// Which of them.
    pub worker: Option<u64>,
    /// The request's method.
    pub method: Option<String>,
    /// Its path, or the beginning of it.
    pub path: Option<String>,
    /// Who was chosen for it.
    pub backend: Option<String>,
    /// How far it is.
    pub phase: Option<String>,
    /// Since when, in seconds.
    pub for_seconds: Option<f64>,
}

/// A request that has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// How long ago, in seconds.
    pub ago: Option<f64>,
    /// Its method.
    pub method: Option<String>,
    /// Its path, or the beginning of it.
    pub path: Option<String>,
    /// Who replied.
    pub backend: Option<String>,
    /// What the client got.
    pub status: Option<u64>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// How it ended, in one word.
    pub ended: Option<String>,
    /// How often it was tried.
    pub tries: Option<u64>,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// What it is called.
    pub name: Option<String>,
    /// `up`, or something less.
    pub state: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// For how long, in seconds.
    pub for_seconds: Option<f64>,
    /// Its weight.
    pub weight: Option<u64>,
    /// Does it serve only if no other can?
    pub backup: Option<bool>,
    /// Requests that it is serving, and how many those may be.
    pub in_flight: Part,
    /// Requests since the start.
    pub requests: Option<u64>,
    /// Those with 5xx.
    pub errors: Option<u64>,
    /// The last ten seconds.
    pub lately: Lately,
}

impl State {
    /// Reads `/api/state`.
    pub fn read(body: &Value) -> Self {
        let mut busy: Vec<Busy> = list(body, "busy", Busy::read);
        let longest_first = |one: &Busy| std::cmp::Reverse(one.for_seconds.map(f64::to_bits));
        busy.sort_by_key(longest_first); // bits of floats that are not negative sort as they do
        let mut recent = list(body, "recent", Recent::read);
        recent.reverse();
        let classes = body["requests"].as_object().map(|classes| classes.values().filter_map(Value::as_u64));
        State {
            version: text(body, "version"),
            uptime: number(body, "uptime_seconds"),
            ready: body["ready"].as_bool(),
            why_not: text(body, "why_not"),
            edge: text(body, "edge"),
            listen: list(body, "listen", |one| one.as_str().map(clean)).into_iter().flatten().collect(),
            strategy: text(body, "strategy"),
            next: text(body, "next"),
            connections: count(body, "connections"),
            queue: Part { now: count(body, "queue_depth"), most: count(body, "queue_capacity") },
            workers: Part { now: count(body, "workers_busy"), most: count(body, "workers") },
            requests: classes.map(|counts| counts.fold(0, u64::saturating_add)),
            lately: Lately::read(&body["lately"]),
            busy,
            recent,
            backends: list(body, "backends", Backend::read),
        }
    }
}

impl Lately {
    fn read(body: &Value) -> Self {
        Lately {
            rate: number(body, "rate"),
            errors: number(body, "errors"),
            p50: number(body, "p50_seconds"),
            p99: number(body, "p99_seconds"),
            share: number(body, "share"),
        }
    }
}

impl Busy {
    fn read(body: &Value) -> Self {
        Busy {
            worker: count(body, "worker"),
            method: text(body, "method"),
            path: text(body, "path"),
            backend: text(body, "backend"),
            phase: text(body, "phase"),
            for_seconds: number(body, "for_seconds"),
        }
    }
}

impl Recent {
    fn read(body: &Value) -> Self {
        Recent {
            ago: number(body, "ago_seconds"),
            method: text(body, "method"),
            path: text(body, "path"),
            backend: text(body, "backend"),
            status: count(body, "status"),
            seconds: number(body, "seconds"),
            ended: text(body, "ended"),
            tries: count(body, "tries"),
        }
    }
}

impl Backend {
    fn read(body: &Value) -> Self {
        Backend {
            name: text(body, "name"),
            state: text(body, "state"),
            why: text(body, "why"),
            for_seconds: number(body, "for_seconds"),
            weight: count(body, "weight"),
            backup: body["backup"].as_bool(),
            in_flight: Part { now: count(body, "in_flight"), most: count(body, "max_in_flight") },
            requests: count(body, "requests"),
            errors: count(body, "errors"),
            lately: Lately::read(&body["lately"]),
        }
    }
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().filter(|text| !text.is_empty()).map(clean)
}

fn count(body: &Value, name: &str) -> Option<u64> {
    body[name].as_u64()
}

fn number(body: &Value, name: &str) -> Option<f64> {
    body[name].as_f64().filter(|number| *number >= 0.0).map(f64::abs) // there is a negative zero
}

fn list<T>(body: &Value, name: &str, read: fn(&Value) -> T) -> Vec<T> {
    body[name].as_array().into_iter().flatten().map(read).collect()
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Which second since the start of the balancer.
    pub number: u64,
    /// Requests that ended in it.
    pub requests: Option<f64>,
    /// Seconds that all but one in a hundred of them took at most.
    pub p99: Option<f64>,
}

/// The last two minutes, the oldest second first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(VecDeque<Sample>);

impl History {
    /// The seconds.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + Clone {
        self.0.iter()
    }

    /// Where what is new is to be had.
    pub fn path(&self) -> String {
        match self.0.back() {
            Some(newest) => format!("/api/history?after={}", newest.number),
            None => "/api/history".to_owned(),
        }
    }

    /// Adds what `/api/history` says. If the balancer has been started again, what was before is nothing to it.
    pub fn take(&mut self, body: &Value) {
        let known = self.0.back().map(|sample| sample.number);
        if count(body, "newest") < known {
            self.0.clear();
        }
        for sample in body["samples"].as_array().into_iter().flatten() {
            let Some(number) = count(sample, "number") else { continue };
            let newest = self.0.back().map(|sample| sample.number);
            if newest.is_some_and(|newest| number <= newest) {
                continue;
            }
            let (requests, p99) = (self::number(sample, "requests"), self::number(sample, "p99_seconds"));
            self.0.push_back(Sample { number, requests, p99 });
        }
        let newest = self.0.back().map_or(0, |sample| sample.number);
        self.0.retain(|sample| newest - sample.number < SAMPLES as u64);
    }
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use serde_json::json;

    /// All that the contract has, in a balancer with two backends.
    pub fn full() -> Value {
        json!({
            "version": "0.1.0", "uptime_seconds": 3725.5, "now": "2026-11-23T02:37:46.734Z",
            "ready": true, "why_not": null, "edge": "parked", "listen": ["127.0.0.1:8080", "[::1]:8080"],
            "strategy": "round-robin", "next": "127.0.0.1:8082", "connections": 12,
            "queue_depth": 256, "queue_capacity": 1024, "workers": 64, "workers_busy": 3,
            "busy": [
                { "worker": 0, "method": "GET", "path": "/quick", "backend": null, "phase": "choosing",
                  "for_seconds": 0.001 },
                { "worker": 7, "method": "POST", "path": "/slow", "backend": "127.0.0.1:8081",
                  "phase": "waiting", "for_seconds": 2.5 },
            ],
            "requests": { "2xx": 12000, "3xx": 0, "4xx": 300, "5xx": 45, "other": 0 },
            "rejected": 4, "access_log_dropped": 0,
            "lately": { "seconds": 10, "rate": 123.4, "errors": 0.5, "p50_seconds": 0.0012, "p99_seconds": 0.0204 },
            "recent": [
                { "number": 1, "ago_seconds": 1.5, "method": "GET", "path": "/old", "backend": "127.0.0.1:8081",
                  "status": 200, "ended": "ok", "seconds": 0.0013, "tries": 1 },
                { "number": 2, "ago_seconds": 0.2, "method": "GET", "path": "/new", "backend": "127.0.0.1:8082",
                  "status": 502, "ended": "backend_failed", "seconds": 0.25, "tries": 3 },
            ],
            "demo": false,
            "backends": [backend("127.0.0.1:8081", "up"), backend("127.0.0.1:8082", "down")],
        })
    }

    /// One that all is known of.
    pub fn backend(name: &str, state: &str) -> Value {
        json!({
            "name": name, "addresses": [name], "state": state, "why": "a check was refused",
            "since": "2026-11-23T02:37:46.734Z", "for_seconds": 61.0, "weight": 5, "backup": false,
            "in_flight": 2, "max_in_flight": 100, "idle": false, "tries": 6200, "failures": 12,
            "requests": 6150, "errors": 45,
            "lately": { "rate": 61.7, "share": 0.5, "errors": 0.5, "p50_seconds": 0.0011, "p99_seconds": 0.0199 },
        })
    }

    /// A history whose seconds are these, with as many requests as the number says.
    pub fn history(numbers: std::ops::RangeInclusive<u64>) -> Value {
        let newest = *numbers.end();
        let samples: Vec<_> = numbers
            .map(|n| json!({ "number": n, "requests": n, "errors": 0, "p50_seconds": 0.001, "p99_seconds": 0.02 }))
            .collect();
        json!({ "newest": newest, "samples": samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_full_state_is_read_whole() {
        let state = State::read(&fixture::full());
        assert_eq!(state.version.as_deref(), Some("0.1.0"));
        assert_eq!(state.queue, Part { now: Some(256), most: Some(1024) });
        assert_eq!(state.workers, Part { now: Some(3), most: Some(64) });
        assert_eq!(state.requests, Some(12345));
        assert_eq!(state.busy.iter().map(|one| one.worker).collect::<Vec<_>>(), [Some(7), Some(0)]);
        assert_eq!(state.recent.iter().map(|one| one.status).collect::<Vec<_>>(), [Some(502), Some(200)]);
        assert_eq!(state.backends[1].state.as_deref(), Some("down"));
        assert_eq!(state.backends[0].lately.share, Some(0.5));
    }

    #[test]
    fn what_is_missing_or_wrong_is_none() {
        assert_eq!(State::read(&json!({})), State::default());
        assert_eq!(State::read(&Value::Null), State::default());
        let mut wrong = fixture::full();
        for field in wrong.as_object_mut().unwrap().values_mut() {
            *field = json!([-1, { "x": true }, "text"]);
        }
        let state = State::read(&wrong);
        assert_eq!((state.version, state.requests, state.backends.len()), (None, None, 3));
        assert_eq!(state.backends[0], Backend::default());
        let negative = State::read(&json!({ "uptime_seconds": -1, "connections": -1, "workers": 1.5 }));
        assert_eq!(negative, State::default());
    }

    #[test]
    fn texts_are_harmless_from_here_on() {
        let hostile =
            json!({ "busy": [{ "path": "/\u{1b}]0;owned\u{7}" }], "backends": [{ "why": "\u{9b}2J" }] });
        let state = State::read(&hostile);
        assert_eq!(state.busy[0].path.as_deref(), Some("/·]0;owned·"));
        assert_eq!(state.backends[0].why.as_deref(), Some("·2J"));
    }

    #[test]
    fn history_grows_and_forgets() {
        let numbers = |history: &History| {
            let numbers: Vec<_> = history.samples().map(|sample| sample.number).collect();
            (numbers.len(), numbers.first().copied(), numbers.last().copied())
        };
        let mut history = History::default();
        assert_eq!(history.path(), "/api/history");
        history.take(&fixture::history(1..=100));
        assert_eq!(history.path(), "/api/history?after=100");
        history.take(&fixture::history(100..=130));
        assert_eq!(numbers(&history), (SAMPLES, Some(11), Some(130)));
        history.take(&json!({ "newest": 130, "samples": [] }));
        history.take(&json!({ "newest": 131, "samples": [{}, { "number": "x" }, 3] }));
        assert_eq!(numbers(&history), (SAMPLES, Some(11), Some(130)), "nothing new");
        history.take(&json!({ "newest": 5, "samples": [] }));
        assert_eq!(numbers(&history), (0, None, None), "it has been started again");
        history.take(&fixture::history(1..=5));
        history.take(&fixture::history(1000..=1001));
        assert_eq!(numbers(&history), (2, Some(1000), Some(1001)), "what is older than two minutes goes");
    }
}

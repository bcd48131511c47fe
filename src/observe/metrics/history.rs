//! What has happened lately: the last two minutes by the second, and the last ten seconds in a few numbers.
//!
//! Nothing of this is recorded by workers. Once a second somebody looks at what has been counted, and keeps what is new.

use super::Metrics;
use crate::backend::Backend;
use crate::backend::counters::Totals;
use crate::backend::latency::Times;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Two minutes.
const KEPT: usize = 120;

/// What is called lately, in looks.
const LATELY: usize = 10;

/// Some seconds in a few numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately {
    /// How many seconds.
    pub seconds: f64,
    /// Requests a second.
    pub rate: f64,
    /// Those with 5xx, a second.
    pub errors: f64,
    /// What half of them took at most, in seconds.
    pub p50: Option<f64>,
    /// What 99 of 100 took at most, in seconds.
    pub p99: Option<f64>,
}

impl Lately {
    /// As those who ask get it.
    pub fn shown(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "rate": self.rate,
            "errors": self.errors,
            "p50_seconds": self.p50,
            "p99_seconds": self.p99,
        })
    }
}

/// What came between two looks.
#[derive(Debug)]
struct Step {
    seconds: f64,
    requests: u64,
    errors: u64,
    times: Vec<(usize, u64)>,
}

/// The last steps.
#[derive(Debug, Default)]
struct Window {
    before: Totals,
    steps: VecDeque<Step>,
}

impl Window {
    fn step(&mut self, seconds: f64, now: Totals) -> &Step {
        if self.steps.len() == LATELY {
            self.steps.pop_front();
        }
        let requests = now.requests.saturating_sub(self.before.requests);
        let errors = now.errors.saturating_sub(self.before.errors);
        let times = now.times.since(&self.before.times);
        self.before = now;
        self.steps.push_back(Step { seconds, requests, errors, times });
        &self.steps[self.steps.len() - 1]
    }

    fn lately(&self) -> Lately {
        let seconds: f64 = self.steps.iter().map(|step| step.seconds).sum();
        let mut times = Times::default();
        self.steps.iter().for_each(|step| times.add(&step.times));
        let rate = |count: fn(&Step) -> u64| {
            self.steps.iter().map(count).sum::<u64>() as f64 / seconds.max(f64::MIN_POSITIVE)
        };
        Lately {
            seconds,
            rate: rate(|step| step.requests),
            errors: rate(|step| step.errors),
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
        }
    }
}

/// One second.
#[derive(Debug)]
struct Sample {
    number: u64,
    requests: u64,
    errors: u64,
    p50: Option<f64>,
    p99: Option<f64>,
    backends: Vec<(String, u64)>,
}

impl Sample {
    fn shown(&self) -> Value {
        let backends = self.backends.iter().map(|(name, count)| (name.clone(), Value::from(*count)));
        json!({
            "number": self.number,
            "requests": self.requests,
            "errors": self.errors,
            "p50_seconds": self.p50,
            "p99_seconds": self.p99,
            "backends": Value::Object(backends.collect()),
        })
    }
}

/// The last two minutes. The lock is for those who look and those who ask; no worker knows it.
#[derive(Debug)]
pub struct History(Mutex<Past>);

#[derive(Debug)]
struct Past {
    looked: Instant,
    newest: u64,
    samples: VecDeque<Sample>,
    all: Window,
    backends: HashMap<u64, Window>,
    lately: Arc<Summary>,
}

/// The last ten seconds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Of all requests.
    pub all: Lately,
    /// Of each backend's, by its [id](Backend::id).
    pub backends: HashMap<u64, Lately>,
}

impl Summary {
    /// A backend's part of what all backends did, from 0 to 1; nothing if nobody did anything.
    pub fn share(&self, backend: u64) -> Option<f64> {
        let all: f64 = self.backends.values().map(|lately| lately.rate).sum();
        self.backends.get(&backend).filter(|_| all > 0.0).map(|lately| lately.rate / all)
    }
}

impl History {
    /// Begins now.
    pub fn new(now: Instant) -> Self {
        History(Mutex::new(Past {
            looked: now,
            newest: 0,
            samples: VecDeque::with_capacity(KEPT),
            all: Window::default(),
            backends: HashMap::new(),
            lately: Arc::default(),
        }))
    }

    /// Looks at what has been counted, and keeps what is new.
    pub fn look(&self, now: Instant, metrics: &Metrics, backends: &[Arc<Backend>]) {
        let totals = metrics.totals();
        let by_backend = backends.iter().filter_map(|backend| Some((backend, backend.counters()?.totals())));
        self.lock().keep(now, totals, by_backend.collect());
    }

    /// The last ten seconds.
    pub fn lately(&self) -> Arc<Summary> {
        Arc::clone(&self.lock().lately)
    }

    /// The seconds after the one with this number.
    pub fn after(&self, number: u64) -> Value {
        let past = self.lock();
        let newer = past.samples.iter().filter(|sample| sample.number > number);
        json!({ "newest": past.newest, "samples": newer.map(Sample::shown).collect::<Vec<_>>() })
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn keep(&mut self, now: Instant, all: Totals, backends: Vec<(&Arc<Backend>, Totals)>) {
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        self.backends.retain(|id, _| backends.iter().any(|(backend, _)| backend.id() == *id));
        let mut counts = Vec::with_capacity(backends.len());
        for (backend, totals) in backends {
            let step = self.backends.entry(backend.id()).or_default().step(seconds, totals);
            counts.push((backend.authority().to_string(), step.requests));
        }
        let step = self.all.step(seconds, all);
        let mut times = Times::default();
        times.add(&step.times);
        self.newest += 1;
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            number: self.newest,
            requests: step.requests,
            errors: step.errors,
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
            backends: counts,
        });
        let backends = self.backends.iter().map(|(id, window)| (*id, window.lately())).collect();
        self.lately = Arc::new(Summary { all: self.all.lately(), backends });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// So many requests in all, of which some were errors, each of which took 10 ms.
    fn totals(requests: u64, errors: u64) -> Totals {
        let latency = crate::backend::latency::Latency::default();
        (0..requests).for_each(|_| latency.note(Duration::from_millis(10)));
        Totals { requests, errors, times: latency.times() }
    }

    fn backends() -> Vec<Arc<Backend>> {
        crate::balance::strategies::tests::backends(2).into_iter().map(Arc::new).collect()
    }

    /// A history after so many looks, a second apart, with ten requests in each second, a quarter of them at the first
    /// backend.
    fn after(looks: u64, backends: &[Arc<Backend>]) -> History {
        let began = Instant::now();
        let history = History::new(began);
        for look in 1..=looks {
            let parts = vec![(&backends[0], totals(look * 4, 0)), (&backends[1], totals(look * 12, look))];
            history.lock().keep(began + Duration::from_secs(look), totals(look * 16, look), parts);
        }
        history
    }

    #[test]
    fn lately_is_ten_seconds_or_less() {
        let backends = backends();
        for (looks, seconds) in [(1, 1.0), (7, 7.0), (10, 10.0), (30, 10.0)] {
            let history = after(looks, &backends);
            let lately = history.lately();
            assert_eq!((lately.all.seconds, lately.all.rate, lately.all.errors), (seconds, 16.0, 1.0));
            let median = lately.all.p50.unwrap();
            assert!((median - 0.01).abs() < 0.001, "{median}");
            assert_eq!(lately.backends[&backends[1].id()].rate, 12.0);
            assert_eq!(lately.share(backends[0].id()), Some(0.25));
            assert_eq!(lately.share(u64::MAX), None);
        }
    }

    #[test]
    fn nothing_has_happened_before_the_first_look() {
        let history = History::new(Instant::now());
        let lately = history.lately();
        assert_eq!((lately.all.rate, lately.all.p99, lately.share(1)), (0.0, None, None));
        assert_eq!(history.after(0), json!({ "newest": 0, "samples": [] }));
    }

    #[test]
    fn two_minutes_are_kept_and_who_asks_again_gets_what_is_new() {
        let backends = backends();
        let history = after(150, &backends);
        let all = history.after(0);
        assert_eq!(all["newest"], 150);
        let samples = all["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &samples[0]["number"]), (KEPT, &json!(31)));
        assert_eq!((&samples[0]["requests"], &samples[0]["errors"]), (&json!(16), &json!(1)));
        assert_eq!(samples[0]["backends"], json!({ "127.0.0.1:1": 4, "127.0.0.1:2": 12 }));
        assert_eq!(history.after(148)["samples"].as_array().unwrap().len(), 2);
        assert_eq!(history.after(150)["samples"], json!([]));
    }

    #[test]
    fn a_backend_that_has_left_is_forgotten() {
        let backends = backends();
        let history = after(3, &backends);
        let later = Instant::now() + Duration::from_secs(60);
        history.lock().keep(later, totals(64, 4), vec![(&backends[0], totals(16, 0))]);
        assert_eq!(history.lately().backends.len(), 1);
        assert_eq!(history.lock().backends.len(), 1);
    }
}

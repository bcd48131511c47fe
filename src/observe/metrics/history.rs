//! The last two minutes of requests by the second, and rates over the last ten seconds.
//!
//! Workers record nothing for this. Once a second, one thread reads the counts since the start and keeps the difference
//! to the previous second.

use crate::backend::counters::Totals;
use crate::backend::instance::Backend;
use crate::backend::latency::Times;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Seconds that are kept: two minutes.
const SECONDS_KEPT: usize = 120;

/// Samples, one a second, that recent rates cover.
const RECENT: usize = 10;

/// Rates and times over some seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Seconds that are covered.
    pub seconds: f64,
    /// Requests a second.
    pub requests: f64,
    /// Responses with 5xx a second.
    pub errors: f64,
    /// Median time, in seconds; `None` without a request.
    pub p50: Option<f64>,
    /// 99th percentile of the time, in seconds; `None` without a request.
    pub p99: Option<f64>,
}

/// Counts between two samples.
#[derive(Debug)]
struct CountDelta {
    seconds: f64,
    requests: u64,
    errors: u64,
    times: Vec<(usize, u64)>,
}

/// The most recent deltas.
#[derive(Debug, Default)]
struct Window {
    before: Totals,
    deltas: VecDeque<CountDelta>,
}

impl Window {
    fn delta(&mut self, seconds: f64, now: Totals) -> &CountDelta {
        if self.deltas.len() == RECENT {
            self.deltas.pop_front();
        }
        let requests = now.requests.saturating_sub(self.before.requests);
        let errors = now.errors.saturating_sub(self.before.errors);
        let times = now.times.since(&self.before.times);
        self.before = now;
        self.deltas.push_back(CountDelta { seconds, requests, errors, times });
        &self.deltas[self.deltas.len() - 1]
    }

    fn rates(&self) -> Rates {
        let seconds: f64 = self.deltas.iter().map(|delta| delta.seconds).sum();
        let mut times = Times::default();
        self.deltas.iter().for_each(|delta| times.add(&delta.times));
        let rate = |count: fn(&CountDelta) -> u64| {
            self.deltas.iter().map(count).sum::<u64>() as f64 / seconds.max(f64::MIN_POSITIVE)
        };
        Rates {
            seconds,
            requests: rate(|delta| delta.requests),
            errors: rate(|delta| delta.errors),
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
        }
    }
}

/// Requests that ended in one second.
#[derive(Clone, Debug)]
pub struct SecondCounts {
    /// Sequence number of the second, from 1.
    pub number: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests that ended with 5xx.
    pub errors: u64,
    /// Median time, in seconds; `None` without a request.
    pub p50: Option<f64>,
    /// 99th percentile of the time, in seconds; `None` without a request.
    pub p99: Option<f64>,
    /// Requests that ended at each backend, with its name.
    pub backends: Vec<(String, u64)>,
}

/// The last two minutes. Its lock is taken by the sampling thread and by readers, never by a worker.
#[derive(Debug)]
pub struct History(Mutex<HistoryData>);

#[derive(Debug)]
struct HistoryData {
    sampled: Instant,
    newest: u64,
    seconds: VecDeque<SecondCounts>,
    all: Window,
    backends: HashMap<u64, Window>,
    recent: Arc<RecentSummary>,
}

/// Rates over the last ten seconds.
#[derive(Debug, Default)]
pub struct RecentSummary {
    /// Rates of all requests.
    pub all: Rates,
    /// Rates of each backend, by its [id](Backend::id).
    pub backends: HashMap<u64, Rates>,
}

impl RecentSummary {
    /// Returns a backend's share of the requests at all backends, from 0 to 1; `None` if there were none.
    pub fn share(&self, backend: u64) -> Option<f64> {
        let all: f64 = self.backends.values().map(|rates| rates.requests).sum();
        self.backends.get(&backend).filter(|_| all > 0.0).map(|rates| rates.requests / all)
    }
}

impl History {
    /// Creates an empty history whose first second begins at `now`.
    pub fn new(now: Instant) -> Self {
        History(Mutex::new(HistoryData {
            sampled: now,
            newest: 0,
            seconds: VecDeque::with_capacity(SECONDS_KEPT),
            all: Window::default(),
            backends: HashMap::new(),
            recent: Arc::default(),
        }))
    }

    /// Takes a sample: keeps the difference of the totals to the previous sample's totals.
    pub fn sample(&self, now: Instant, totals: Totals, backends: &[Arc<Backend>]) {
        let by_backend = backends.iter().filter_map(|backend| Some((backend, backend.counters()?.totals())));
        self.lock().keep(now, totals, by_backend.collect());
    }

    /// Returns the rates over the last ten seconds, as of the last sample.
    pub fn recent(&self) -> Arc<RecentSummary> {
        Arc::clone(&self.lock().recent)
    }

    /// Returns the number of the newest second, and the seconds with a number above `number`, the oldest first.
    pub fn after(&self, number: u64) -> (u64, Vec<SecondCounts>) {
        let past = self.lock();
        (past.newest, past.seconds.iter().filter(|second| second.number > number).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, HistoryData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistoryData {
    fn keep(&mut self, now: Instant, all: Totals, backends: Vec<(&Arc<Backend>, Totals)>) {
        let seconds = now.saturating_duration_since(self.sampled).as_secs_f64();
        self.sampled = now;
        self.backends.retain(|id, _| backends.iter().any(|(backend, _)| backend.id() == *id));
        let mut counts = Vec::with_capacity(backends.len());
        for (backend, totals) in backends {
            let delta = self.backends.entry(backend.id()).or_default().delta(seconds, totals);
            counts.push((backend.authority().to_string(), delta.requests));
        }
        let delta = self.all.delta(seconds, all);
        let mut times = Times::default();
        times.add(&delta.times);
        self.newest += 1;
        if self.seconds.len() == SECONDS_KEPT {
            self.seconds.pop_front();
        }
        self.seconds.push_back(SecondCounts {
            number: self.newest,
            requests: delta.requests,
            errors: delta.errors,
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
            backends: counts,
        });
        let backends = self.backends.iter().map(|(id, window)| (*id, window.rates())).collect();
        self.recent = Arc::new(RecentSummary { all: self.all.rates(), backends });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Totals of this many requests and errors, 10 ms each.
    fn totals(requests: u64, errors: u64) -> Totals {
        let latency = crate::backend::latency::Latency::default();
        (0..requests).for_each(|_| latency.note(Duration::from_millis(10)));
        Totals { requests, errors, times: latency.times() }
    }

    fn backends() -> Vec<Arc<Backend>> {
        crate::balance::strategies::tests::backends(2).into_iter().map(Arc::new).collect()
    }

    /// A history after this many samples, a second apart, with 16 requests a second, a quarter of them at the first
    /// backend.
    fn history_of(samples: u64, backends: &[Arc<Backend>]) -> History {
        let began = Instant::now();
        let history = History::new(began);
        for second in 1..=samples {
            let parts =
                vec![(&backends[0], totals(second * 4, 0)), (&backends[1], totals(second * 12, second))];
            history.lock().keep(began + Duration::from_secs(second), totals(second * 16, second), parts);
        }
        history
    }

    #[test]
    fn recent_rates_cover_ten_seconds_or_less() {
        let backends = backends();
        for (samples, seconds) in [(1, 1.0), (7, 7.0), (10, 10.0), (30, 10.0)] {
            let history = history_of(samples, &backends);
            let recent = history.recent();
            assert_eq!((recent.all.seconds, recent.all.requests, recent.all.errors), (seconds, 16.0, 1.0));
            let median = recent.all.p50.unwrap();
            assert!((median - 0.01).abs() < 0.001, "{median}");
            assert_eq!(recent.backends[&backends[1].id()].requests, 12.0);
            assert_eq!(recent.share(backends[0].id()), Some(0.25));
            assert_eq!(recent.share(u64::MAX), None);
        }
    }

    #[test]
    fn is_empty_before_the_first_sample() {
        let history = History::new(Instant::now());
        let recent = history.recent();
        assert_eq!((recent.all.requests, recent.all.p99, recent.share(1)), (0.0, None, None));
        let (newest, seconds) = history.after(0);
        assert_eq!((newest, seconds.len()), (0, 0));
    }

    #[test]
    fn keeps_two_minutes_and_returns_only_what_is_newer_than_asked() {
        let backends = backends();
        let history = history_of(150, &backends);
        let (newest, seconds) = history.after(0);
        assert_eq!((newest, seconds.len(), seconds[0].number), (150, SECONDS_KEPT, 31));
        assert_eq!((seconds[0].requests, seconds[0].errors), (16, 1));
        assert_eq!(seconds[0].backends, [("127.0.0.1:1".into(), 4), ("127.0.0.1:2".into(), 12)]);
        assert_eq!(history.after(148).1.len(), 2);
        assert_eq!(history.after(150).1.len(), 0);
    }

    #[test]
    fn forgets_a_backend_that_has_left() {
        let backends = backends();
        let history = history_of(3, &backends);
        let later = Instant::now() + Duration::from_secs(60);
        history.lock().keep(later, totals(64, 4), vec![(&backends[0], totals(16, 0))]);
        assert_eq!(history.recent().backends.len(), 1);
        assert_eq!(history.lock().backends.len(), 1);
    }
}

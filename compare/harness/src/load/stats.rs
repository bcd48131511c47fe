//! Statistics of a load.

use crate::results::{Latency, Load};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Upper bound of the latency histogram in microseconds.
const MAX_LATENCY_MICROS: u64 = 120_000_000;

/// Statistics of the replies that arrive within the window.
pub struct LoadStats {
    begins: Instant,
    ends: Instant,
    latencies: Histogram<u64>,
    /// Sum of the durations of failed requests in microseconds.
    failed_micros: f64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
    /// Good replies of each connection.
    served: Vec<u64>,
    ever: u64,
    /// Requests of an open loop that were due in the window.
    due: u64,
}

impl LoadStats {
    /// Returns empty statistics for a window.
    pub fn new(connections: usize, begins: Instant, ends: Instant) -> Self {
        // These bounds are valid.
        let latencies = Histogram::new_with_max(MAX_LATENCY_MICROS, 3).unwrap_or_else(|_| unreachable!());
        LoadStats {
            begins,
            ends,
            latencies,
            failed_micros: 0.0,
            bytes: 0,
            errors: BTreeMap::new(),
            served: vec![0; connections],
            ever: 0,
            due: 0,
        }
    }

    /// Counts requests that were due, whether or not a connection was free to send them.
    pub fn due(&mut self, times: &[Instant]) {
        self.due += times.iter().filter(|time| self.counts(**time)).count() as u64;
    }

    /// Records a complete reply.
    pub fn reply(&mut self, slot: usize, now: Instant, due: Instant, status: u16, body: u64) {
        self.ever += 1;
        if !(200..300).contains(&status) {
            return self.error(now, due, &format!("status-{status}"));
        }
        if !self.counts(now) {
            return;
        }
        let took = now.saturating_duration_since(due);
        self.latencies.saturating_record((took.as_micros() as u64).clamp(1, MAX_LATENCY_MICROS));
        self.bytes += body;
        self.served[slot] += 1;
    }

    /// Records a failed request.
    pub fn error(&mut self, now: Instant, due: Instant, kind: &str) {
        if self.counts(now) {
            self.failed_micros += now.saturating_duration_since(due).as_secs_f64() * 1e6;
            *self.errors.entry(kind.to_owned()).or_default() += 1;
        }
    }

    fn counts(&self, now: Instant) -> bool {
        (self.begins..self.ends).contains(&now)
    }

    /// Returns the results. `unanswered` is the number of open-loop requests due without a reply at the end.
    pub fn finish(self, window: Duration, unanswered: Option<u64>) -> Load {
        let latencies = &self.latencies;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64;
        let connections = self.served.len() as u64;
        // Computed from the histogram, so that the check covers the histogram too.
        let spent = latencies.mean() * latencies.len() as f64 + self.failed_micros;
        let under_way = spent / 1e6 / window.as_secs_f64();
        Load {
            seconds: window.as_secs_f64(),
            good: latencies.len(),
            bytes: self.bytes,
            latency: Latency {
                mean: latencies.mean(),
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: latencies.max() as f64,
            },
            errors: self.errors,
            connections,
            fewest: self.served.iter().copied().min().unwrap_or_default(),
            most: self.served.iter().copied().max().unwrap_or_default(),
            nothing: self.served.iter().filter(|served| **served == 0).count() as u64,
            little: unanswered.is_none().then(|| under_way / connections as f64),
            offered: unanswered.map(|_| self.due as f64 / window.as_secs_f64()),
            unanswered,
            replies_ever: self.ever,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_replies_within_the_window_and_only_2xx_as_good() {
        let begins = Instant::now();
        let ms = |n| Duration::from_millis(n);
        let mut stats = LoadStats::new(2, begins, begins + ms(100));
        stats.reply(0, begins + ms(50), begins, 200, 10);
        stats.reply(0, begins + ms(100), begins, 200, 10); // too late
        stats.reply(1, begins + ms(90), begins + ms(80), 503, 10);
        stats.error(begins + ms(99), begins + ms(59), "reset");
        let load = stats.finish(ms(100), None);
        assert_eq!((load.good, load.bytes, load.replies_ever), (1, 10, 3));
        assert_eq!((load.fewest, load.most, load.nothing), (0, 1, 1));
        assert_eq!(load.errors, BTreeMap::from([("reset".into(), 1), ("status-503".into(), 1)]));
        assert!((load.little.unwrap() - 0.5).abs() < 1e-3, "100 of 200 ms: {:?}", load.little);
        assert!((49_900.0..50_100.0).contains(&load.latency.p50), "{:?}", load.latency);
    }

    #[test]
    fn records_latencies_of_minutes() {
        let begins = Instant::now();
        let now = begins + Duration::from_secs(90);
        let mut stats = LoadStats::new(1, begins, now + Duration::from_secs(1));
        stats.reply(0, now, begins, 200, 0);
        assert!((89e6..91e6).contains(&stats.finish(Duration::from_secs(91), None).latency.max));
    }
}

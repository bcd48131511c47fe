//! Counting what comes back.

use crate::results::{Latency, Load};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The longest latency that is told from longer ones, in microseconds.
const LONGEST: u64 = 120_000_000;

/// What has come back. Only what comes within the window counts.
pub struct Tally {
    begins: Instant,
    ends: Instant,
    latencies: Histogram<u64>,
    /// Microseconds that requests were under way of which nothing good came.
    in_vain: f64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
    /// Good replies of each connection.
    served: Vec<u64>,
    ever: u64,
    /// Requests of an open loop that were due.
    due: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(connections: usize, begins: Instant, ends: Instant) -> Self {
        // Nothing is wrong with these bounds.
        let latencies = Histogram::new_with_max(LONGEST, 3).unwrap_or_else(|_| unreachable!());
        Tally {
            begins,
            ends,
            latencies,
            in_vain: 0.0,
            bytes: 0,
            errors: BTreeMap::new(),
            served: vec![0; connections],
            ever: 0,
            due: 0,
        }
    }

    /// These requests were due, whoever was free to send them.
    pub fn due(&mut self, times: &[Instant]) {
        self.due += times.iter().filter(|time| self.counts(**time)).count() as u64;
    }

    /// A whole reply.
    pub fn reply(&mut self, slot: usize, now: Instant, due: Instant, status: u16, body: u64) {
        self.ever += 1;
        if !(200..300).contains(&status) {
            return self.error(now, due, &format!("status-{status}"));
        }
        if !self.counts(now) {
            return;
        }
        let took = now.saturating_duration_since(due);
        self.latencies.saturating_record((took.as_micros() as u64).clamp(1, LONGEST));
        self.bytes += body;
        self.served[slot] += 1;
    }

    /// None.
    pub fn error(&mut self, now: Instant, due: Instant, word: &str) {
        if self.counts(now) {
            self.in_vain += now.saturating_duration_since(due).as_secs_f64() * 1e6;
            *self.errors.entry(word.to_owned()).or_default() += 1;
        }
    }

    fn counts(&self, now: Instant) -> bool {
        (self.begins..self.ends).contains(&now)
    }

    /// The sum. `unanswered`: in an open loop, how many requests were due and had no reply when it ended.
    pub fn finish(self, window: Duration, unanswered: Option<u64>) -> Load {
        let latencies = &self.latencies;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64;
        let connections = self.served.len() as u64;
        // From the histogram itself, so that the check covers it, too.
        let spent = latencies.mean() * latencies.len() as f64 + self.in_vain;
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
    fn only_what_comes_within_the_window_counts_and_only_2xx_is_good() {
        let begins = Instant::now();
        let ms = |n| Duration::from_millis(n);
        let mut tally = Tally::new(2, begins, begins + ms(100));
        tally.reply(0, begins + ms(50), begins, 200, 10);
        tally.reply(0, begins + ms(100), begins, 200, 10); // too late
        tally.reply(1, begins + ms(90), begins + ms(80), 503, 10);
        tally.error(begins + ms(99), begins + ms(59), "reset");
        let load = tally.finish(ms(100), None);
        assert_eq!((load.good, load.bytes, load.replies_ever), (1, 10, 3));
        assert_eq!((load.fewest, load.most, load.nothing), (0, 1, 1));
        assert_eq!(load.errors, BTreeMap::from([("reset".into(), 1), ("status-503".into(), 1)]));
        assert!((load.little.unwrap() - 0.5).abs() < 1e-3, "100 of 200 ms: {:?}", load.little);
        assert!((49_900.0..50_100.0).contains(&load.latency.p50), "{:?}", load.latency);
    }

    #[test]
    fn a_latency_of_minutes_is_told_from_one_of_milliseconds() {
        let begins = Instant::now();
        let now = begins + Duration::from_secs(90);
        let mut tally = Tally::new(1, begins, now + Duration::from_secs(1));
        tally.reply(0, now, begins, 200, 0);
        assert!((89e6..91e6).contains(&tally.finish(Duration::from_secs(91), None).latency.max));
    }
}

//! Latencies, counted finely enough for the median and the 99th percentile.
//!
//! The histograms for Prometheus have a few fixed bounds. The live page shows the last seconds of one balancer, where
//! 50 ms must read as 50 ms. The buckets here are an eighth of their value wide, so a quantile is off by at most a
//! sixteenth.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets per doubling, as a power of two.
const FINE: u32 = 3;

/// Buckets per doubling, and the number of one-microsecond buckets at the start.
const EACH: usize = 1 << FINE;

/// The highest value, in microseconds: longer times count as this, a little over two minutes.
const LONGEST: u64 = (1 << 27) - 1;

const BUCKETS: usize = bucket(LONGEST) + 1;

/// Returns the bucket of a time in microseconds.
const fn bucket(micros: u64) -> usize {
    if micros < EACH as u64 {
        return micros as usize;
    }
    let doublings = micros.ilog2() - FINE;
    (doublings as usize + 1) * EACH + (micros >> doublings) as usize % EACH
}

/// Returns the middle of a bucket, in seconds.
fn middle(bucket: usize) -> f64 {
    if bucket < EACH {
        return (bucket as f64 + 0.5) / 1e6;
    }
    let width = (1_u64 << (bucket / EACH - 1)) as f64;
    ((EACH + bucket % EACH) as f64 + 0.5) * width / 1e6
}

/// Counts times from any number of threads.
#[derive(Debug)]
pub struct Latency(Box<[AtomicU64]>);

impl Default for Latency {
    fn default() -> Self {
        Latency((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Latency {
    /// Counts a time.
    pub fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST).min(LONGEST);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// Returns a copy of the counts since the start.
    pub fn times(&self) -> Times {
        Times(self.0.iter().map(|count| count.load(Relaxed)).collect())
    }
}

/// Counted times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times(Box<[u64]>);

impl Default for Times {
    fn default() -> Self {
        Times(Box::new([0; BUCKETS]))
    }
}

impl Times {
    /// Returns what was counted since `earlier`: buckets, each with a number.
    pub fn since(&self, earlier: &Times) -> Vec<(usize, u64)> {
        let counts = self.0.iter().zip(&earlier.0).map(|(now, then)| now.saturating_sub(*then));
        counts.enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// Adds counts, as [`Times::since`] returns them.
    pub fn add(&mut self, more: &[(usize, u64)]) {
        more.iter().for_each(|(bucket, count)| self.0[*bucket] += count);
    }

    /// Returns the time that this share of them did not exceed, in seconds, or `None` without any times.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.0.iter().sum();
        let rank = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_times_have_no_quantile() {
        assert_eq!(Times::default().quantile(0.5), None);
    }

    #[test]
    fn quantiles_of_known_times() {
        let latency = Latency::default();
        (1..=100).for_each(|ms| latency.note(Duration::from_millis(ms)));
        latency.note(Duration::from_secs(3600));
        let near = |share, expected: f64| {
            let got = latency.times().quantile(share).unwrap();
            assert!((got / expected - 1.0).abs() < 1.0 / 16.0, "{share}: {got}, not {expected}");
        };
        near(0.0, 0.001);
        near(0.5, 0.051);
        near(0.99, 0.1);
        near(1.0, LONGEST as f64 / 1e6);
    }

    #[test]
    fn later_times_are_counted_apart() {
        let latency = Latency::default();
        latency.note(Duration::from_secs(1));
        let before = latency.times();
        latency.note(Duration::from_millis(10));
        let mut since = Times::default();
        since.add(&latency.times().since(&before));
        let median = since.quantile(0.5).unwrap();
        assert!((median - 0.01).abs() < 0.001, "{median}");
    }

    proptest! {
        #[test]
        fn a_bucket_is_off_by_at_most_a_sixteenth(micros in 8..LONGEST) {
            let off = middle(bucket(micros)) * 1e6 / micros as f64;
            prop_assert!((off - 1.0).abs() <= 1.0 / 16.0, "{micros}: {off}");
        }

        #[test]
        fn longer_times_are_in_later_buckets(micros in 0..LONGEST) {
            let next = bucket(micros + 1);
            prop_assert!(next == bucket(micros) || next == bucket(micros) + 1);
            prop_assert!(next < BUCKETS);
        }
    }
}

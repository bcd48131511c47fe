//! The pause before the next check of a backend. Pure.

use std::time::Duration;

/// The fraction of the interval by which a pause may be shorter or longer: enough to desynchronize the checks of many
/// backends, or of many balancers in front of one backend, and too little to matter otherwise.
const JITTER: f64 = 0.1;

/// Returns the pause before the next check, for a random `fraction` from 0 to 1: 0 gives nine tenths of the interval, 1
/// gives eleven.
pub fn next_pause(interval: Duration, fraction: f64) -> Duration {
    let factor = 1.0 + JITTER * (2.0 * fraction.clamp(0.0, 1.0) - 1.0);
    // An interval too long to be multiplied needs no jitter.
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pause_is_within_a_tenth_of_the_interval() {
        let interval = Duration::from_secs(5);
        for (fraction, pause) in
            [(0.0, 4500), (0.25, 4750), (0.5, 5000), (1.0, 5500), (-3.0, 4500), (7.0, 5500)]
        {
            assert_eq!(next_pause(interval, fraction), Duration::from_millis(pause), "{fraction}");
        }
        assert_eq!(next_pause(Duration::ZERO, 0.9), Duration::ZERO);
        assert_eq!(next_pause(Duration::MAX, 0.9), Duration::MAX);
        assert_eq!(next_pause(interval, f64::NAN), interval);
    }

    proptest! {
        #[test]
        fn no_pause_is_off_by_more_than_a_tenth(millis in 1_u64..100_000_000, fraction in 0.0..1.0) {
            let interval = Duration::from_millis(millis);
            let off = next_pause(interval, fraction).abs_diff(interval);
            prop_assert!(off <= interval / 10 + Duration::from_micros(1));
        }
    }
}

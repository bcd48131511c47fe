//! The options of ejection.

use std::time::Duration;

/// The longest ejection, whatever is configured: an `Instant` cannot hold an endless one.
pub(super) const ONE_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The conditions of an ejection, and its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectionOptions {
    /// The number of consecutive failures that eject a backend. Default: 3, because one failure can be chance, and a
    /// second one its retry. 0 turns ejection off.
    pub max_fails: u32,
    /// The time within which `max_fails` failures eject a backend, measured from the first to the last failure without
    /// the time that the later requests waited for the backend. Also the length of the first ejection. Default: 10 s.
    pub fail_timeout: Duration,
    /// The longest ejection. Default: 5 min.
    pub longest: Duration,
}

impl Default for EjectionOptions {
    fn default() -> Self {
        EjectionOptions {
            max_fails: 3,
            fail_timeout: Duration::from_secs(10),
            longest: Duration::from_secs(300),
        }
    }
}

impl EjectionOptions {
    /// Returns the length of the nth consecutive ejection when only time can end it.
    pub(super) fn full_time(&self, consecutive: u32) -> Duration {
        self.doubled(consecutive.saturating_sub(1))
    }

    /// Returns the least length of the nth consecutive ejection when return probes can end it.
    ///
    /// It is zero if the probes test the operation that failed, and for the first two ejections, as a backend may crash
    /// twice. If a backend repeatedly passes probes and then fails requests, its probes do not prove that it works.
    pub(super) fn least_time(&self, only_connects_failed: bool, consecutive: u32) -> Duration {
        if only_connects_failed || consecutive < 3 { Duration::ZERO } else { self.doubled(consecutive - 3) }
    }

    /// Returns `fail_timeout`, doubled this many times, up to `longest`.
    fn doubled(&self, times: u32) -> Duration {
        // 2³¹ times the timeout is beyond any limit that makes sense.
        let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
        self.fail_timeout.saturating_mul(factor).min(self.longest).min(ONE_YEAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_double_up_to_their_limit() {
        let options = EjectionOptions { longest: Duration::from_secs(60), ..EjectionOptions::default() };
        let times = [1, 2, 3, 4, 33, 34, u32::MAX].map(|n| options.full_time(n).as_secs());
        assert_eq!(times, [10, 20, 40, 60, 60, 60, 60]);
        let least = [0, 1, 2, 3, 4, 5, u32::MAX].map(|n| options.least_time(false, n).as_secs());
        assert_eq!(least, [0, 0, 0, 10, 20, 40, 60]);
        assert_eq!(options.least_time(true, 9), Duration::ZERO);
    }
}

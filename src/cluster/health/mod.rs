//! Beside the path: which backends may be chosen, as far as their health goes.
//!
//! Two things are known of a backend, and each has a file that decides purely about it:
//!
//! - [`checks`](crate::backend::checks): what this side asks it, again and again (active). Several failed checks in a row, and it is
//!   down; several good ones, and it is up.
//! - [`ejection`](crate::backend::ejection): what requests meet (passive). Several that fail in a row, and it is taken out at once instead
//!   of at the next check. It comes back when it has shown that what failed works again.
//!
//! [`probe`] asks once, over a connection of its own, and [`prober`] sees to it that it does so in time, which is
//! [`next_pause`] after the check before. What is done with the last usable backend is decided by whoever takes
//! backends out: [`snapshot`](crate::cluster::snapshot).

pub mod probe;
pub mod prober;
pub mod statuses;

use crate::backend::checks::Thresholds;
use crate::backend::ejection;
use statuses::Statuses;
use std::time::Duration;

/// A pause is up to this part of the interval shorter or longer. Enough that the checks of many backends, or of
/// many balancers in front of one, do not stay in step; too little to matter to whoever counts on the interval.
const JITTER: f64 = 0.1;

/// How backends are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthOptions {
    /// Are backends checked at all? They are. What requests meet counts in either case.
    pub on: bool,
    /// What is asked for: a path, with its query. `None` is enough of a check if a connection can be opened.
    pub path: Option<String>,
    /// The statuses that are right for that path. 200-399.
    pub statuses: Statuses,
    /// From one check to the next, give or take a tenth; the first comes after as long. 5 s.
    pub interval: Duration,
    /// For one check, from the connection to the end of the reply's head. 2 s.
    pub timeout: Duration,
    /// How many checks in a row must go well before a backend is up again. 2.
    pub rise: u32,
    /// How many checks in a row must fail before a backend is down. 3.
    pub fall: u32,
    /// When requests that fail take a backend out.
    pub ejection: ejection::EjectionOptions,
}

impl Default for HealthOptions {
    fn default() -> Self {
        let Thresholds { rise, fall } = Thresholds::default();
        HealthOptions {
            on: true,
            path: None,
            statuses: Statuses::default(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise,
            fall,
            ejection: ejection::EjectionOptions::default(),
        }
    }
}

impl HealthOptions {
    /// How many results in a row change a backend's state.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { rise: self.rise, fall: self.fall }
    }
}

/// How long to wait until the next check. `fraction` is drawn by lot, from 0 to 1: 0 gives nine tenths of the
/// interval, 1 gives eleven.
pub fn next_pause(interval: Duration, fraction: f64) -> Duration {
    let factor = 1.0 + JITTER * (2.0 * fraction.clamp(0.0, 1.0) - 1.0);
    // What cannot be multiplied is too long for its tenth to matter.
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pause_is_the_interval_give_or_take_a_tenth() {
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
        fn no_pause_is_more_than_a_tenth_off(millis in 1_u64..100_000_000, fraction in 0.0..1.0) {
            let interval = Duration::from_millis(millis);
            let off = next_pause(interval, fraction).abs_diff(interval);
            prop_assert!(off <= interval / 10 + Duration::from_micros(1));
        }
    }

    #[test]
    fn the_defaults_are_those_that_are_written_down() {
        let options = HealthOptions::default();
        assert!(options.on && options.path.is_none());
        assert_eq!(options.statuses.to_string(), "200-399");
        assert_eq!((options.interval, options.timeout), (Duration::from_secs(5), Duration::from_secs(2)));
        assert_eq!(options.thresholds(), Thresholds { rise: 2, fall: 3 });
        let ejection = &options.ejection;
        let times = [ejection.fail_timeout, ejection.longest].map(|time| time.as_secs());
        assert_eq!((ejection.max_fails, times), (3, [10, 300]));
    }
}

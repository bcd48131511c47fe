//! The options of health checks and ejection.

use super::statuses::Statuses;
use crate::backend::checks::Thresholds;
use crate::backend::ejection::options::EjectionOptions;
use std::time::Duration;

/// The options of health checks and ejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthOptions {
    /// Whether backends are checked. Default: yes. Failed requests count in either case.
    pub on: bool,
    /// The path of a check's GET, with its query. `None`: a check only opens a connection. Default: `None`.
    pub path: Option<String>,
    /// The statuses that count as a success. Default: 200-399.
    pub statuses: Statuses,
    /// The interval between checks, and before the first, give or take a tenth. Default: 5 s.
    pub interval: Duration,
    /// The timeout of one check, from the connection to the end of the reply's head. Default: 2 s.
    pub timeout: Duration,
    /// The consecutive successes until a backend is up. Default: 2.
    pub rise: u32,
    /// The consecutive failures until a backend is down. Default: 3.
    pub fall: u32,
    /// The conditions and the length of ejections.
    pub ejection: EjectionOptions,
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
            ejection: EjectionOptions::default(),
        }
    }
}

impl HealthOptions {
    /// Returns the numbers of consecutive results that change a backend's state.
    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds { rise: self.rise, fall: self.fall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_as_documented() {
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

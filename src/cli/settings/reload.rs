//! The settings that can change while the balancer runs, and those that cannot.

use super::keys::named;
use super::mistakes::{Cause, Mistakes};
use super::reading::Reading;
use super::values::Settings;
use crate::cluster::options::Upstream;

/// Everything about backends. The rest is in sockets and threads that exist already.
const RELOADABLE: [&str; 26] = [
    "backend",
    "strategy",
    "retries",
    "retry_budget",
    "retry_floor",
    "max_in_flight",
    "all_down",
    "slow_start",
    "sticky",
    "sticky_secret_file",
    "resolve_interval",
    "connect_timeout",
    "reply_head_timeout",
    "upstream_timeout",
    "upstream_idle_timeout",
    "health",
    "health_path",
    "health_status",
    "health_interval",
    "health_timeout",
    "rise",
    "fall",
    "max_fails",
    "fail_timeout",
    "longest_ejection",
    "trusted_proxies",
];

impl Settings {
    /// Returns what a balancer that was started with these settings goes by from now on, if this is what has been read
    /// again.
    ///
    /// # Errors
    /// With everything that is wrong, and every setting that cannot change while the balancer runs.
    pub fn reloaded(&self, new: Reading) -> Result<Upstream, Mistakes> {
        let (before, after) = (named(self), named(&new.settings));
        let mut fixed = Mistakes::default();
        for (key, value) in &after {
            let can_change = RELOADABLE.contains(&key.as_str());
            if !can_change && before.get(key) != Some(value) && !new.mistakes.concern(key) {
                let sentence =
                    format!("{key} cannot change while turnwheel is running; put it back, or restart");
                fixed.add(Cause::Value, key, sentence);
            }
        }
        match new.validate(None) {
            Ok(config) if fixed.0.is_empty() => Ok(config.into_inner().upstream),
            Ok(_) => Err(fixed),
            Err(mut mistakes) => {
                mistakes.0.append(&mut fixed.0);
                Err(mistakes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn every_reloadable_key_is_a_setting() {
        let all = named(&Settings::default());
        for name in RELOADABLE {
            assert!(all.contains_key(name), "{name} is none");
        }
    }

    #[test]
    fn only_settings_about_backends_can_change() {
        let of = |text: &str| file::parse("t.toml", text).ok().unwrap();
        let before = of("backend = 'http://127.0.0.1:1'\nworkers = 8").settings;
        let after = of("backend = ['http://127.0.0.1:2', 'http://127.0.0.1:3']\nworkers = 8\nretries = 1");
        let upstream = before.reloaded(after).unwrap();
        assert_eq!((upstream.backends.len(), upstream.forward.retries), (2, 1));
        let after = of("backend = 'https://127.0.0.1:2'\nworkers = 9\nlisten = '127.0.0.1:9'");
        let problems = before.reloaded(after).err().unwrap().texts();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for part in ["workers cannot change", "listen cannot change", "TLS"] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
        }
    }
}

//! What can change while the balancer runs, and what cannot.

use super::{Problems, Settings};
use crate::cluster::options::Upstream;
use serde_json::{Map, Value};

/// All that concerns backends. The rest is in sockets and threads that exist already.
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

fn named(settings: &Settings) -> Map<String, Value> {
    // Strings, numbers and lists of them: there is nothing in it that JSON could not hold.
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

impl Settings {
    /// What a balancer that was started with these settings should go by from now on, if these new ones
    /// are what the file says.
    ///
    /// # Errors
    /// With every reason why not: what is wrong with them, and what cannot change while it runs.
    pub fn reloaded(&self, new: Settings) -> Result<Upstream, Problems> {
        let (before, after) = (named(self), named(&new));
        let fixed = after.iter().filter(|(name, _)| !RELOADABLE.contains(&name.as_str()));
        let changed = fixed.filter(|(name, value)| before.get(*name) != Some(*value));
        let mut problems: Vec<String> = changed
            .map(|(name, _)| {
                format!("{name} cannot change while turnwheel is running; put it back, or restart")
            })
            .collect();
        match new.validate() {
            Ok(config) if problems.is_empty() => return Ok(config.upstream),
            Ok(_) => {}
            Err(Problems(more)) => problems.extend(more),
        }
        Err(Problems(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_setting() {
        let all = named(&Settings::default());
        for name in RELOADABLE {
            assert!(all.contains_key(name), "{name} is none");
        }
    }

    #[test]
    fn what_concerns_backends_can_change_and_nothing_else() {
        let of = |text: &str| toml::from_str::<Settings>(text).unwrap();
        let before = of("backend = 'http://127.0.0.1:1'\nworkers = 8");
        let after = of("backend = ['http://127.0.0.1:2', 'http://127.0.0.1:3']\nworkers = 8\nretries = 1");
        let upstream = before.reloaded(after).unwrap();
        assert_eq!((upstream.backends.len(), upstream.forward.retries), (2, 1));
        let after = of("backend = 'https://127.0.0.1:2'\nworkers = 9\nlisten = '127.0.0.1:9'");
        let problems = before.reloaded(after).err().unwrap().0;
        assert_eq!(problems.len(), 3, "{problems:?}");
        for part in ["workers cannot change", "listen cannot change", "TLS"] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
        }
    }
}

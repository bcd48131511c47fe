//! Checks what concerns backends, and fills in an [`Upstream`].

use super::choices::{AllDown, Health, Strategy};
use super::validate::{Check, SHORTEST_TIMEOUT};
use super::{Settings, backends};
use crate::backend::Member;
use crate::balance::affinity::{self, CookieName};
use crate::balance::rotation::Rotation;
use crate::balance::strategies;
use crate::balance::strategies::client_hash::ClientHash;
use crate::balance::strategies::least_connections::LeastConnections;
use crate::balance::strategies::power_of_two::PowerOfTwo;
use crate::balance::strategies::weighted_round_robin::WeightedRoundRobin;
use crate::cluster::options::Upstream;
use std::sync::Arc;
use std::time::Duration;

/// As many as there may be workers.
const MOST_IN_FLIGHT: usize = 10_000;

/// A backend that has to prove itself for longer than this has been forgotten.
const MOST_CHECKS: u32 = 1000;

impl Strategy {
    fn build(self) -> Arc<dyn strategies::Strategy> {
        match self {
            Strategy::RoundRobin => Arc::new(Rotation::default()),
            Strategy::WeightedRoundRobin => Arc::new(WeightedRoundRobin::default()),
            Strategy::LeastConnections => Arc::new(LeastConnections::default()),
            Strategy::PowerOfTwo => Arc::new(PowerOfTwo),
            Strategy::ClientHash => Arc::new(ClientHash),
        }
    }
}

impl Settings {
    pub(super) fn validate_upstream(&self, check: &mut Check) -> Upstream {
        let mut upstream = Upstream::new(check.backends(&self.backend));
        for (name, value, target) in [
            ("connect_timeout", self.connect_timeout, &mut upstream.forward.connect_timeout),
            ("reply_head_timeout", self.reply_head_timeout, &mut upstream.forward.reply_head_timeout),
            ("upstream_timeout", self.upstream_timeout, &mut upstream.forward.upstream_timeout),
            (
                "upstream_idle_timeout",
                self.upstream_idle_timeout,
                &mut upstream.forward.upstream_idle_timeout,
            ),
            ("resolve_interval", self.resolve_interval, &mut upstream.resolve_interval),
            ("health_interval", self.health_interval, &mut upstream.health.interval),
            ("health_timeout", self.health_timeout, &mut upstream.health.timeout),
            ("fail_timeout", self.fail_timeout, &mut upstream.health.ejection.fail_timeout),
            ("longest_ejection", self.longest_ejection, &mut upstream.health.ejection.longest),
        ] {
            check.wait(name, value, SHORTEST_TIMEOUT, target);
        }
        check.wait("slow_start", self.slow_start, Duration::ZERO, &mut upstream.choice.slow_start);
        upstream.forward.retries = self.retries.unwrap_or(upstream.forward.retries);
        upstream.budget.percent = self.retry_budget.unwrap_or(upstream.budget.percent);
        upstream.budget.floor = self.retry_floor.unwrap_or(upstream.budget.floor);
        upstream.choice.fail_open = self.all_down != Some(AllDown::Refuse);
        if let Some(most) = self.max_in_flight {
            let mut checked = most;
            check.count("max_in_flight", Some(most), 1..=MOST_IN_FLIGHT, &mut checked);
            upstream.choice.max_in_flight = Some(checked);
        }
        self.validate_strategy(check, &mut upstream);
        self.validate_health(check, &mut upstream);
        upstream.sticky = self.validate_sticky(check);
        upstream.trusted_proxies = check.networks(&self.trusted_proxies);
        upstream
    }

    fn validate_strategy(&self, check: &mut Check, upstream: &mut Upstream) {
        upstream.strategy = self.strategy.unwrap_or(Strategy::RoundRobin).build();
        if !upstream.strategy.uses_weights() {
            for (what, is_set) in [
                ("a weight", upstream.backends.iter().any(|member| member.weight != 1)),
                ("slow_start", upstream.choice.slow_start > Duration::ZERO),
            ] {
                if is_set {
                    check.0.push(format!(
                        "{what} is set, but round-robin gives each backend the same; choose \
                         weighted-round-robin, or leave it out"
                    ));
                }
            }
        }
        if !upstream.backends.is_empty() && upstream.backends.iter().all(|member| member.backup) {
            check.0.push("every backend is a backup; at least one must not be".into());
        }
    }

    fn validate_health(&self, check: &mut Check, upstream: &mut Upstream) {
        let health = &mut upstream.health;
        health.on = self.health != Some(Health::Off);
        if !health.on {
            for (name, is_set) in [
                ("health_path", self.health_path.is_some()),
                ("health_status", self.health_status.is_some()),
                ("health_interval", self.health_interval.is_some()),
                ("health_timeout", self.health_timeout.is_some()),
                ("rise", self.rise.is_some()),
                ("fall", self.fall.is_some()),
            ] {
                if is_set {
                    check
                        .0
                        .push(format!("{name} is set, but health is off; leave it out, or turn health on"));
                }
            }
        }
        if let Some(path) = &self.health_path {
            let is_path = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
            if !is_path {
                check.0.push(format!("health_path {path:?} is no path; write it as /health"));
            }
            health.path = Some(path.clone());
        } else if self.health_status.is_some() {
            check.0.push("health_status is set, but nothing is fetched; set health_path as well".into());
        }
        match self.health_status.as_deref().map(str::parse) {
            None => {}
            Some(Ok(statuses)) => health.statuses = statuses,
            Some(Err(error)) => check.0.push(format!("health_status: {error}")),
        }
        check.threshold("rise", self.rise, &mut health.rise);
        check.threshold("fall", self.fall, &mut health.fall);
        health.ejection.max_fails = self.max_fails.unwrap_or(health.ejection.max_fails);
    }

    fn validate_sticky(&self, check: &mut Check) -> Option<affinity::AffinityOptions> {
        let secret =
            self.sticky_secret_file.as_ref().and_then(|path| check.secret("sticky_secret_file", path));
        let Some(name) = &self.sticky else {
            if self.sticky_secret_file.is_some() {
                check.0.push("sticky_secret_file is set, but sticky names no cookie; set it as well".into());
            }
            return None;
        };
        match name.parse::<CookieName>() {
            Ok(cookie) => Some(affinity::AffinityOptions { cookie, secret: secret.map(String::into_bytes) }),
            Err(error) => {
                check.0.push(format!("sticky: {error}"));
                None
            }
        }
    }
}

impl Check {
    fn backends(&mut self, backends: &[backends::Backend]) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for backend in backends {
            match backend.member() {
                Ok(Member { url, .. }) if members.iter().any(|member| member.url == url) => {
                    self.0.push(format!("backend {url} is named twice; name each backend once"));
                }
                Ok(member) => members.push(member),
                Err(problem) => self.0.push(problem),
            }
        }
        if backends.is_empty() {
            self.0.push("no backend is named; name at least one with --backend http://host:port".into());
        }
        members
    }

    fn threshold(&mut self, name: &str, value: Option<u32>, target: &mut u32) {
        match value {
            None => {}
            Some(value) if (1..=MOST_CHECKS).contains(&value) => *target = value,
            Some(value) => self.0.push(format!("{name} is {value}; it must be from 1 to {MOST_CHECKS}")),
        }
    }
}

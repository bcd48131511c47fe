//! Makes an [`Upstream`] from settings. Values whose form is wrong keep their default, and are among the mistakes.

use super::choices::{AllDownAction, HealthSwitch, StrategyName};
use super::config::set;
use super::mistakes::{Cause, Mistakes};
use super::values::Settings;
use crate::backend::member::Member;
use crate::balance::affinity::cookie::CookieName;
use crate::balance::affinity::session::AffinityOptions;
use crate::balance::rotation::Rotation;
use crate::balance::strategies::client_hash::ClientHash;
use crate::balance::strategies::least_connections::LeastConnections;
use crate::balance::strategies::power_of_two::PowerOfTwo;
use crate::balance::strategies::weighted_round_robin::WeightedRoundRobin;
use crate::balance::strategy::Strategy;
use crate::balancer::rules::SHORTEST_SECRET;
use crate::cluster::health::options::HealthOptions;
use crate::cluster::options::Upstream;
use crate::forward::options::ForwardOptions;
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

impl StrategyName {
    fn build(self) -> Arc<dyn Strategy> {
        match self {
            StrategyName::RoundRobin => Arc::new(Rotation::default()),
            StrategyName::WeightedRoundRobin => Arc::new(WeightedRoundRobin::default()),
            StrategyName::LeastConnections => Arc::new(LeastConnections::default()),
            StrategyName::PowerOfTwo => Arc::new(PowerOfTwo),
            StrategyName::ClientHash => Arc::new(ClientHash),
        }
    }
}

impl Settings {
    pub(super) fn to_upstream(&self, mistakes: &mut Mistakes) -> Upstream {
        let mut upstream = Upstream::new(self.members(mistakes));
        set(&mut upstream.strategy, self.strategy.map(StrategyName::build));
        set(&mut upstream.choice.slow_start, self.slow_start);
        upstream.choice.fail_open = self.all_down != Some(AllDownAction::Refuse);
        upstream.choice.max_in_flight = self.max_in_flight;
        upstream.sticky = self.affinity(mistakes);
        self.set_health(&mut upstream.health, mistakes);
        self.set_forward(&mut upstream.forward);
        set(&mut upstream.budget.percent, self.retry_budget);
        set(&mut upstream.budget.floor, self.retry_floor);
        set(&mut upstream.resolve_interval, self.resolve_interval);
        upstream.trusted_proxies = self.networks(mistakes);
        upstream
    }

    fn members(&self, mistakes: &mut Mistakes) -> Vec<Member> {
        let member = |setting: &super::backends::BackendSetting| {
            setting.member().map_err(|sentence| mistakes.add(Cause::Value, "backend", sentence)).ok()
        };
        self.backend.iter().filter_map(member).collect()
    }

    fn set_health(&self, health: &mut HealthOptions, mistakes: &mut Mistakes) {
        health.on = self.health != Some(HealthSwitch::Off);
        health.path.clone_from(&self.health_path);
        match self.health_status.as_deref().map(str::parse) {
            None => {}
            Some(Ok(statuses)) => health.statuses = statuses,
            Some(Err(error)) => {
                mistakes.add(Cause::Value, "health_status", format!("health_status: {error}"));
            }
        }
        set(&mut health.interval, self.health_interval);
        set(&mut health.timeout, self.health_timeout);
        set(&mut health.rise, self.rise);
        set(&mut health.fall, self.fall);
        set(&mut health.ejection.max_fails, self.max_fails);
        set(&mut health.ejection.fail_timeout, self.fail_timeout);
        set(&mut health.ejection.longest, self.longest_ejection);
    }

    fn set_forward(&self, forward: &mut ForwardOptions) {
        set(&mut forward.retries, self.retries);
        set(&mut forward.connect_timeout, self.connect_timeout);
        set(&mut forward.reply_head_timeout, self.reply_head_timeout);
        set(&mut forward.upstream_timeout, self.upstream_timeout);
        set(&mut forward.upstream_idle_timeout, self.upstream_idle_timeout);
    }

    fn affinity(&self, mistakes: &mut Mistakes) -> Option<AffinityOptions> {
        let secret = self.sticky_secret_file.as_ref().and_then(|path| secret(path, mistakes));
        match self.sticky.as_ref()?.parse::<CookieName>() {
            Ok(cookie) => Some(AffinityOptions { cookie, secret }),
            Err(error) => {
                mistakes.add(Cause::Value, "sticky", format!("sticky: {error}"));
                None
            }
        }
    }

    fn networks(&self, mistakes: &mut Mistakes) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in &self.trusted_proxies {
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let sentence =
                        format!("{text:?} is not a network; write an address, or a network as 10.0.0.0/8");
                    mistakes.add(Cause::Value, "trusted_proxies", sentence);
                }
            }
        }
        networks
    }
}

/// Reads the secret behind the cookie's values.
fn secret(path: &Path, mistakes: &mut Mistakes) -> Option<Vec<u8>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() < SHORTEST_SECRET => {
            let sentence = format!(
                "sticky_secret_file: {} holds less than {SHORTEST_SECRET} characters; make one with: openssl rand \
                 -hex 32",
                path.display()
            );
            mistakes.add(Cause::Value, "sticky_secret_file", sentence);
            None
        }
        Ok(text) => Some(text.trim().into()),
        Err(error) => {
            let sentence = format!("sticky_secret_file: cannot read {}: {error}", path.display());
            mistakes.add(Cause::Environment, "sticky_secret_file", sentence);
            None
        }
    }
}

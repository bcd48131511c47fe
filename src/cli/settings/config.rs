//! Makes a [`Config`] from settings. Values whose form is wrong keep their default, and are among the mistakes.

use super::choices::{AccessLogMode, EdgeName};
use super::keys::{is_set, named};
use super::mistakes::{Cause, Mistakes};
use super::values::Settings;
use crate::admin::options::AdminOptions;
use crate::admin::token::AdminToken;
use crate::balancer::config::{Config, LISTEN};
use crate::balancer::rules::{self, Reason, Reasons};
use crate::cli::address;
use crate::edge::kind::EdgeKind;
use crate::edge::options::EdgeOptions;
use crate::observe::access_log::line::AccessLogFormat;
use std::net::SocketAddr;

/// Sets a value, if there is one.
pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

impl Settings {
    /// Makes the configuration. It may still break rules.
    pub fn to_config(&self, mistakes: &mut Mistakes) -> Config {
        let mut config = Config::with(self.to_upstream(mistakes));
        config.listen = self.addresses(mistakes);
        set(&mut config.workers, self.workers);
        set(&mut config.queue.capacity, self.queue);
        set(&mut config.queue.timeout, self.queue_timeout);
        if self.edge == Some(EdgeName::TinyHttp) {
            config.edge_kind = EdgeKind::TinyHttp;
        }
        self.set_client_limits(&mut config.edge);
        set(&mut config.drain_delay, self.drain_delay);
        set(&mut config.grace, self.grace);
        config.admin = self.admin_listener(mistakes);
        config.access_log = match self.access_log {
            None | Some(AccessLogMode::Off) => None,
            Some(AccessLogMode::Text) => Some((AccessLogFormat::Text, Box::new(std::io::stdout()))),
            Some(AccessLogMode::Json) => Some((AccessLogFormat::Json, Box::new(std::io::stdout()))),
        };
        config
    }

    /// Returns a reason for each setting that is set without effect.
    pub(crate) fn without_effect(&self, config: &Config) -> Vec<Reason> {
        let (settings, mut reasons) = (named(self), Reasons::default());
        let is_set = |key: &str| is_set(&settings, key);
        rules::without_effect(config.edge_kind, &config.upstream, &is_set, &mut reasons);
        reasons.0
    }

    fn set_client_limits(&self, edge: &mut EdgeOptions) {
        set(&mut edge.limits.headers, self.max_headers);
        set(&mut edge.limits.head, self.max_head.map(|size| size.0));
        set(&mut edge.limits.uri, self.max_uri.map(|size| size.0));
        set(&mut edge.limits.body, self.max_body.map(|size| size.0));
        set(&mut edge.client_head_timeout, self.client_head_timeout);
        set(&mut edge.client_body_timeout, self.client_body_timeout);
        set(&mut edge.client_write_timeout, self.client_write_timeout);
        set(&mut edge.idle_timeout, self.idle_timeout);
        set(&mut edge.min_body_rate, self.min_body_rate.map(|rate| rate.0));
        set(&mut edge.max_connections, self.max_connections);
        set(&mut edge.max_connections_per_client, self.max_connections_per_client);
        set(&mut edge.max_requests_per_connection, self.max_requests_per_connection);
    }

    fn addresses(&self, mistakes: &mut Mistakes) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for text in &self.listen {
            match address::parse(text) {
                Ok(address) => addresses.push(address),
                Err(advice) => {
                    let sentence = format!("{text:?} is not an address to listen on; {advice}");
                    mistakes.add(Cause::Value, "listen", sentence);
                }
            }
        }
        if self.listen.is_empty() { vec![LISTEN] } else { addresses }
    }

    fn admin_listener(&self, mistakes: &mut Mistakes) -> Option<AdminOptions> {
        let token = self.admin_token_file.as_ref().and_then(|path| {
            AdminToken::from_file(path)
                .map_err(|error| {
                    let sentence = format!("admin_token_file: {error}");
                    mistakes.add(Cause::Environment, "admin_token_file", sentence);
                })
                .ok()
        });
        let text = self.admin.as_deref().filter(|text| *text != "off")?;
        match address::parse(text) {
            Ok(listen) => Some(AdminOptions { listen, token }),
            Err(_) => {
                let sentence = format!("admin is {text:?}; write it as 127.0.0.1:8090, or off");
                mistakes.add(Cause::Value, "admin", sentence);
                None
            }
        }
    }
}

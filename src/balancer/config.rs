//! The configuration that a balancer is built from.
//!
//! An embedding program fills in a [`Config`]; the command line makes one from flags and a file. Either becomes a
//! [`ValidConfig`] through [`Config::validate`], and a balancer takes nothing else.

use super::rules::{self, Reason, Reasons};
use crate::admin::options::AdminOptions;
use crate::backend::address::BackendUrl;
use crate::backend::member::Member;
use crate::cluster::options::{Reread, Upstream};
use crate::edge::kind::EdgeKind;
use crate::edge::options::EdgeOptions;
use crate::observe::access_log::line::AccessLogFormat;
use crate::queue::options::QueueOptions;
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything that can be set for a balancer, not yet checked.
pub struct Config {
    /// The addresses to listen on. With port 0 the kernel chooses a port. Default: [`LISTEN`].
    pub listen: Vec<SocketAddr>,
    /// The number of worker threads. Default: 64.
    pub workers: usize,
    /// The queue in front of the workers.
    pub queue: QueueOptions,
    /// The edge that takes requests in. Default: the parked edge.
    pub edge_kind: EdgeKind,
    /// What clients may do.
    pub edge: EdgeOptions,
    /// Everything about backends.
    pub upstream: Upstream,
    /// Reads `upstream` again when a reload is asked for. What it returns must pass the same rules. Default: none.
    pub reread: Option<Box<Reread>>,
    /// The admin listener. Default: none.
    pub admin: Option<AdminOptions>,
    /// The format of the access log, and where it is written. Default: none.
    pub access_log: Option<(AccessLogFormat, Box<dyn Write + Send>)>,
    /// How long new connections are still accepted after the signal to stop. Default: 0 s.
    pub drain_delay: Duration,
    /// How long requests in flight may take to finish after that. Default: 10 s.
    pub grace: Duration,
}

/// The default address to listen on. It is on loopback.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Config {
    /// Returns the defaults with these backends, each of weight 1.
    pub fn new(backends: Vec<BackendUrl>) -> Self {
        Config::with(Upstream::new(backends.into_iter().map(Member::from).collect()))
    }

    /// Returns the defaults with this upstream.
    pub fn with(upstream: Upstream) -> Self {
        Config {
            listen: vec![LISTEN],
            workers: 64,
            queue: QueueOptions::default(),
            edge_kind: EdgeKind::Parked,
            edge: EdgeOptions::default(),
            upstream,
            reread: None,
            admin: None,
            access_log: None,
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(10),
        }
    }

    /// Checks all values.
    ///
    /// ```
    /// use turnwheel::Config;
    ///
    /// let mut config = Config::new(Vec::new());
    /// config.workers = 0;
    /// let invalid = config.validate().err().unwrap();
    /// assert_eq!(invalid.reasons().count(), 2);
    /// ```
    ///
    /// # Errors
    /// When a rule is broken, with a reason for each of them.
    pub fn validate(mut self) -> Result<ValidConfig, InvalidConfig> {
        let mut reasons = Reasons::default();
        rules::upstream(&self.upstream, &mut reasons);
        rules::listen(&self.listen, &mut reasons);
        rules::work(self.workers, &self.queue, &mut reasons);
        rules::clients(&self.edge, &mut reasons);
        rules::stopping(self.drain_delay, self.grace, &mut reasons);
        if let Some(admin) = &self.admin {
            rules::admin(admin, &mut reasons);
        }
        let is_set = |name: &str| rules::differs_from_default(name, &self.edge, &self.upstream.health);
        rules::without_effect(self.edge_kind, &self.upstream, &is_set, &mut reasons);
        if !reasons.0.is_empty() {
            return Err(InvalidConfig(reasons.0));
        }
        self.reread = self.reread.map(checked);
        Ok(ValidConfig(self))
    }
}

/// Makes sure that what is read again passes the rules, too.
fn checked(reread: Box<Reread>) -> Box<Reread> {
    Box::new(move || {
        let upstream = reread()?;
        let mut reasons = Reasons::default();
        rules::upstream(&upstream, &mut reasons);
        if reasons.0.is_empty() {
            return Ok(upstream);
        }
        Err(reasons.0.into_iter().map(|reason| reason.text).collect())
    })
}

/// A configuration that has passed all rules. [`Config::validate`] is the only way to get one.
pub struct ValidConfig(Config);

impl ValidConfig {
    #[cfg(feature = "cli")]
    pub(crate) fn get(&self) -> &Config {
        &self.0
    }

    pub(crate) fn into_inner(self) -> Config {
        self.0
    }

    /// Lowers the limit on connections, to 1 at least. It never raises it.
    #[cfg(feature = "cli")]
    pub(crate) fn lower_max_connections(&mut self, most: usize) {
        self.0.edge.max_connections = self.0.edge.max_connections.min(most.max(1));
    }
}

/// Every reason why a configuration is not valid. It displays them one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig(Vec<Reason>);

impl InvalidConfig {
    /// Returns the reasons, one sentence each. There is at least one.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|reason| reason.text.as_str())
    }

    #[cfg(feature = "cli")]
    pub(crate) fn into_reasons(self) -> Vec<Reason> {
        self.0
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for InvalidConfig {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::affinity::session::AffinityOptions;
    use crate::balance::strategies::least_connections::LeastConnections;
    use std::sync::Arc;

    fn config() -> Config {
        Config::new(vec!["http://127.0.0.1:1".parse().unwrap()])
    }

    /// Every reason why a configuration with this change is not valid.
    fn reasons(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = config();
        change(&mut config);
        let invalid = config.validate().err();
        invalid.iter().flat_map(InvalidConfig::reasons).map(str::to_owned).collect()
    }

    #[track_caller]
    fn refuses(change: impl FnOnce(&mut Config), sentence: &str) {
        assert_eq!(reasons(change), [sentence]);
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(reasons(|_| {}), [""; 0]);
    }

    #[test]
    fn refuses_values_that_would_hang_or_panic() {
        refuses(|config| config.workers = 0, "workers is 0; it must be at least 1");
        refuses(
            |config| config.workers = usize::MAX,
            &format!("workers is {}; it must be at most 10000", usize::MAX),
        );
        refuses(|config| config.queue.capacity = 0, "queue is 0; it must be at least 1");
        refuses(
            |config| config.listen.clear(),
            "there is no address to listen on; name at least one, 127.0.0.1:8080 for example",
        );
        refuses(
            |config| config.upstream.backends.clear(),
            "no backend is named; name at least one with --backend http://host:port",
        );
        refuses(
            |config| {
                config.upstream.backends[0].weight = 0;
                config.upstream.strategy = Arc::new(LeastConnections::default());
            },
            "the weight of backend http://127.0.0.1:1 is 0; it must be from 1 to 1000",
        );
        refuses(
            |config| config.grace = Duration::MAX,
            &format!("grace is {}; it must be at most 24h", humantime::format_duration(Duration::MAX)),
        );
        refuses(|config| config.edge.max_connections = 0, "max_connections is 0; it must be at least 1");
        refuses(|config| config.edge.limits.head = 0, "max_head is 0; it must be at least 1 byte");
        refuses(|config| config.upstream.health.rise = 0, "rise is 0; it must be from 1 to 1000");
    }

    #[test]
    fn refuses_an_address_or_a_backend_that_is_named_twice() {
        refuses(
            |config| config.listen.push(LISTEN),
            "listen names the address 127.0.0.1:8080 twice; name each address once",
        );
        refuses(
            |config| config.upstream.backends.extend_from_within(..),
            "backend http://127.0.0.1:1 is named twice; name each backend once",
        );
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(
            reasons(|config| config.listen = vec![any, any]),
            [""; 0],
            "port 0 is a new port each time"
        );
    }

    #[test]
    fn refuses_settings_that_do_not_go_together() {
        refuses(
            |config| config.upstream.backends[0].backup = true,
            "every backend is a backup; at least one must not be",
        );
        refuses(
            |config| config.upstream.backends[0].weight = 2,
            "a weight is set, but round-robin gives each backend the same share; choose weighted-round-robin, or leave it out",
        );
        refuses(
            |config| {
                config.edge_kind = EdgeKind::TinyHttp;
                config.edge.max_connections = 5;
            },
            "the tiny-http edge cannot enforce max_connections; leave it out, or choose the parked edge",
        );
        refuses(
            |config| {
                config.upstream.health.on = false;
                config.upstream.health.fall = 5;
            },
            "fall is set, but health is off; leave it out, or turn health on",
        );
        refuses(
            |config| config.admin = Some(AdminOptions { listen: "0.0.0.0:1".parse().unwrap(), token: None }),
            "the admin listener on 0.0.0.0:1 would be open to other machines; set admin_token_file or listen on 127.0.0.1",
        );
        let cookie = "wheel".parse().unwrap();
        refuses(
            |config| config.upstream.sticky = Some(AffinityOptions { cookie, secret: Some(vec![0; 15]) }),
            "sticky_secret_file: the secret holds less than 16 characters; make one with: openssl rand -hex 32",
        );
    }

    #[test]
    fn gives_every_reason_at_once() {
        let mut config = Config::new(Vec::new());
        config.workers = 0;
        config.upstream.forward.connect_timeout = Duration::ZERO;
        let shown = config.validate().err().unwrap().to_string();
        let expected = "no backend is named; name at least one with --backend http://host:port\n\
            connect_timeout is 0s; it must be at least 10ms\n\
            workers is 0; it must be at least 1";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_read_again_must_pass_the_same_rules() {
        let mut config = config();
        config.reread = Some(Box::new(|| Ok(Upstream::new(Vec::new()))));
        let reread = config.validate().unwrap().into_inner().reread.unwrap();
        let reasons = reread().err().unwrap();
        assert_eq!(reasons, ["no backend is named; name at least one with --backend http://host:port"]);
    }
}

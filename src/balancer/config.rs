//! The validated configuration: what the balancer is built from. The command line and the file
//! become one in [`settings`](crate::cli::settings); whoever embeds the library fills it in directly.

use crate::backend::{BackendUrl, Member};
use crate::balance::rotation::Rotation;
use crate::balance::strategies::Strategy;
use crate::balance::{affinity, candidates};
use crate::cluster::health;
use crate::edge::EdgeKind;
use crate::forward::{self, retry_budget};
use crate::observe::access_log::Format;
use crate::{admin, edge, queue};
use ipnet::IpNet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Everything a balancer needs to know.
pub struct Config {
    /// Where it listens. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Worker threads. 64.
    pub workers: usize,
    /// The queue in front of them.
    pub queue: queue::QueueOptions,
    /// Which edge takes requests in. The parked one.
    pub edge_kind: EdgeKind,
    /// What clients may do.
    pub edge: edge::EdgeOptions,
    /// What concerns backends.
    pub upstream: Upstream,
    /// Where another `upstream` comes from when somebody asks for a reload. Nowhere.
    pub reread: Option<Box<Reread>>,
    /// The listener for those who look after the balancer. None.
    pub admin: Option<admin::AdminOptions>,
    /// The access log's format, and where it goes. Off.
    pub access_log: Option<(Format, Box<dyn Write + Send>)>,
    /// How long new connections are still accepted after the signal to stop. 0.
    pub drain_delay: Duration,
    /// How long requests may take to finish after that. 10 s.
    pub grace: Duration,
}

/// Reads the configuration again; or says every reason why it is none.
pub type Reread = dyn Fn() -> Result<Upstream, Vec<String>> + Send + Sync;

/// What concerns backends: all that can change while the balancer runs.
pub struct Upstream {
    /// The backends, each once.
    pub backends: Vec<Member>,
    /// Who chooses among them. Round robin.
    pub strategy: Arc<dyn Strategy>,
    /// Which of them may be chosen.
    pub choice: candidates::SelectionOptions,
    /// Does a client stay with the backend that it had? No.
    pub sticky: Option<affinity::AffinityOptions>,
    /// How backends are watched.
    pub health: health::HealthOptions,
    /// How long they are waited for, and how often another one is tried.
    pub forward: forward::ForwardOptions,
    /// How many retries are allowed in all.
    pub budget: retry_budget::RetryBudgetOptions,
    /// How often the addresses behind a name are looked up again. 30 s.
    pub resolve_interval: Duration,
    /// Proxies whose word on the client's address is believed. None.
    pub trusted_proxies: Vec<IpNet>,
}

/// The address that is listened on by default: loopback only.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Config {
    /// The defaults, for these backends, all of the same weight.
    pub fn new(backends: Vec<BackendUrl>) -> Self {
        Config::with(Upstream::new(backends.into_iter().map(Member::from).collect()))
    }

    /// The defaults, for all that does not concern backends.
    pub fn with(upstream: Upstream) -> Self {
        Config {
            listen: vec![LISTEN],
            workers: 64,
            queue: queue::QueueOptions::default(),
            edge_kind: EdgeKind::Parked,
            edge: edge::EdgeOptions::default(),
            upstream,
            reread: None,
            admin: None,
            access_log: None,
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(10),
        }
    }
}

/// The defaults, and no backend yet.
impl Default for Upstream {
    fn default() -> Self {
        Upstream::new(Vec::new())
    }
}

impl Upstream {
    /// The defaults, for these backends.
    pub fn new(backends: Vec<Member>) -> Self {
        Upstream {
            backends,
            strategy: Arc::new(Rotation::default()),
            choice: candidates::SelectionOptions::default(),
            sticky: None,
            health: health::HealthOptions::default(),
            forward: forward::ForwardOptions::default(),
            budget: retry_budget::RetryBudgetOptions::default(),
            resolve_interval: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

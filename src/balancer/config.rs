//! The validated configuration: what the balancer is built from. The command line and the file
//! become one in [`settings`](crate::cli::settings); whoever embeds the library fills it in directly.

use crate::admin::options::AdminOptions;
use crate::backend::{BackendUrl, Member};
use crate::cluster::options::{Reread, Upstream};
use crate::edge::EdgeKind;
use crate::observe::access_log::Format;
use crate::{edge, queue};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything a balancer needs to know.
pub struct Config {
    /// Where it listens. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Worker threads. 64.
    pub workers: usize,
    /// The queue in front of them.
    pub queue: queue::options::QueueOptions,
    /// Which edge takes requests in. The parked one.
    pub edge_kind: EdgeKind,
    /// What clients may do.
    pub edge: edge::EdgeOptions,
    /// What concerns backends.
    pub upstream: Upstream,
    /// Where another `upstream` comes from when somebody asks for a reload. Nowhere.
    pub reread: Option<Box<Reread>>,
    /// The listener for those who look after the balancer. None.
    pub admin: Option<AdminOptions>,
    /// The access log's format, and where it goes. Off.
    pub access_log: Option<(Format, Box<dyn Write + Send>)>,
    /// How long new connections are still accepted after the signal to stop. 0.
    pub drain_delay: Duration,
    /// How long requests may take to finish after that. 10 s.
    pub grace: Duration,
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
            queue: queue::options::QueueOptions::default(),
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

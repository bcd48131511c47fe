//! The validated configuration: what the balancer is built from. The command line and the file
//! become one in [`settings`](crate::settings); whoever embeds the library fills it in directly.

use crate::access_log::Format;
use crate::backend::BackendUrl;
use crate::edge::lifecycle::Kind;
use crate::rotation::Rotation;
use crate::strategy::Strategy;
use crate::{edge, forward, queue};
use ipnet::IpNet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything a balancer needs to know.
pub struct Config {
    /// Where it listens. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// The backends, each once.
    pub backends: Vec<BackendUrl>,
    /// Who chooses among them. Round robin.
    pub strategy: Box<dyn Strategy>,
    /// Worker threads. 64.
    pub workers: usize,
    /// The queue in front of them.
    pub queue: queue::Options,
    /// Which edge takes requests in. The parked one.
    pub edge_kind: Kind,
    /// What clients may do.
    pub edge: edge::Options,
    /// How long backends are waited for.
    pub forward: forward::Options,
    /// Proxies whose word on the client's address is believed. None.
    pub trusted_proxies: Vec<IpNet>,
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
    /// The defaults, for these backends.
    pub fn new(backends: Vec<BackendUrl>) -> Self {
        Config {
            listen: vec![LISTEN],
            backends,
            strategy: Box::new(Rotation::default()),
            workers: 64,
            queue: queue::Options::default(),
            edge_kind: Kind::Parked,
            edge: edge::Options::default(),
            forward: forward::Options::default(),
            trusted_proxies: Vec::new(),
            access_log: None,
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(10),
        }
    }
}

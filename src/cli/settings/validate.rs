//! Checks raw values, and fills in a [`Config`]. Everything that is wrong is said at once.

use super::choices::{AccessLog, Edge};
use super::{Problems, Settings};
use crate::admin::options::AdminOptions;
use crate::admin::token::AdminToken;
use crate::balancer::config::{Config, LISTEN};
use crate::edge::EdgeKind;
use crate::edge::request_head::MOST_HEADERS;
use crate::observe::access_log;
use bytesize::ByteSize;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Each is a thread with a stack of its own: beyond this somebody has mistyped.
const MOST_WORKERS: usize = 10_000;

/// Each has a descriptor, and a place from the start.
const MOST_CONNECTIONS: usize = 1_000_000;

/// Each holds a request's head in memory.
const MOST_QUEUED: usize = 1_000_000;

/// Each connection to a backend has a buffer that holds one.
const LARGEST_HEAD: ByteSize = ByteSize::mib(1);

/// Nobody waits for longer, and clocks that count from now do not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Below this a timeout ends what is only on its way.
pub(super) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// Less can be guessed.
const SHORTEST_SECRET: usize = 16;

impl Settings {
    /// Checks all values together.
    ///
    /// # Errors
    /// With every reason why not.
    pub fn validate(self) -> Result<Config, Problems> {
        let mut check = Check(Vec::new());
        let mut config = Config::with(self.validate_upstream(&mut check));
        config.listen = check.listen(&self.listen);
        check.count("workers", self.workers, 1..=MOST_WORKERS, &mut config.workers);
        check.count("queue", self.queue, 1..=MOST_QUEUED, &mut config.queue.capacity);
        check.count("max_headers", self.max_headers, 1..=MOST_HEADERS, &mut config.edge.limits.headers);
        check.size("max_head", self.max_head, LARGEST_HEAD, &mut config.edge.limits.head);
        check.size("max_uri", self.max_uri, LARGEST_HEAD, &mut config.edge.limits.uri);
        check.size("max_body", self.max_body, ByteSize(u64::MAX), &mut config.edge.limits.body);
        for (name, value, target) in [
            ("queue_timeout", self.queue_timeout, &mut config.queue.timeout),
            ("client_head_timeout", self.client_head_timeout, &mut config.edge.client_head_timeout),
            ("client_body_timeout", self.client_body_timeout, &mut config.edge.client_body_timeout),
            ("client_write_timeout", self.client_write_timeout, &mut config.edge.client_write_timeout),
            ("idle_timeout", self.idle_timeout, &mut config.edge.idle_timeout),
        ] {
            check.wait(name, value, SHORTEST_TIMEOUT, target);
        }
        self.validate_edge(&mut check, &mut config);
        check.wait("drain_delay", self.drain_delay, Duration::ZERO, &mut config.drain_delay);
        check.wait("grace", self.grace, Duration::ZERO, &mut config.grace);
        config.admin = self.validate_admin(&mut check);
        config.access_log = match self.access_log {
            None | Some(AccessLog::Off) => None,
            Some(AccessLog::Text) => Some((access_log::Format::Text, Box::new(std::io::stdout()))),
            Some(AccessLog::Json) => Some((access_log::Format::Json, Box::new(std::io::stdout()))),
        };
        if check.0.is_empty() { Ok(config) } else { Err(Problems(check.0)) }
    }

    /// Checks what one edge keeps to and the other does not.
    fn validate_edge(&self, check: &mut Check, config: &mut Config) {
        if self.edge == Some(Edge::TinyHttp) {
            config.edge_kind = EdgeKind::TinyHttp;
            for (name, is_set) in [
                ("client_head_timeout", self.client_head_timeout.is_some()),
                ("min_body_rate", self.min_body_rate.is_some()),
                ("max_connections", self.max_connections.is_some()),
                ("max_connections_per_client", self.max_connections_per_client.is_some()),
                ("max_requests_per_connection", self.max_requests_per_connection.is_some()),
            ] {
                if is_set {
                    check.0.push(format!(
                        "{name} cannot be kept by the tiny-http edge; leave it out, or choose the parked edge"
                    ));
                }
            }
        }
        let edge = &mut config.edge;
        check.count("max_connections", self.max_connections, 1..=MOST_CONNECTIONS, &mut edge.max_connections);
        edge.min_body_rate = self.min_body_rate.map_or(edge.min_body_rate, |rate| rate.0);
        edge.max_connections_per_client =
            self.max_connections_per_client.unwrap_or(edge.max_connections_per_client);
        edge.max_requests_per_connection =
            self.max_requests_per_connection.unwrap_or(edge.max_requests_per_connection);
    }

    fn validate_admin(&self, check: &mut Check) -> Option<AdminOptions> {
        let token = self.admin_token_file.as_ref().and_then(|path| {
            AdminToken::from_file(path)
                .map_err(|error| check.0.push(format!("admin_token_file: {error}")))
                .ok()
        });
        let listen = match self.admin.as_deref() {
            None | Some("off") => return None,
            Some(text) => match text.parse() {
                Ok(listen) => listen,
                Err(_) => {
                    check.0.push(format!("admin is {text:?}; write it as 127.0.0.1:8090, or off"));
                    return None;
                }
            },
        };
        let options = AdminOptions { listen, token };
        // Where the file is there but of no use, that has been said.
        if self.admin_token_file.is_none()
            && let Err(error) = options.check()
        {
            check.0.push(error.to_string());
        }
        Some(options)
    }
}

/// Collects what is wrong.
pub(super) struct Check(pub(super) Vec<String>);

impl Check {
    fn listen(&mut self, texts: &[String]) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(address) if addresses.contains(&address) && address.port() != 0 => {
                    self.0.push(format!("address {address} is listened on twice; name it once"));
                }
                Ok(address) => addresses.push(address),
                Err(_) => self.0.push(format!(
                    "{text:?} is no address to listen on; write it as 127.0.0.1:8080 or [::1]:8080"
                )),
            }
        }
        if texts.is_empty() { vec![LISTEN] } else { addresses }
    }

    pub(super) fn count(
        &mut self,
        name: &str,
        value: Option<usize>,
        allowed: std::ops::RangeInclusive<usize>,
        target: &mut usize,
    ) {
        match value {
            None => {}
            Some(value) if allowed.contains(&value) => *target = value,
            Some(value) if value < *allowed.start() => {
                self.0.push(format!("{name} is {value}; it must be at least {}", allowed.start()));
            }
            Some(value) => self.0.push(format!("{name} is {value}; it must be at most {}", allowed.end())),
        }
    }

    fn size(&mut self, name: &str, value: Option<ByteSize>, most: ByteSize, target: &mut u64) {
        match value {
            None => {}
            Some(ByteSize(0)) => self.0.push(format!("{name} is 0; it must be at least 1 byte")),
            Some(value) if value > most => {
                self.0.push(format!("{name} is {value}; it must be at most {most}"));
            }
            Some(ByteSize(bytes)) => *target = bytes,
        }
    }

    pub(super) fn wait(
        &mut self,
        name: &str,
        value: Option<Duration>,
        least: Duration,
        target: &mut Duration,
    ) {
        let written = humantime::format_duration;
        match value {
            None => {}
            Some(value) if value < least => {
                self.0.push(format!("{name} is {}; it must be at least {}", written(value), written(least)));
            }
            Some(value) if value > LONGEST_WAIT => {
                self.0.push(format!("{name} is {}; it must be at most 24h", written(value)));
            }
            Some(value) => *target = value,
        }
    }

    /// What a file holds that nobody else should read.
    pub(super) fn secret(&mut self, name: &str, path: &Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().len() >= SHORTEST_SECRET => Some(text.trim().to_owned()),
            Ok(_) => {
                self.0.push(format!(
                    "{name}: {} holds less than {SHORTEST_SECRET} characters; make one with: openssl rand -hex 32",
                    path.display()
                ));
                None
            }
            Err(error) => {
                self.0.push(format!("{name}: cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    pub(super) fn networks(&mut self, texts: &[String]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in texts {
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => self
                    .0
                    .push(format!("{text:?} is no network; write an address, or a network as 10.0.0.0/8")),
            }
        }
        networks
    }
}

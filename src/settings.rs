//! Raw values, from flags and from the file, and how they become a [`Config`].
//!
//! One struct serves both, so that a flag and its key always have the same name: `--queue-timeout 5s`
//! and `queue_timeout = "5s"`. A flag overrides the file.

use crate::access_log;
use crate::backend::BackendUrl;
use crate::config::{Config, LISTEN};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Which edge takes requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// A thread for each connection: the one to read first.
    TinyHttp,
}

/// How access log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// None
    Off,
    /// The combined format, then backend, tries and times
    Text,
    /// One JSON object a line
    Json,
}

/// One value or several: `listen = "127.0.0.1:80"` or `listen = ["127.0.0.1:80", "[::1]:80"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    OneOrMany::deserialize(deserializer).map(|values| match values {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// Everything that can be set, where it has been set.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on; repeatable, port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", help_heading = "Traffic")]
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<String>,

    /// Backend as http://host:port; repeatable
    #[arg(skip)]
    #[serde(deserialize_with = "one_or_many")]
    pub backend: Vec<String>,

    /// How requests are taken in [default: tiny-http]
    #[arg(long, help_heading = "Traffic")]
    pub edge: Option<Edge>,

    /// Worker threads [default: 64]
    #[arg(long, value_name = "N", help_heading = "Traffic")]
    pub workers: Option<usize>,

    /// Requests that may wait for a worker; a further one gets 503 [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Traffic")]
    pub queue: Option<usize>,

    /// How long a request may wait for a worker before it gets 503 [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Traffic")]
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Option<Duration>,

    /// Further backends that are tried when one fails [default: 2]
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub retries: Option<u32>,

    /// Time for one connection attempt to a backend [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Option<Duration>,

    /// Time for a backend to send the whole head of its reply [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub reply_head_timeout: Option<Duration>,

    /// Time for a backend's next bytes, or for it to take ours [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub upstream_timeout: Option<Duration>,

    /// How long an unused connection to a backend is kept [default: 4s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub upstream_idle_timeout: Option<Duration>,

    /// Time for the next bytes of a client's request body [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    #[serde(with = "humantime_serde")]
    pub client_body_timeout: Option<Duration>,

    /// Time for a client to take the next bytes of its reply [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    #[serde(with = "humantime_serde")]
    pub client_write_timeout: Option<Duration>,

    /// How long a connection may wait for its next request [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Option<Duration>,

    /// Largest request head; larger ones get 431, or 414 [default: 16KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    pub max_head: Option<ByteSize>,

    /// Most header lines; more get 431 [default: 100]
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_headers: Option<usize>,

    /// Largest request body; larger ones get 413 [default: 1GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    pub max_body: Option<ByteSize>,

    /// Networks of proxies whose X-Forwarded-For is believed and added to; repeatable [default: none]
    #[arg(long, value_name = "NET", help_heading = "Clients")]
    #[serde(deserialize_with = "one_or_many")]
    pub trusted_proxies: Vec<String>,

    /// Log each request on standard output [default: off]
    #[arg(long, value_name = "FORMAT", help_heading = "Running")]
    pub access_log: Option<AccessLog>,

    /// How long new connections are still accepted after the signal to stop [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Running")]
    #[serde(with = "humantime_serde")]
    pub drain_delay: Option<Duration>,

    /// How long requests under way may take to finish after that [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Running")]
    #[serde(with = "humantime_serde")]
    pub grace: Option<Duration>,
}

/// Everything that is wrong with a configuration, a sentence each.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no TOML, or has a key or a value that is not known; with the line.
    pub fn from_file(path: &Path) -> Result<Self, Problems> {
        let problem = |text| Problems(vec![text]);
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(format!("cannot read {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| problem(located(path, &text, &error)))
    }

    /// These values where they are set, and the others' elsewhere.
    pub fn or(self, other: Settings) -> Settings {
        fn list<T>(ours: Vec<T>, theirs: Vec<T>) -> Vec<T> {
            if ours.is_empty() { theirs } else { ours }
        }
        Settings {
            listen: list(self.listen, other.listen),
            backend: list(self.backend, other.backend),
            edge: self.edge.or(other.edge),
            workers: self.workers.or(other.workers),
            queue: self.queue.or(other.queue),
            queue_timeout: self.queue_timeout.or(other.queue_timeout),
            retries: self.retries.or(other.retries),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            reply_head_timeout: self.reply_head_timeout.or(other.reply_head_timeout),
            upstream_timeout: self.upstream_timeout.or(other.upstream_timeout),
            upstream_idle_timeout: self.upstream_idle_timeout.or(other.upstream_idle_timeout),
            client_body_timeout: self.client_body_timeout.or(other.client_body_timeout),
            client_write_timeout: self.client_write_timeout.or(other.client_write_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            max_head: self.max_head.or(other.max_head),
            max_headers: self.max_headers.or(other.max_headers),
            max_body: self.max_body.or(other.max_body),
            trusted_proxies: list(self.trusted_proxies, other.trusted_proxies),
            access_log: self.access_log.or(other.access_log),
            drain_delay: self.drain_delay.or(other.drain_delay),
            grace: self.grace.or(other.grace),
        }
    }

    /// Checks all values together.
    ///
    /// # Errors
    /// With every reason why not.
    pub fn validate(self) -> Result<Config, Problems> {
        let mut check = Check(Vec::new());
        let mut config = Config::new(check.backends(&self.backend));
        config.listen = check.listen(&self.listen);
        check.count("workers", self.workers, 1..=MOST_WORKERS, &mut config.workers);
        check.count("queue", self.queue, 1..=MOST_QUEUED, &mut config.queue.capacity);
        check.count("max_headers", self.max_headers, 1..=MOST_HEADERS, &mut config.edge.limits.headers);
        check.size("max_head", self.max_head, LARGEST_HEAD, &mut config.edge.limits.head);
        check.size("max_body", self.max_body, ByteSize(u64::MAX), &mut config.edge.limits.body);
        for (name, value, target) in [
            ("queue_timeout", self.queue_timeout, &mut config.queue.timeout),
            ("connect_timeout", self.connect_timeout, &mut config.forward.connect_timeout),
            ("reply_head_timeout", self.reply_head_timeout, &mut config.forward.reply_head_timeout),
            ("upstream_timeout", self.upstream_timeout, &mut config.forward.upstream_timeout),
            ("upstream_idle_timeout", self.upstream_idle_timeout, &mut config.forward.upstream_idle_timeout),
            ("client_body_timeout", self.client_body_timeout, &mut config.edge.client_body_timeout),
            ("client_write_timeout", self.client_write_timeout, &mut config.edge.client_write_timeout),
            ("idle_timeout", self.idle_timeout, &mut config.edge.idle_timeout),
        ] {
            check.timeout(name, value, target);
        }
        config.forward.retries = self.retries.unwrap_or(config.forward.retries);
        check.wait("drain_delay", self.drain_delay, Duration::ZERO, &mut config.drain_delay);
        check.wait("grace", self.grace, Duration::ZERO, &mut config.grace);
        config.trusted_proxies = check.networks(&self.trusted_proxies);
        config.access_log = match self.access_log {
            None | Some(AccessLog::Off) => None,
            Some(AccessLog::Text) => Some((access_log::Format::Text, Box::new(std::io::stdout()))),
            Some(AccessLog::Json) => Some((access_log::Format::Json, Box::new(std::io::stdout()))),
        };
        if check.0.is_empty() { Ok(config) } else { Err(Problems(check.0)) }
    }
}

/// Each is a thread with a stack of its own: beyond this somebody has mistyped.
const MOST_WORKERS: usize = 10_000;

/// Each holds a request's head in memory.
const MOST_QUEUED: usize = 1_000_000;

/// The `http` crate's map takes no more than 32,768.
const MOST_HEADERS: usize = 10_000;

/// Each connection to a backend has a buffer that holds one.
const LARGEST_HEAD: ByteSize = ByteSize::mib(1);

/// Nobody waits for longer, and clocks that count from now do not overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Below this a timeout ends what is only on its way.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// "file:line: what is wrong", without toml's drawing of the place.
fn located(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line =
                text.as_bytes()[..span.start.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1;
            format!("{}, line {line}: {message}", path.display())
        }
        None => format!("{}: {message}", path.display()),
    }
}

/// Collects what is wrong.
struct Check(Vec<String>);

impl Check {
    fn backends(&mut self, texts: &[String]) -> Vec<BackendUrl> {
        let mut urls: Vec<BackendUrl> = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(url) if urls.contains(&url) => {
                    self.0.push(format!("backend {url} is named twice; name each backend once"));
                }
                Ok(url) => urls.push(url),
                Err(error) => self.0.push(error.to_string()),
            }
        }
        if texts.is_empty() {
            self.0.push("no backend is named; name at least one with --backend http://host:port".into());
        }
        urls
    }

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

    fn count(
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

    fn timeout(&mut self, name: &str, value: Option<Duration>, target: &mut Duration) {
        self.wait(name, value, SHORTEST_TIMEOUT, target);
    }

    fn wait(&mut self, name: &str, value: Option<Duration>, least: Duration, target: &mut Duration) {
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

    fn networks(&mut self, texts: &[String]) -> Vec<IpNet> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Config, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        Settings::from_file(&path)?.validate()
    }

    fn problems(text: &str) -> String {
        file(text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_file_sets_what_it_names_and_nothing_else() {
        let config = file(
            "backend = ['http://a:1', 'http://b:2']\nworkers = 3\nqueue_timeout = '250ms'\nmax_body = '2KiB'",
        )
        .unwrap();
        assert_eq!(config.backends.len(), 2);
        assert_eq!(config.workers, 3);
        assert_eq!(config.queue.timeout, Duration::from_millis(250));
        assert_eq!(config.edge.limits.body, 2048);
        assert_eq!(config.queue.capacity, 1024);
        assert_eq!(config.listen, [LISTEN]);
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let flags = Settings { workers: Some(5), ..Settings::default() };
        let file = Settings { workers: Some(6), retries: Some(7), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!((both.workers, both.retries), (Some(5), Some(7)));
    }

    #[test]
    fn every_reason_is_given_at_once() {
        let all = problems(
            "backend = ['http://a:1', 'http://a:1', 'https://b:2']\nworkers = 0\nlisten = 'here'\nconnect_timeout = '0s'",
        );
        for part in ["named twice", "TLS", "workers is 0", "\"here\"", "connect_timeout is 0s"] {
            assert!(all.contains(part), "{part} is missing in: {all}");
        }
        assert_eq!(all.lines().count(), 5);
    }

    #[test]
    fn what_would_overflow_or_exhaust_is_refused() {
        for (setting, part) in [
            ("grace = '18446744073709551615s'", "at most 24h"),
            ("idle_timeout = '1ms'", "at least 10ms"),
            ("max_head = '1TiB'", "at most 1.0 MiB"),
            ("max_headers = 100000", "at most 10000"),
            ("trusted_proxies = '10.0.0.0/99'", "is no network"),
        ] {
            let all = problems(&format!("backend = 'http://a:1'\n{setting}"));
            assert!(all.contains(part), "{setting}: {all}");
        }
        let config =
            file("backend = 'http://a:1'\ntrusted_proxies = ['::1', '10.0.0.0/8']\ngrace = '0s'").unwrap();
        assert_eq!(config.trusted_proxies.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, part) in [
            ("backend = 'http://a:1'\nworker = 3", "line 2: unknown field `worker`"),
            ("backend = 'http://a:1'\n\nworkers = 'many'", "line 3: invalid type"),
            ("grace = '5 bananas'", "line 1:"),
            ("= 3", "line 1:"),
        ] {
            assert!(problems(text).contains(part), "{text}: {}", problems(text));
        }
        assert!(problems("").contains("no backend is named"));
    }
}

//! Raw values, from flags and from the file, and how they become a [`Config`](crate::balancer::config::Config).
//!
//! One struct serves both, so that a flag and its key always have the same name: `--queue-timeout 5s`
//! and `queue_timeout = "5s"`. A flag overrides the file.

pub mod backends;
pub mod choices;
mod reload;
mod upstream;
mod validate;

use bytesize::ByteSize;
use choices::{AccessLog, AllDown, Edge, Health, Strategy};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// To the byte: its own way of writing a size rounds it, and two that differ would look the same.
fn bytes<S: serde::Serializer>(size: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
    size.map(|size| size.0).serialize(serializer)
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// Everything that can be set, where it has been set.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on; repeatable, port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", help_heading = "Traffic")]
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<String>,

    /// Backends; `serve` alone has a flag for them
    #[arg(skip)]
    #[serde(deserialize_with = "backends::one_or_many")]
    pub backend: Vec<backends::Backend>,

    /// How requests are taken in [default: parked; demo: tiny-http]
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

    /// Who chooses the backend that a request is tried on first [default: round-robin]
    #[arg(long, value_name = "NAME", help_heading = "Backends")]
    pub strategy: Option<Strategy>,

    /// Further backends that are tried when one fails [default: 2]
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub retries: Option<u32>,

    /// Requests that one backend may be serving at a time [default: three quarters of the workers; all if it is the only one]
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub max_in_flight: Option<usize>,

    /// Retries that are allowed, in percent of the requests of the last ten seconds [default: 20]
    #[arg(long, value_name = "PERCENT", help_heading = "Backends")]
    pub retry_budget: Option<u32>,

    /// Retries a second that are allowed however few requests there are [default: 10]
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub retry_floor: Option<u32>,

    /// What happens when no backend is usable [default: try]
    #[arg(long, value_name = "WHAT", help_heading = "Backends")]
    pub all_down: Option<AllDown>,

    /// Time in which a backend that has returned gets its full share again [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub slow_start: Option<Duration>,

    /// Cookie that keeps a client with the backend that it had [default: none]
    #[arg(long, value_name = "COOKIE", help_heading = "Backends")]
    pub sticky: Option<String>,

    /// File with the secret behind that cookie's values, for several balancers to share [default: one made at the start]
    #[arg(long, value_name = "FILE", help_heading = "Backends")]
    pub sticky_secret_file: Option<PathBuf>,

    /// How often the addresses behind a name are looked up again [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Backends")]
    #[serde(with = "humantime_serde")]
    pub resolve_interval: Option<Duration>,

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

    /// Ask backends how they are [default: on]
    #[arg(long, value_name = "SWITCH", help_heading = "Health")]
    pub health: Option<Health>,

    /// Path that is fetched; without one, a connection is proof enough [default: none]
    #[arg(long, value_name = "PATH", help_heading = "Health")]
    pub health_path: Option<String>,

    /// Statuses that are good, as 200-399 or 200,204 [default: 200-399]
    #[arg(long, value_name = "STATUSES", help_heading = "Health")]
    pub health_status: Option<String>,

    /// Time between two checks of a backend, give or take a tenth [default: 5s; demo: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Health")]
    #[serde(with = "humantime_serde")]
    pub health_interval: Option<Duration>,

    /// Time for one check [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Health")]
    #[serde(with = "humantime_serde")]
    pub health_timeout: Option<Duration>,

    /// Good checks in a row that bring a backend back [default: 2]
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub rise: Option<u32>,

    /// Bad checks in a row that take it out [default: 3]
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub fall: Option<u32>,

    /// Requests that fail in a row and take a backend out; 0: none do [default: 3]
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub max_fails: Option<u32>,

    /// Time within which they count, and for which it is out at first [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Health")]
    #[serde(with = "humantime_serde")]
    pub fail_timeout: Option<Duration>,

    /// Longest time for which it is out without another try [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Health")]
    #[serde(with = "humantime_serde")]
    pub longest_ejection: Option<Duration>,

    /// Time for a client's whole request head, from its first byte [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    #[serde(with = "humantime_serde")]
    pub client_head_timeout: Option<Duration>,

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

    /// Bytes a second that a client must send or take once it has been waited for; 0B: any [default: 240B]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    #[serde(serialize_with = "bytes")]
    pub min_body_rate: Option<ByteSize>,

    /// Connections at a time; a further one gets 503 [default: 10000]
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_connections: Option<usize>,

    /// Connections from one address at a time; 0: any number [default: 0]
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_connections_per_client: Option<usize>,

    /// Requests on one connection; 0: any number [default: 0]
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_requests_per_connection: Option<u64>,

    /// Largest request head; a larger one gets 431 [default: 16KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    #[serde(serialize_with = "bytes")]
    pub max_head: Option<ByteSize>,

    /// Longest request target; a longer one gets 414 [default: as --max-head]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    #[serde(serialize_with = "bytes")]
    pub max_uri: Option<ByteSize>,

    /// Most header lines; more get 431 [default: 100]
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_headers: Option<usize>,

    /// Largest request body; larger ones get 413 [default: 1GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Clients")]
    #[serde(serialize_with = "bytes")]
    pub max_body: Option<ByteSize>,

    /// Networks of proxies whose X-Forwarded-For is believed and added to; repeatable [default: none]
    #[arg(long, value_name = "NET", help_heading = "Clients")]
    #[serde(deserialize_with = "one_or_many")]
    pub trusted_proxies: Vec<String>,

    /// Address of the admin listener, or off [default: off; demo: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR", help_heading = "RunningEdge")]
    pub admin: Option<String>,

    /// File with the token that the admin listener asks for; needed beyond loopback [default: none]
    #[arg(long, value_name = "FILE", help_heading = "RunningEdge")]
    pub admin_token_file: Option<PathBuf>,

    /// Log each request on standard output [default: off]
    #[arg(long, value_name = "FORMAT", help_heading = "RunningEdge")]
    pub access_log: Option<AccessLog>,

    /// How long new connections are still accepted after the signal to stop [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "RunningEdge")]
    #[serde(with = "humantime_serde")]
    pub drain_delay: Option<Duration>,

    /// How long requests under way may take to finish after that [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "RunningEdge")]
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
        macro_rules! or {
            (lists: $($list:ident)*; values: $($value:ident)*) => {
                Settings {
                    $($list: if self.$list.is_empty() { other.$list } else { self.$list },)*
                    $($value: self.$value.or(other.$value),)*
                }
            };
        }
        or! {
            lists: listen backend trusted_proxies;
            values: edge workers queue queue_timeout
                strategy retries retry_budget retry_floor max_in_flight all_down slow_start sticky
                sticky_secret_file resolve_interval
                connect_timeout reply_head_timeout upstream_timeout upstream_idle_timeout
                health health_path health_status health_interval health_timeout rise fall
                max_fails fail_timeout longest_ejection
                client_head_timeout client_body_timeout client_write_timeout idle_timeout min_body_rate
                max_connections max_connections_per_client max_requests_per_connection
                max_head max_uri max_headers max_body
                admin admin_token_file access_log drain_delay grace
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::config::{Config, LISTEN};

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
        assert_eq!(config.upstream.backends.len(), 2);
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
        assert_eq!(config.upstream.trusted_proxies.len(), 2);
    }

    #[test]
    fn what_tiny_http_cannot_keep_is_refused_with_it() {
        for setting in [
            "client_head_timeout = '5s'",
            "min_body_rate = '1KiB'",
            "max_connections = 100",
            "max_connections_per_client = 10",
            "max_requests_per_connection = 1000",
        ] {
            let of = |edge| problems(&format!("backend = 'http://a:1'\nedge = '{edge}'\n{setting}"));
            let all = of("tiny-http");
            assert!(all.contains("cannot be kept by the tiny-http edge"), "{setting}: {all}");
            assert_eq!(of("parked"), "", "{setting}");
        }
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

    const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/turnwheel.toml"));

    #[test]
    fn the_example_is_valid_as_it_is() {
        let config = file(EXAMPLE).unwrap();
        let parts: Vec<_> = config.upstream.backends.iter().map(|one| (one.weight, one.backup)).collect();
        assert_eq!(parts, [(1, false), (3, false), (1, true)]);
    }

    #[test]
    fn the_example_names_every_setting_with_a_value_that_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
        let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let all_set: Vec<String> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
            .map(|line| match line.split_once("_file = ") {
                Some((name, _)) => format!("{name}_file = '{}'", secret.display()),
                None => line.to_owned(),
            })
            .collect();
        let settings: Settings = toml::from_str(&all_set.join("\n")).unwrap();
        let named = serde_json::to_value(&settings).unwrap();
        for (name, value) in named.as_object().unwrap() {
            assert!(!value.is_null() && *value != serde_json::json!([]), "{name} is not in the example");
        }
        assert_eq!(settings.validate().err().map(|problems| problems.to_string()), None);
    }
}

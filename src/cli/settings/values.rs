//! Every setting, as a flag and as a key.

use super::backends::BackendSetting;
use super::choices::{AccessLogMode, AllDownAction, EdgeName, HealthSwitch, StrategyName};
use super::formats;
use bytesize::ByteSize;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Every setting, or `None` (for lists: an empty one) where it has not been set.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on; repeatable. A port alone, 9000 or :9000, is on 127.0.0.1; with port 0 the system chooses one
    #[arg(long, value_name = "ADDR", help_heading = "Traffic")]
    #[serde(deserialize_with = "formats::one_address")]
    pub listen: Vec<String>,

    /// The backends. The reader of the file fills them in, and `serve` alone has a flag for them
    #[arg(skip)]
    #[serde(skip_deserializing)]
    pub backend: Vec<BackendSetting>,

    /// How connections are handled
    #[arg(long, help_heading = "Traffic")]
    pub edge: Option<EdgeName>,

    /// Number of worker threads
    #[arg(long, value_name = "N", help_heading = "Traffic")]
    pub workers: Option<usize>,

    /// Number of requests that may wait for a worker; further ones get 503
    #[arg(long, value_name = "N", help_heading = "Traffic")]
    pub queue: Option<usize>,

    /// Longest time that a request waits, for a worker and for a backend below its limit, before it gets 503
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Traffic")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub queue_timeout: Option<Duration>,

    /// How the first backend for a request is chosen
    #[arg(long, value_name = "NAME", help_heading = "Backends")]
    pub strategy: Option<StrategyName>,

    /// Number of further backends to try when one fails
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub retries: Option<u32>,

    /// Number of requests that one backend serves at a time
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub max_in_flight: Option<usize>,

    /// Retries allowed, in percent of the requests of the last 10 seconds
    #[arg(long, value_name = "PERCENT", help_heading = "Backends")]
    pub retry_budget: Option<u32>,

    /// Retries allowed per second, however few requests there are
    #[arg(long, value_name = "N", help_heading = "Backends")]
    pub retry_floor: Option<u32>,

    /// What happens to a request when no backend is usable
    #[arg(long, value_name = "WHAT", help_heading = "Backends")]
    pub all_down: Option<AllDownAction>,

    /// Time in which a backend that has returned gets back to its full share
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub slow_start: Option<Duration>,

    /// Name of a cookie that keeps a client with its backend
    #[arg(long, value_name = "COOKIE", help_heading = "Backends")]
    pub sticky: Option<String>,

    /// File with the secret that signs the cookie, at least 16 characters; several balancers can share it
    #[arg(long, value_name = "FILE", help_heading = "Backends")]
    pub sticky_secret_file: Option<PathBuf>,

    /// Time between two lookups of a backend's name
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub resolve_interval: Option<Duration>,

    /// Longest time for one attempt to connect to a backend
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub connect_timeout: Option<Duration>,

    /// Longest time for a backend to send the whole head of its reply
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub reply_head_timeout: Option<Duration>,

    /// Longest pause while a backend sends its reply or takes a request body
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub upstream_timeout: Option<Duration>,

    /// Time for which an unused connection to a backend is kept
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Backends")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub upstream_idle_timeout: Option<Duration>,

    /// Whether backends are checked at intervals
    #[arg(long, value_name = "SWITCH", help_heading = "Health")]
    pub health: Option<HealthSwitch>,

    /// Path that a check fetches; without one, a check is a connection that opens
    #[arg(long, value_name = "PATH", help_heading = "Health")]
    pub health_path: Option<String>,

    /// Statuses that pass a check, as 200-399 or 200,204
    #[arg(long, value_name = "STATUSES", help_heading = "Health")]
    pub health_status: Option<String>,

    /// Time between two checks of a backend, give or take a tenth
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Health")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub health_interval: Option<Duration>,

    /// Longest time for one check
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Health")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub health_timeout: Option<Duration>,

    /// Number of successful checks in a row that bring a backend back
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub rise: Option<u32>,

    /// Number of failed checks in a row that take a backend out
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub fall: Option<u32>,

    /// Number of failed requests in a row that eject a backend; 0 turns this off
    #[arg(long, value_name = "N", help_heading = "Health")]
    pub max_fails: Option<u32>,

    /// Time within which --max-fails requests must fail to take a backend out; without health checks, also the length
    /// of the first ejection
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Health")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub fail_timeout: Option<Duration>,

    /// Upper limit of the time that an ejected backend must wait, which doubles with each ejection in a row. With
    /// health checks on it must also pass checks
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Health")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub longest_ejection: Option<Duration>,

    /// Longest time for a client to send a whole request head, from its first byte (parked edge only)
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub client_head_timeout: Option<Duration>,

    /// Longest pause while a client sends a request body
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub client_body_timeout: Option<Duration>,

    /// Longest pause while a client takes its reply
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub client_write_timeout: Option<Duration>,

    /// Longest time that a connection waits for its next request
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub idle_timeout: Option<Duration>,

    /// Bytes per second that a slow client must send or take; 0B turns this off (parked edge only)
    #[arg(long, value_name = "SIZE", value_parser = formats::size, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_size", serialize_with = "formats::bytes")]
    pub min_body_rate: Option<ByteSize>,

    /// Number of connections at a time; further ones get 503 (parked edge only)
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_connections: Option<usize>,

    /// Number of connections at a time from one address; 0 is no limit (parked edge only)
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_connections_per_client: Option<usize>,

    /// Number of requests on one connection; 0 is no limit (parked edge only)
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_requests_per_connection: Option<u64>,

    /// Largest request head; a larger one gets 431
    #[arg(long, value_name = "SIZE", value_parser = formats::size, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_size", serialize_with = "formats::bytes")]
    pub max_head: Option<ByteSize>,

    /// Longest request target; a longer one gets 414
    #[arg(long, value_name = "SIZE", value_parser = formats::size, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_size", serialize_with = "formats::bytes")]
    pub max_uri: Option<ByteSize>,

    /// Largest number of header lines; more get 431
    #[arg(long, value_name = "N", help_heading = "Clients")]
    pub max_headers: Option<usize>,

    /// Largest request body; a larger one gets 413
    #[arg(long, value_name = "SIZE", value_parser = formats::size, help_heading = "Clients")]
    #[serde(deserialize_with = "formats::optional_size", serialize_with = "formats::bytes")]
    pub max_body: Option<ByteSize>,

    /// Proxies whose X-Forwarded-*, Forwarded and X-Real-IP headers are kept, as addresses or networks; repeatable
    #[arg(long, value_name = "NET", help_heading = "Clients")]
    #[serde(deserialize_with = "formats::one_text")]
    pub trusted_proxies: Vec<String>,

    /// Address of the admin listener, or off. A port alone is on 127.0.0.1
    #[arg(long, value_name = "ADDR", help_heading = "Running")]
    #[serde(deserialize_with = "formats::optional_address")]
    pub admin: Option<String>,

    /// File with the token that the admin listener requires, 16 or more visible ASCII characters; needed on any address
    /// but loopback
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    pub admin_token_file: Option<PathBuf>,

    /// Format of the access log on standard output
    #[arg(long, value_name = "FORMAT", help_heading = "Running")]
    pub access_log: Option<AccessLogMode>,

    /// Time for which new connections are still accepted after the signal to stop
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Running")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub drain_delay: Option<Duration>,

    /// Longest time for requests in flight to finish, counted from the end of --drain-delay
    #[arg(long, value_name = "TIME", value_parser = formats::time, help_heading = "Running")]
    #[serde(deserialize_with = "formats::optional_time")]
    pub grace: Option<Duration>,
}

impl Settings {
    /// Returns these values where they are set, and the other ones elsewhere.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_overrides_the_file() {
        let flags = Settings { workers: Some(5), ..Settings::default() };
        let file = Settings { workers: Some(6), retries: Some(7), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!((both.workers, both.retries), (Some(5), Some(7)));
    }
}

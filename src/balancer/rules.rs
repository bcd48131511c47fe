//! The rules that a configuration must pass. Each function adds a reason for every rule that is broken.
//!
//! The command line, the file, a reload and an embedding program all pass through these rules, so all of them are
//! refused in the same words.

use crate::admin::options::AdminOptions;
use crate::backend::member::Member;
use crate::cluster::health::options::HealthOptions;
use crate::cluster::options::Upstream;
use crate::edge::kind::EdgeKind;
use crate::edge::options::{EdgeOptions, Limits, MOST_HEADERS};
use crate::queue::options::QueueOptions;
use bytesize::ByteSize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Each worker is a thread with its own stack: a larger number is a typing error.
const MOST_WORKERS: usize = 10_000;

/// Each connection has a descriptor, and a slot that is allocated at the start.
const MOST_CONNECTIONS: usize = 1_000_000;

/// Each queued request holds its head in memory.
const MOST_QUEUED: usize = 1_000_000;

/// Each connection to a backend has a buffer that holds one head.
const LARGEST_HEAD: ByteSize = ByteSize::mib(1);

/// The longest time that can be set. A deadline this far ahead does not overflow a clock.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest timeout. A shorter one ends what is only on its way.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// The highest limit on requests in flight: there are at most this many workers.
const MOST_IN_FLIGHT: usize = MOST_WORKERS;

/// The most checks in a row that may be asked for.
const MOST_CHECKS: u32 = 1000;

/// The fewest bytes of a secret. A shorter one can be guessed.
pub(crate) const SHORTEST_SECRET: usize = 16;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The setting to change, by its name in the file.
    pub about: &'static str,
    /// Settings without which the rule means nothing: where one of them could not be understood, this is no reason.
    pub needs: &'static [&'static str],
    /// The sentence for the user.
    pub text: String,
}

/// The broken rules, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Reasons(pub Vec<Reason>);

impl Reasons {
    fn add(&mut self, about: &'static str, text: String) {
        self.add_beside(about, &[], text);
    }

    fn add_beside(&mut self, about: &'static str, needs: &'static [&'static str], text: impl Into<String>) {
        self.0.push(Reason { about, needs, text: text.into() });
    }

    fn count(&mut self, name: &'static str, value: usize, allowed: RangeInclusive<usize>) {
        if value < *allowed.start() {
            self.add(name, format!("{name} is {value}; it must be at least {}", allowed.start()));
        } else if value > *allowed.end() {
            self.add(name, format!("{name} is {value}; it must be at most {}", allowed.end()));
        }
    }

    fn size(&mut self, name: &'static str, bytes: u64, most: ByteSize) {
        let size = ByteSize(bytes);
        if bytes == 0 {
            self.add(name, format!("{name} is 0; it must be at least 1 byte"));
        } else if size > most {
            self.add(name, format!("{name} is {size}; it must be at most {most}"));
        }
    }

    fn time(&mut self, name: &'static str, time: Duration, least: Duration) {
        let written = humantime::format_duration;
        if time < least {
            self.add(name, format!("{name} is {}; it must be at least {}", written(time), written(least)));
        } else if time > LONGEST_TIME {
            self.add(name, format!("{name} is {}; it must be at most 24h", written(time)));
        }
    }

    fn timeout(&mut self, name: &'static str, time: Duration) {
        self.time(name, time, SHORTEST_TIMEOUT);
    }

    fn threshold(&mut self, name: &'static str, value: u32) {
        if !(1..=MOST_CHECKS).contains(&value) {
            self.add(name, format!("{name} is {value}; it must be from 1 to {MOST_CHECKS}"));
        }
    }
}

/// Checks the addresses of the balancer: at least one, and each once.
pub(crate) fn listen(addresses: &[SocketAddr], reasons: &mut Reasons) {
    if addresses.is_empty() {
        let text = "there is no address to listen on; name at least one, 127.0.0.1:8080 for example";
        reasons.add_beside("listen", &["listen"], text);
    }
    for (at, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..at].contains(address) {
            let text = format!("listen names the address {address} twice; name each address once");
            reasons.add("listen", text);
        }
    }
}

/// Checks the number of workers, and the queue in front of them.
pub(crate) fn work(workers: usize, queue: &QueueOptions, reasons: &mut Reasons) {
    reasons.count("workers", workers, 1..=MOST_WORKERS);
    reasons.count("queue", queue.capacity, 1..=MOST_QUEUED);
    reasons.timeout("queue_timeout", queue.timeout);
}

/// Checks what clients may do.
pub(crate) fn clients(edge: &EdgeOptions, reasons: &mut Reasons) {
    let Limits { head, uri, headers, body } = edge.limits;
    reasons.count("max_headers", headers, 1..=MOST_HEADERS);
    reasons.size("max_head", head, LARGEST_HEAD);
    if uri != Limits::default().uri {
        reasons.size("max_uri", uri, LARGEST_HEAD);
    }
    reasons.size("max_body", body, ByteSize(u64::MAX));
    reasons.timeout("client_head_timeout", edge.client_head_timeout);
    reasons.timeout("client_body_timeout", edge.client_body_timeout);
    reasons.timeout("client_write_timeout", edge.client_write_timeout);
    reasons.timeout("idle_timeout", edge.idle_timeout);
    reasons.count("max_connections", edge.max_connections, 1..=MOST_CONNECTIONS);
}

/// Checks how the balancer stops.
pub(crate) fn stopping(drain_delay: Duration, grace: Duration, reasons: &mut Reasons) {
    reasons.time("drain_delay", drain_delay, Duration::ZERO);
    reasons.time("grace", grace, Duration::ZERO);
}

/// Checks the admin listener: beyond loopback it needs a token.
pub(crate) fn admin(options: &AdminOptions, reasons: &mut Reasons) {
    if let Err(error) = options.check() {
        reasons.add_beside("admin", &["admin_token_file"], error.to_string());
    }
}

/// Checks everything about backends, which is what a reload can change.
pub(crate) fn upstream(upstream: &Upstream, reasons: &mut Reasons) {
    backends(&upstream.backends, reasons);
    let forward = &upstream.forward;
    reasons.timeout("connect_timeout", forward.connect_timeout);
    reasons.timeout("reply_head_timeout", forward.reply_head_timeout);
    reasons.timeout("upstream_timeout", forward.upstream_timeout);
    reasons.timeout("upstream_idle_timeout", forward.upstream_idle_timeout);
    reasons.timeout("resolve_interval", upstream.resolve_interval);
    health(&upstream.health, reasons);
    reasons.time("slow_start", upstream.choice.slow_start, Duration::ZERO);
    if let Some(most) = upstream.choice.max_in_flight {
        reasons.count("max_in_flight", most, 1..=MOST_IN_FLIGHT);
    }
    weights(upstream, reasons);
    let secret = upstream.sticky.as_ref().and_then(|sticky| sticky.secret.as_ref());
    if secret.is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
        let text = format!(
            "sticky_secret_file: the secret holds less than {SHORTEST_SECRET} characters; make one with: openssl \
             rand -hex 32"
        );
        reasons.add("sticky_secret_file", text);
    }
}

fn backends(members: &[Member], reasons: &mut Reasons) {
    if members.is_empty() {
        let text = "no backend is named; name at least one with --backend http://host:port";
        reasons.add_beside("backend", &["backend"], text);
    }
    for (at, member) in members.iter().enumerate() {
        let url = &member.url;
        if members[..at].iter().any(|earlier| earlier.url == *url) {
            reasons.add("backend", format!("backend {url} is named twice; name each backend once"));
        }
        if let Err(error) = Member::new(url.clone(), member.weight, member.backup) {
            reasons.add("backend", error.to_string());
        }
    }
    if !members.is_empty() && members.iter().all(|member| member.backup) {
        reasons.add_beside("backend", &["backend"], "every backend is a backup; at least one must not be");
    }
}

fn health(health: &HealthOptions, reasons: &mut Reasons) {
    reasons.timeout("health_interval", health.interval);
    reasons.timeout("health_timeout", health.timeout);
    reasons.timeout("fail_timeout", health.ejection.fail_timeout);
    reasons.timeout("longest_ejection", health.ejection.longest);
    if let Some(path) = &health.path
        && !(path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok())
    {
        reasons.add("health_path", format!("health_path {path:?} is not a path; write it as /health"));
    }
    reasons.threshold("rise", health.rise);
    reasons.threshold("fall", health.fall);
}

/// Checks that nothing needs weights where the strategy ignores them.
fn weights(upstream: &Upstream, reasons: &mut Reasons) {
    if upstream.strategy.uses_weights() {
        return;
    }
    let has_weights = upstream.backends.iter().any(|member| member.weight != 1);
    let starts_slowly = upstream.choice.slow_start > Duration::ZERO;
    for (key, what, is_set) in
        [("backend", "a weight", has_weights), ("slow_start", "slow_start", starts_slowly)]
    {
        if is_set {
            let text = format!(
                "{what} is set, but {} gives each backend the same share; choose weighted-round-robin, or leave it out",
                upstream.strategy.name()
            );
            reasons.add_beside(key, &["strategy"], text);
        }
    }
}

/// Settings that the tiny-http edge cannot keep.
const NOT_WITH_TINY_HTTP: [&str; 5] = [
    "client_head_timeout",
    "min_body_rate",
    "max_connections",
    "max_connections_per_client",
    "max_requests_per_connection",
];

/// Settings that mean nothing without health checks.
const ONLY_WITH_HEALTH: [&str; 6] =
    ["health_path", "health_status", "health_interval", "health_timeout", "rise", "fall"];

/// Checks for settings that have no effect beside the others: setting one of them is a mistake.
///
/// `is_set` tells whether a setting was set. The command line knows which flags and keys there are; a configuration knows
/// only which values differ from their defaults.
pub(crate) fn without_effect(
    edge: EdgeKind,
    upstream: &Upstream,
    is_set: &dyn Fn(&str) -> bool,
    reasons: &mut Reasons,
) {
    if edge == EdgeKind::TinyHttp {
        for name in NOT_WITH_TINY_HTTP.into_iter().filter(|name| is_set(name)) {
            let text =
                format!("the tiny-http edge cannot enforce {name}; leave it out, or choose the parked edge");
            reasons.add(name, text);
        }
    }
    if !upstream.health.on {
        for name in ONLY_WITH_HEALTH.into_iter().filter(|name| is_set(name)) {
            let text = format!("{name} is set, but health is off; leave it out, or turn health on");
            reasons.add(name, text);
        }
    }
    if upstream.health.path.is_none() && is_set("health_status") {
        let text =
            "health_status is set, but a check fetches nothing without health_path; set health_path as well";
        reasons.add_beside("health_status", &["health_path"], text);
    }
    if upstream.sticky.is_none() && is_set("sticky_secret_file") {
        let text =
            "sticky_secret_file is set, but sticky names no cookie; set sticky as well, or leave it out";
        reasons.add_beside("sticky_secret_file", &["sticky"], text);
    }
}

/// Returns whether a value differs from its default, for [`without_effect`].
pub(crate) fn differs_from_default(name: &str, edge: &EdgeOptions, health: &HealthOptions) -> bool {
    let (usual, checks) = (EdgeOptions::default(), HealthOptions::default());
    match name {
        "client_head_timeout" => edge.client_head_timeout != usual.client_head_timeout,
        "min_body_rate" => edge.min_body_rate != usual.min_body_rate,
        "max_connections" => edge.max_connections != usual.max_connections,
        "max_connections_per_client" => edge.max_connections_per_client != usual.max_connections_per_client,
        "max_requests_per_connection" => {
            edge.max_requests_per_connection != usual.max_requests_per_connection
        }
        "health_path" => health.path != checks.path,
        "health_status" => health.statuses != checks.statuses,
        "health_interval" => health.interval != checks.interval,
        "health_timeout" => health.timeout != checks.timeout,
        "rise" => health.rise != checks.rise,
        "fall" => health.fall != checks.fall,
        _ => false,
    }
}

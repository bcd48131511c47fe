//! The defaults that the help shows.
//!
//! `demo` and `serve` share their settings and not all of their defaults, so the help of each is completed here, from the
//! values that the balancer goes by.

use crate::admin::options::LISTEN as ADMIN;
use crate::balancer::config::{Config, LISTEN};
use crate::cli::demo;
use crate::edge::kind::EdgeKind;
use bytesize::ByteSize;
use clap::{Arg, ValueEnum};
use std::time::Duration;

/// An option's name in the code, and its default.
type Default = (&'static str, String);

/// Adds to each option of `demo` and `serve` the default that it has there.
pub fn shown(command: clap::Command) -> clap::Command {
    let demo_edge = demo::EDGE.to_possible_value().map(|value| value.get_name().to_owned());
    let ports = demo::PORTS.map(|port| port.to_string()).join(" and ");
    let of_demo = [
        vec![
            ("backend_ports", ports),
            ("delay", time(Duration::ZERO)),
            ("edge", demo_edge.unwrap_or_default()),
            ("health_interval", time(demo::HEALTH_INTERVAL)),
            ("admin", ADMIN.to_string()),
        ],
        common(),
    ];
    let config = Config::new(Vec::new());
    let of_serve = [
        vec![
            ("edge", EdgeKind::name(config.edge_kind).to_owned()),
            ("health_interval", time(config.upstream.health.interval)),
            ("admin", "off".to_owned()),
        ],
        common(),
    ];
    command
        .mut_subcommand("demo", |command| with(command, of_demo.concat()))
        .mut_subcommand("serve", |command| with(command, of_serve.concat()))
}

fn with(command: clap::Command, defaults: Vec<Default>) -> clap::Command {
    command.mut_args(|arg| {
        let default = defaults.iter().find(|(option, _)| arg.get_id() == option);
        match default {
            Some((_, default)) => with_default(arg, default),
            None => arg,
        }
    })
}

fn with_default(arg: Arg, default: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [default: {default}]")).hide_default_value(true)
}

/// The defaults that both commands have.
fn common() -> Vec<Default> {
    [of_traffic(), of_backends(), of_health(), of_clients(), of_the_end()].concat()
}

fn of_traffic() -> Vec<Default> {
    let config = Config::new(Vec::new());
    vec![
        ("listen", LISTEN.to_string()),
        ("workers", config.workers.to_string()),
        ("queue", config.queue.capacity.to_string()),
        ("queue_timeout", time(config.queue.timeout)),
    ]
}

fn of_backends() -> Vec<Default> {
    let upstream = Config::new(Vec::new()).upstream;
    let forward = upstream.forward;
    vec![
        ("strategy", upstream.strategy.name().to_owned()),
        ("retries", forward.retries.to_string()),
        ("max_in_flight", "three quarters of the workers; all of them for a single backend".to_owned()),
        ("retry_budget", upstream.budget.percent.to_string()),
        ("retry_floor", upstream.budget.floor.to_string()),
        ("all_down", if upstream.choice.fail_open { "try" } else { "refuse" }.to_owned()),
        ("slow_start", time(upstream.choice.slow_start)),
        ("sticky", "none".to_owned()),
        ("sticky_secret_file", "a secret made at the start".to_owned()),
        ("resolve_interval", time(upstream.resolve_interval)),
        ("connect_timeout", time(forward.connect_timeout)),
        ("reply_head_timeout", time(forward.reply_head_timeout)),
        ("upstream_timeout", time(forward.upstream_timeout)),
        ("upstream_idle_timeout", time(forward.upstream_idle_timeout)),
    ]
}

fn of_health() -> Vec<Default> {
    let health = Config::new(Vec::new()).upstream.health;
    vec![
        ("health", if health.on { "on" } else { "off" }.to_owned()),
        ("health_path", "none".to_owned()),
        ("health_status", health.statuses.to_string()),
        ("health_timeout", time(health.timeout)),
        ("rise", health.rise.to_string()),
        ("fall", health.fall.to_string()),
        ("max_fails", health.ejection.max_fails.to_string()),
        ("fail_timeout", time(health.ejection.fail_timeout)),
        ("longest_ejection", time(health.ejection.longest)),
    ]
}

fn of_clients() -> Vec<Default> {
    let edge = Config::new(Vec::new()).edge;
    vec![
        ("client_head_timeout", time(edge.client_head_timeout)),
        ("client_body_timeout", time(edge.client_body_timeout)),
        ("client_write_timeout", time(edge.client_write_timeout)),
        ("idle_timeout", time(edge.idle_timeout)),
        ("min_body_rate", size(edge.min_body_rate)),
        ("max_connections", edge.max_connections.to_string()),
        ("max_connections_per_client", edge.max_connections_per_client.to_string()),
        ("max_requests_per_connection", edge.max_requests_per_connection.to_string()),
        ("max_head", size(edge.limits.head)),
        ("max_uri", "as --max-head".to_owned()),
        ("max_headers", edge.limits.headers.to_string()),
        ("max_body", size(edge.limits.body)),
        ("trusted_proxies", "none".to_owned()),
    ]
}

fn of_the_end() -> Vec<Default> {
    let config = Config::new(Vec::new());
    vec![
        ("admin_token_file", "none".to_owned()),
        ("access_log", "off".to_owned()),
        ("drain_delay", time(config.drain_delay)),
        ("grace", time(config.grace)),
    ]
}

/// Writes a time as the user would: `60s` and not `1m`, but `5m`.
fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 && time.subsec_nanos() == 0 => format!("{seconds}s"),
        _ => humantime::format_duration(time).to_string(),
    }
}

/// Writes a size as the user would: in the largest unit that it is a multiple of.
fn size(bytes: u64) -> String {
    let units = [("GiB", ByteSize::gib(1).0), ("MiB", ByteSize::mib(1).0), ("KiB", ByteSize::kib(1).0)];
    let unit = units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

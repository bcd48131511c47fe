//! Log lines on standard error.

use std::io::IsTerminal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Writes one line for each event to standard error. `RUST_LOG` chooses the events; without it, or where it cannot be
/// understood, all from `info` up are written.
pub fn to_standard_error() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let filter: Targets = wanted
        .parse()
        .ok()
        .filter(|_| !wanted.is_empty())
        .unwrap_or_else(|| "info".parse().unwrap_or_default());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    // tiny_http's threads panic when a client disconnects early; each panic is one log line.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a thread panicked: {}", panic.to_string().replace('\n', " "));
    }));
}

//! An async balancer on tokio and hyper, for comparison with turnwheel.
//!
//! The selection of a backend, the rewriting of headers, refusals and retries are turnwheel's own code, used as a
//! library. Only the I/O layer differs.

mod backend_connection;
mod cli;
mod proxy;
mod reply_body;
mod request_body;
mod server;
mod socket;
mod upstream;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Command, Runtime, Serve};
use proxy::Proxy;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tokio::runtime::{self, Builder};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use turnwheel::config::{EdgeOptions, ForwardOptions};
use turnwheel::internals::names::{self, System};

/// Exit code by which shells report SIGINT.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let Command::Serve(settings) = Cli::parse().command;
    log_to_stderr();
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnwheel-async: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Serve) -> Result<()> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!("cannot raise the limit on file descriptors: {error}");
    }
    let runtime = runtime(&settings).context("cannot start the runtime")?;
    runtime.block_on(serve(settings))
}

fn runtime(settings: &Serve) -> std::io::Result<runtime::Runtime> {
    let mut builder = match settings.runtime {
        Runtime::MultiThread => Builder::new_multi_thread(),
        Runtime::CurrentThread => Builder::new_current_thread(),
    };
    if let Some(threads) = settings.threads {
        builder.worker_threads(threads.into());
    }
    builder.enable_all().build()
}

async fn serve(settings: Serve) -> Result<()> {
    let edge = EdgeOptions::default();
    let forward = ForwardOptions {
        connect_timeout: settings.connect_timeout,
        reply_head_timeout: settings.reply_head_timeout,
        retries: settings.retries,
        ..ForwardOptions::default()
    };
    let backends = settings.backends.iter().map(|url| names::resolve(url, &System));
    let backends = backends.collect::<Result<Vec<_>, _>>()?.concat();
    let stop = stop_signal()?;
    let mut listeners = Vec::new();
    for address in settings.listen {
        let listener = socket::listen(address, edge.client_write_timeout)
            .with_context(|| format!("cannot listen on {address}"))?;
        print_line(format_args!("Load balancer is listening on {}", listener.local_addr()?));
        listeners.push(listener);
    }
    server::serve(listeners, Proxy::new(backends, forward, edge), edge.idle_timeout, stop).await;
    Ok(())
}

/// Prints a line to standard output. A closed pipe is ignored, because it must not stop the server.
fn print_line(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Returns a future that completes with the first SIGINT or SIGTERM. A second signal exits the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot install the signal handler")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot install the signal handler")?;
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            std::process::exit(INTERRUPTED);
        });
    })
}

/// Logs one line per event to standard error, filtered by `RUST_LOG` (default `info`).
fn log_to_stderr() {
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
}

//! turnwheel's decisions on tokio and hyper: the async balancer that turnwheel is measured against.
//!
//! Whose turn it is, what is passed on, what is refused and what is tried again: all that is turnwheel's
//! own code, used as a library. Only the I/O layer differs.

mod cli;
mod link;
mod proxy;
mod reply;
mod server;
mod socket;
mod upload;
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
use turnwheel::cluster::names::{self, System};
use turnwheel::{edge, forward};

/// What a shell calls "ended by SIGINT".
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
    let edge = edge::EdgeOptions::default();
    let forward = forward::ForwardOptions {
        connect_timeout: settings.connect_timeout,
        reply_head_timeout: settings.reply_head_timeout,
        retries: settings.retries,
        ..forward::ForwardOptions::default()
    };
    let backends = settings.backends.iter().map(|url| names::resolve(url, &System));
    let backends = backends.collect::<Result<Vec<_>, _>>()?.concat();
    let stop = stop_signal()?;
    let mut listeners = Vec::new();
    for address in settings.listen {
        let listener = socket::listen(address, edge.client_write_timeout)
            .with_context(|| format!("cannot listen on {address}"))?;
        say(format_args!("Load balancer is listening on {}", listener.local_addr()?));
        listeners.push(listener);
    }
    server::serve(listeners, Proxy::new(backends, forward, edge), edge.idle_timeout, stop).await;
    Ok(())
}

/// A line on standard output. If nobody reads it (a closed pipe), the work goes on.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Ready with the first SIGINT or SIGTERM. A second one leaves at once.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
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

/// One line for each event on standard error; `RUST_LOG` chooses which (`info` otherwise).
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

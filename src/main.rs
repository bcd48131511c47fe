//! Arguments, then the configuration, then binding, then running, then the exit code.

use anyhow::{Context, Result};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use turnwheel::admin::{self, AdminToken};
use turnwheel::backend::BackendUrl;
use turnwheel::balancer::Balancer;
use turnwheel::balancer::config::{self, Config};
use turnwheel::cli::settings::choices::{Edge, Health};
use turnwheel::cli::settings::{Problems, Settings};
use turnwheel::cli::{Cli, Command};
use turnwheel::cluster::options::Reread;
use turnwheel::demo::{Demo, DemoBackend};
use turnwheel::edge::EdgeKind;
use turnwheel::error::StartError;
use turnwheel::sys::shutdown::{self, Stop};

/// A second Ctrl-C leaves at once, with what a shell calls "ended by SIGINT".
const INTERRUPTED: i32 = 130;

/// Descriptors besides those of clients and of connections to backends: listeners, the poller, standard
/// streams, and clients that are told that there are too many.
const OTHER_DESCRIPTORS: usize = 100;

/// How often the demo's backends are checked: who has stopped one and started it again does not want to wait.
const DEMO_CHECKS: Duration = Duration::from_secs(1);

/// The demo backends' ports, as in the post that this began from.
const DEMO_PORTS: [u16; 2] = [8081, 8082];

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads it may be gone: a terminal that was closed, say.
            let _ = writeln!(std::io::stderr(), "turnwheel: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Check { config } => check(&config),
        Command::Reload { admin, admin_token_file } => reload(admin, admin_token_file.as_deref()),
        #[cfg(feature = "top")]
        Command::Top { admin, admin_token_file, interval, once } => {
            top(admin, admin_token_file.as_deref(), interval, once)
        }
        Command::Backend { listen, name, delay } => backend(listen, name.as_deref(), delay),
        Command::Serve { backends, config, settings } => serve(&backends, config, settings),
        Command::Demo { backend_ports, delay, settings } => demo(&backend_ports, delay, settings),
    }
}

fn check(path: &Path) -> Result<()> {
    Settings::from_file(path)?.validate()?;
    say(format_args!("{} is valid", path.display()));
    Ok(())
}

fn reload(admin: SocketAddr, token_file: Option<&Path>) -> Result<()> {
    let token = token_file.map(AdminToken::from_file).transpose()?;
    say(format_args!("reloaded: {}", turnwheel::cli::reload::ask(admin, token)?));
    Ok(())
}

#[cfg(feature = "top")]
fn top(admin: SocketAddr, token_file: Option<&Path>, interval: Duration, once: bool) -> Result<()> {
    use turnwheel::cli::top;
    if !once && !std::io::stdout().is_terminal() {
        anyhow::bail!("standard output is no terminal; --once prints what is to be seen now");
    }
    let mut poller = top::Poller::new(admin, token_file.map(AdminToken::from_file).transpose()?);
    if once {
        say(format_args!("{}", top::print(&mut poller)?));
        return Ok(());
    }
    let snapshot = poller.poll()?;
    let stop = stop_on_signals()?;
    // This puts a hook before the one that logs, so that a panic is logged to a terminal that is a usual one again.
    let outcome = ratatui::try_init()
        .and_then(|mut terminal| top::watch(&mut terminal, poller, snapshot, interval, &stop));
    let restored = ratatui::try_restore();
    outcome.and(restored).context("the view cannot go on")
}

fn backend(listen: SocketAddr, name: Option<&str>, delay: Duration) -> Result<()> {
    let backend = DemoBackend::bind(listen, name, delay)?;
    let address = backend.local_addr();
    let stop = stop_on_signals()?;
    let running = backend.start()?;
    say(format_args!("Backend is listening on {address}"));
    stop.wait();
    running.stop();
    Ok(())
}

fn serve(backends: &[String], file: Option<PathBuf>, mut flags: Settings) -> Result<()> {
    flags.backend = backends.iter().map(|text| text.as_str().into()).collect();
    let settings = read(&flags, file.as_deref())?;
    let mut config = settings.clone().validate()?;
    config.reread = file.map(|file| reread(flags, file, settings));
    fit_descriptors(&mut config);
    let balancer = Balancer::bind(config)?;
    let stop = stop_on_signals()?;
    for address in balancer.local_addrs() {
        say(format_args!("Load balancer is listening on {address}"));
    }
    if let Some(address) = balancer.admin_addr() {
        say(format_args!("Admin is listening on {address}"));
    }
    Ok(balancer.run(&stop)?)
}

/// What flags and the file say together.
fn read(flags: &Settings, file: Option<&Path>) -> Result<Settings, Problems> {
    match file {
        Some(path) => Ok(flags.clone().or(Settings::from_file(path)?)),
        None => Ok(flags.clone()),
    }
}

/// How a reload finds out what the file says by then.
fn reread(flags: Settings, file: PathBuf, started_with: Settings) -> Box<Reread> {
    Box::new(move || {
        let settings = read(&flags, Some(&file)).map_err(|Problems(all)| all)?;
        started_with.reloaded(settings).map_err(|Problems(all)| all)
    })
}

fn demo(ports: &[u16], delay: Duration, mut settings: Settings) -> Result<()> {
    let demo = Demo::bind(if ports.is_empty() { &DEMO_PORTS } else { ports }, delay)?;
    let addresses = demo.addresses();
    settings.edge = settings.edge.or(Some(Edge::TinyHttp)); // the one to read first
    if settings.health != Some(Health::Off) {
        settings.health_interval = settings.health_interval.or(Some(DEMO_CHECKS));
    }
    settings.backend =
        addresses.iter().map(|address| BackendUrl::from(*address).to_string().as_str().into()).collect();
    let asked_for_admin = settings.admin.is_some();
    let balancer = if asked_for_admin { bind(settings, None)?? } else { bind_with_admin(settings)? };
    let stop = stop_on_signals()?;
    let demo = Arc::new(demo.start(balancer.local_addr().unwrap_or(config::LISTEN))?);
    for address in addresses {
        say(format_args!("Backend is listening on :{}", address.port()));
    }
    for address in balancer.local_addrs() {
        say(format_args!("Load balancer is listening on :{}", address.port()));
    }
    match balancer.admin_addr() {
        Some(address) if asked_for_admin => say(format_args!("Admin is listening on :{}", address.port())),
        Some(address) => tracing::info!("watch it at http://{address}/"),
        None => {}
    }
    let outcome = balancer.with_demo_controls(Arc::clone(&demo) as _).run(&stop);
    demo.stop();
    Ok(outcome?)
}

/// The demo's balancer, with an admin listener if these settings name none.
fn bind(settings: Settings, admin: Option<admin::AdminOptions>) -> Result<Result<Balancer, StartError>> {
    let mut config = settings.validate()?;
    config.admin = config.admin.or(admin);
    fit_descriptors(&mut config);
    Ok(Balancer::bind(config))
}

/// The same with one that nobody has asked for, so a port that somebody else has does not keep the demo from
/// starting.
fn bind_with_admin(settings: Settings) -> Result<Balancer> {
    let by_default = admin::AdminOptions { listen: admin::LISTEN, token: None };
    match bind(settings.clone(), Some(by_default))? {
        Err(StartError::Bind { address, cause }) if address == admin::LISTEN => {
            tracing::warn!(
                "there is no admin listener on {address}: {cause}; choose another one with --admin"
            );
            Ok(bind(settings, None)??)
        }
        outcome => Ok(outcome?),
    }
}

/// A line on standard output. If nobody reads it (a closed pipe), the work goes on.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Ctrl-C, SIGTERM and SIGHUP ask for a clean stop; a second one leaves at once.
fn stop_on_signals() -> Result<Stop> {
    let (handle, stop) = shutdown::pair();
    let mut asked = false;
    ctrlc::set_handler(move || {
        if asked {
            std::process::exit(INTERRUPTED);
        }
        asked = true;
        handle.stop();
    })
    .context("cannot listen for signals")?;
    Ok(stop)
}

/// Each connection takes a descriptor, and the usual soft limit of 1024 is from another time. Where the
/// hard limit is low as well, fewer clients are let in: those that are need connections to backends.
fn fit_descriptors(config: &mut Config) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!("cannot raise the limit on open files: {error}");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
    });
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let others = config.workers * config.upstream.backends.len() + OTHER_DESCRIPTORS;
    let fitting = limit.saturating_sub(others).max(limit / 4).max(1);
    let wanted = config.edge.max_connections;
    if config.edge_kind == EdgeKind::Parked && wanted > fitting {
        tracing::warn!(
            "max_connections is {wanted}, but the limit of {limit} open files leaves room for {fitting}; raise the \
             limit (ulimit -n), or set max_connections to what fits"
        );
        config.edge.max_connections = fitting;
    }
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
    // A thread that panics (tiny_http's do, when a client is gone before they look) says so in one line.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a thread panicked: {}", panic.to_string().replace('\n', " "));
    }));
}

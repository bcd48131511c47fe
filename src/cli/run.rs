//! Runs a command.

use crate::admin::token::AdminToken;
use crate::cli::arguments::Command;
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::settings::source::Source;
use crate::cli::signals::stop_on_signals;
use crate::cli::{demo, reload, serve};
use crate::demo::backend::DemoBackend;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs a command to its end.
///
/// # Errors
/// With what to tell the user, and the exit code.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { config } => check(config),
        Command::Reload { admin, admin_token_file } => ask_for_reload(admin, admin_token_file.as_deref()),
        #[cfg(feature = "top")]
        Command::Top { admin, admin_token_file, interval, once } => {
            top(admin, admin_token_file.as_deref(), interval, once)
        }
        Command::Backend { listen, name, delay } => backend(listen, name.as_deref(), delay),
        Command::Serve { backends, config, settings } => serve::serve(&backends, config, settings),
        Command::Demo { backend_ports, delay, settings } => demo::demo(&backend_ports, delay, settings),
    }
}

fn check(path: PathBuf) -> Result<(), Failure> {
    let name = path.display().to_string();
    let source = Source::file(path);
    source.read().and_then(|reading| reading.validate(None)).map_err(|mistakes| source.failure(mistakes))?;
    say(format_args!("{name} is valid"));
    Ok(())
}

fn ask_for_reload(admin: SocketAddr, token_file: Option<&Path>) -> Result<(), Failure> {
    say(format_args!("reloaded: {}", reload::ask(admin, token(token_file)?)?));
    Ok(())
}

#[cfg(feature = "top")]
fn top(admin: SocketAddr, token_file: Option<&Path>, interval: Duration, once: bool) -> Result<(), Failure> {
    use crate::cli::top::poller::StatePoller;
    use crate::cli::top::watch::{print, watch};
    use std::io::IsTerminal;
    let failed = |error: &dyn std::fmt::Display| Failure::from(error.to_string());
    if !once && !std::io::stdout().is_terminal() {
        return Err(failed(&"standard output is not a terminal; --once prints the present state"));
    }
    let mut poller = StatePoller::new(admin, token(token_file)?);
    if once {
        say(format_args!("{}", print(&mut poller).map_err(|error| failed(&error))?));
        return Ok(());
    }
    let snapshot = poller.poll().map_err(|error| failed(&error))?;
    let stop = stop_on_signals()?;
    // This adds a panic hook that restores the terminal before the one that logs runs.
    let outcome =
        ratatui::try_init().and_then(|mut terminal| watch(&mut terminal, poller, snapshot, interval, &stop));
    let restored = ratatui::try_restore();
    outcome.and(restored).map_err(|error| Failure::from(format!("the view has ended: {error}")))
}

fn backend(listen: SocketAddr, name: Option<&str>, delay: Duration) -> Result<(), Failure> {
    let backend = DemoBackend::bind(listen, name, delay)?;
    let address = backend.local_addr();
    let stop = stop_on_signals()?;
    let running = backend.start()?;
    say(format_args!("Backend is listening on {address}"));
    stop.wait();
    running.stop();
    Ok(())
}

/// Reads the admin token, if a file is named.
fn token(file: Option<&Path>) -> Result<Option<AdminToken>, Failure> {
    file.map(AdminToken::from_file).transpose().map_err(|error| Failure::from(error.to_string()))
}

//! The command line: what a user can ask for.

use crate::admin::options::LISTEN;
use crate::cli::settings::formats;
use crate::cli::settings::values::Settings;
use crate::cli::{address, defaults};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Reads the arguments of this process. Where they are wrong, or ask for help or the version, it prints that and ends
/// the process.
pub fn parse() -> Command {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command
}

/// Returns the command line with the defaults of each command in its help, and one name in all versions.
fn command() -> clap::Command {
    defaults::shown(Cli::command()).mut_subcommands(|command| command.display_name("turnwheel"))
}

/// A synchronous HTTP/1.1 load balancer: operating-system threads, blocking I/O, no async.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Times are written as 250ms or 30s, sizes as 16KiB or 1GiB. RUST_LOG=debug logs more."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Command {
    /// Run two backends and the balancer in one process: the place to start
    Demo {
        /// Port of a demo backend; repeatable
        #[arg(long = "backend-port", value_name = "PORT", help_heading = "Demo backends")]
        backend_ports: Vec<u16>,
        /// Time that a demo backend takes for each request
        #[arg(long, value_name = "TIME", value_parser = formats::time, default_value = "0s", help_heading = "Demo backends")]
        delay: Duration,
        /// The settings of the balancer.
        #[command(flatten)]
        settings: Settings,
    },
    /// Balance over backends that run elsewhere
    Serve {
        /// Backend as http://host:port; repeatable; required unless the file has one. Add ,weight=N (1 to 1000, default
        /// 1) for its share, or ,backup to use it only when no other backend is usable
        #[arg(long = "backend", value_name = "URL", help_heading = "Backends")]
        backends: Vec<String>,
        /// Configuration file (TOML) with the same settings; a flag overrides it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The settings of the balancer.
        #[command(flatten)]
        settings: Settings,
    },
    /// Run one demo backend alone, to stop and start by hand
    Backend {
        /// Address to listen on. A port alone, 9000 or :9000, is on 127.0.0.1; with port 0 the system chooses one
        #[arg(long, value_name = "ADDR", value_parser = address::parse)]
        listen: SocketAddr,
        /// Name that the backend gives in its replies [default: its port, as ":8081"]
        #[arg(long)]
        name: Option<String>,
        /// Time that the backend takes for each request
        #[arg(long, value_name = "TIME", value_parser = formats::time, default_value = "0s")]
        delay: Duration,
    },
    /// Check a configuration file and report every mistake
    Check {
        /// File to check
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make a running balancer read its configuration file again
    Reload {
        /// Address of the balancer's admin listener. A port alone is on 127.0.0.1
        #[arg(long, value_name = "ADDR", value_parser = address::parse, default_value_t = LISTEN)]
        admin: SocketAddr,
        /// File with the admin token, if the listener asks for one
        #[arg(long, value_name = "FILE")]
        admin_token_file: Option<PathBuf>,
    },
    /// Watch a running balancer in the terminal
    #[cfg(feature = "top")]
    Top {
        /// Address of the balancer's admin listener. A port alone is on 127.0.0.1
        #[arg(long, value_name = "ADDR", value_parser = address::parse, default_value_t = LISTEN)]
        admin: SocketAddr,
        /// File with the admin token, if the listener asks for one
        #[arg(long, value_name = "FILE")]
        admin_token_file: Option<PathBuf>,
        /// Time between two updates, at least 50ms
        #[arg(long, value_name = "TIME", value_parser = formats::time, default_value = "500ms")]
        interval: Duration,
        /// Print the current state once, and exit
        #[arg(long)]
        once: bool,
    },
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}

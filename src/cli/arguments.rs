//! The command line: what a person can ask for.

use crate::admin::options::LISTEN;
use crate::cli::settings::Settings;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A synchronous HTTP/1.1 load balancer: operating-system threads, blocking I/O, no async.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(after_help = "Times are written 250ms or 30s, sizes 16KiB or 1GiB. RUST_LOG=debug says more.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Command {
    /// Two backends and the balancer in one process: the place to start
    Demo {
        /// Port of a demo backend; repeatable [default: 8081 and 8082]
        #[arg(long = "backend-port", value_name = "PORT", help_heading = "Demo backends")]
        backend_ports: Vec<u16>,
        /// How long the demo backends think about each request
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s", help_heading = "Demo backends")]
        delay: Duration,
        /// What can be set for the balancer.
        #[command(flatten)]
        settings: Settings,
    },
    /// Balance over backends that run elsewhere
    Serve {
        /// Backend as http://host:port; repeatable
        #[arg(long = "backend", value_name = "URL", help_heading = "Backends")]
        backends: Vec<String>,
        /// File with the same settings; a flag overrides it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What can be set for the balancer.
        #[command(flatten)]
        settings: Settings,
    },
    /// One demo backend alone, to kill and revive by hand
    Backend {
        /// Address to listen on; port 0 lets the system choose
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        /// What it calls itself in its replies [default: its port, as ":8081"]
        #[arg(long)]
        name: Option<String>,
        /// How long it thinks about each request
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
        delay: Duration,
    },
    /// Say whether a configuration is valid, and every reason why not
    Check {
        /// The file to look at
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Ask a running balancer to read its configuration again
    Reload {
        /// Where its admin listener is
        #[arg(long, value_name = "ADDR", default_value_t = LISTEN)]
        admin: SocketAddr,
        /// File with the admin token, if one is needed
        #[arg(long, value_name = "FILE")]
        admin_token_file: Option<PathBuf>,
    },
    /// Watch a running balancer in the terminal
    #[cfg(feature = "top")]
    Top {
        /// Where its admin listener is
        #[arg(long, value_name = "ADDR", default_value_t = LISTEN)]
        admin: SocketAddr,
        /// File with the admin token, if one is needed
        #[arg(long, value_name = "FILE")]
        admin_token_file: Option<PathBuf>,
        /// How often to ask; 50ms at least
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "500ms")]
        interval: Duration,
        /// Print what is to be seen now, and leave
        #[arg(long)]
        once: bool,
    },
}

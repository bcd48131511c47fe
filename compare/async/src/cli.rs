//! The command line: the flags of turnwheel that concern the I/O layer, under the same names.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::time::Duration;
use turnwheel::config::BackendUrl;

/// turnwheel's decisions on tokio and hyper, for comparison with turnwheel.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance over backends that run elsewhere
    Serve(Serve),
}

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address to listen on; repeatable, port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: Vec<SocketAddr>,

    /// Backend as http://host:port; repeatable
    #[arg(long = "backend", value_name = "URL", required = true)]
    pub backends: Vec<BackendUrl>,

    /// tokio scheduler
    #[arg(long, default_value = "multi-thread")]
    pub runtime: Runtime,

    /// Threads of the multi-thread runtime [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,

    /// Timeout for one connection attempt to a backend
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s")]
    pub connect_timeout: Duration,

    /// Timeout for the whole head of a backend's reply
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    pub reply_head_timeout: Duration,

    /// Further backends to try when one fails
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub retries: u32,
}

/// tokio's schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// One thread per processor, with work stealing
    MultiThread,
    /// A single thread
    CurrentThread,
}

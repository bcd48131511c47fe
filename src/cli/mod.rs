//! The command line: arguments, settings, and the commands that talk to a running balancer.

mod arguments;
mod client;
pub mod reload;
pub mod settings;
#[cfg(feature = "top")]
pub mod top;

pub use arguments::{Cli, Command};

//! The command line: arguments, settings, and the commands.

mod address;
pub mod arguments;
mod client;
mod defaults;
mod demo;
mod descriptors;
pub mod failure;
pub mod logging;
mod output;
pub mod reload;
pub mod run;
mod serve;
pub mod settings;
mod signals;
#[cfg(feature = "top")]
pub mod top;

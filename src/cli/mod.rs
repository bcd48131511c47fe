//! The command line: arguments, settings, and the commands.

pub mod address;
pub mod arguments;
pub mod client;
pub mod defaults;
pub mod demo;
pub mod descriptors;
pub mod failure;
pub mod logging;
pub mod output;
pub mod reload;
pub mod run;
pub mod serve;
pub mod settings;
pub mod signals;
#[cfg(feature = "top")]
pub mod top;

//! Settings, from flags and from the file, and how they become a
//! [`Config`](crate::balancer::config::Config).
//!
//! One struct serves both, so that a flag and its key always have the same name: `--queue-timeout 5s` and
//! `queue_timeout = "5s"`. A flag overrides the file. Here only the form of values is checked; what they may mean is
//! checked in one place for the command line and for embedding programs, the configuration itself.

pub mod backends;
pub mod choices;
pub mod config;
pub mod file;
pub mod formats;
pub mod keys;
pub mod mistakes;
pub mod reading;
pub mod reload;
pub mod source;
pub mod upstream;
pub mod values;

//! Integration tests: the program over real sockets, with one file for each topic, and rules about its source.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic, in its helpers too")]

mod admin;
mod admin_client;
mod attacks;
mod backend;
mod bed;
mod chaos;
mod check;
mod cli;
mod config_file;
mod configuration;
mod demo;
mod deploy;
mod drain;
mod embed;
mod endings;
mod excerpts;
mod fairness;
mod forwarding;
mod framing;
mod health;
mod heavy;
mod hostile;
mod layout;
mod limits;
mod logs;
mod malformed;
mod membership;
mod metrics;
mod parked;
mod pool;
mod prometheus;
mod promql;
mod readme;
mod real;
mod refusals;
mod reload;
mod request_ids;
mod retries;
mod scale;
mod source;
mod state;
mod steady_load;
mod sticky;
mod stopping;
mod strategies;
mod streaming;
mod tidy;
#[cfg(feature = "top")]
mod top;
mod watch;

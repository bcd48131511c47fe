//! Tests over real sockets, a file a topic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails is a test that fails")]

mod admin;
mod admin_client;
mod attacks;
mod backend;
mod bed;
mod chaos;
mod check;
mod cli;
mod config_file;
mod demo;
mod deploy;
mod drain;
mod embed;
mod endings;
mod fairness;
mod forwarding;
mod framing;
mod health;
mod heavy;
mod hostile;
mod limits;
mod logs;
mod malformed;
mod membership;
mod metrics;
mod parked;
mod pool;
mod prometheus;
mod promql;
mod real;
mod refusals;
mod reload;
mod retries;
mod scale;
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

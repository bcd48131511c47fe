//! Tests over real sockets, a file a topic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails is a test that fails")]

mod admin;
mod attacks;
mod backend;
mod bed;
mod chaos;
mod check;
mod cli;
mod configuration;
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
mod operator;
mod parked;
mod pool;
mod prometheus;
mod promql;
mod readme;
mod real;
mod refusals;
mod reload;
mod retries;
mod scale;
mod state;
mod sticky;
mod stopping;
mod strategies;
mod streaming;
mod tidy;
#[cfg(feature = "top")]
mod top;
mod watch;

//! Tests over real sockets, a file a topic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails is a test that fails")]

mod attacks;
mod backend;
mod bed;
mod cli;
mod embed;
mod fairness;
mod forwarding;
mod framing;
mod heavy;
mod logs;
mod malformed;
mod parked;
mod pool;
mod real;
mod refusals;
mod retries;
mod scale;
mod stopping;
mod strategies;
mod streaming;
mod tidy;
mod watch;

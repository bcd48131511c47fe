//! Tests of the async balancer as a program, over real sockets: enough to know that it balances.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says what is wrong")]

mod bed;
mod forwarding;
mod retries;
mod stopping;
mod streaming;

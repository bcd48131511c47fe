//! Tests of the balancer as a program, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says what is wrong")]

mod bed;
mod bodies;
mod failures;
mod forwarding;
mod start;

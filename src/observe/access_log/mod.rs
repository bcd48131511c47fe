//! The access log: one line for each request.
//!
//! The thread that ends a request formats the line, and a thread of the log writes it, so that no worker waits for a terminal or a
//! disk. When the sink is slower than the traffic or accepts nothing, lines are dropped and counted; requests are not held up.

pub mod line;
pub mod writer;

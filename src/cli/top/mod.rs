//! The command `turnwheel top`: a running balancer in a terminal, as its admin listener shows it.
//!
//! One thread polls the balancer ([`StatePoller`]), another one reads the terminal's events, and the caller's thread waits for
//! both and draws. The caller prepares the terminal and restores it afterwards.

pub mod backends;
pub mod header;
pub mod layout;
pub mod lists;
pub mod poller;
pub mod screen;
pub mod snapshot;
pub mod sparklines;
pub mod theme;
pub mod view;
pub mod watch;
pub mod words;

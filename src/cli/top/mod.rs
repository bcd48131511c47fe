//! The command `turnwheel top`: a running balancer in a terminal, as its admin listener shows it.
//!
//! One thread polls the balancer ([`Poller`]), another one reads the terminal's events, and the caller's thread waits for
//! both and draws. The caller prepares the terminal and restores it afterwards.

mod backends;
mod header;
mod layout;
mod lists;
mod poller;
mod screen;
mod snapshot;
mod sparklines;
mod theme;
mod view;
mod watch;
mod words;

pub use poller::Poller;
pub use watch::{print, watch};

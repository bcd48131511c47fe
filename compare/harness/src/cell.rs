//! A cell: the load, the backends and the conditions of a measurement.

use anyhow::{Context, Result};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One combination of load, backends and conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Name, used in the raw data and as a link target.
    pub id: String,
    /// Table label: the difference from the base cell.
    pub label: String,
    /// Number of connections of the load.
    pub connections: usize,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
    /// Delay of the backends' replies.
    pub delay: Delay,
    /// Body size of a reply in bytes.
    pub body: usize,
    /// Worker threads, for variants that have a pool; `None` for the default.
    pub workers: Option<usize>,
    /// Queue length, for variants that have a queue; `None` for the default.
    pub queue: Option<usize>,
    /// Whether turnwheel's health checks and ejection are on, as by default.
    pub health: bool,
    /// Clients connected in addition to the load.
    pub background: Background,
    /// The fault of a backend during the window.
    pub event: Event,
    /// The balancer's timeout for a backend's reply.
    pub reply_timeout: Duration,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Closed loop: each connection sends its next request when the previous reply is complete.
    Closed,
    /// Open loop: requests per second, independent of the replies.
    Rate(f64),
    /// Open loop: a multiple of the variant's own goodput in the base cell.
    TimesCapacity(f64),
}

/// Delay before a backend replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// None.
    None,
    /// A constant delay.
    Fixed(Duration),
    /// The first with probability 19/20, the second with probability 1/20.
    Bimodal(Duration, Duration),
}

/// Clients connected in addition to the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// None.
    None,
    /// Connections that have received one reply and stay idle.
    Idle(usize),
    /// Clients that request 16 MiB and read 50 KiB per second.
    SlowReaders(usize),
    /// Clients that send a request head one byte at a time.
    TrickledHeads(usize),
}

/// A fault of one of the two backends, a third into the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// It is stopped (SIGSTOP) and keeps its connections.
    Stall,
    /// It is killed (SIGKILL).
    Kill,
}

impl Cell {
    /// Returns the base cell: 64 connections, no delay, 64-byte replies, keep-alive.
    pub fn base() -> Cell {
        Cell {
            id: "base".into(),
            label: "base".into(),
            connections: 64,
            arrivals: Arrivals::Closed,
            keep_alive: true,
            delay: Delay::None,
            body: 64,
            workers: None,
            queue: None,
            health: true,
            background: Background::None,
            event: Event::None,
            reply_timeout: Duration::from_secs(30),
        }
    }
}

impl Delay {
    /// Returns the delay of the next reply.
    pub fn next(self) -> Duration {
        match self {
            Delay::None => Duration::ZERO,
            Delay::Fixed(time) => time,
            Delay::Bimodal(usual, rare) => {
                if fastrand::u32(..20) == 0 {
                    rare
                } else {
                    usual
                }
            }
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delay::None => write!(out, "0ms"),
            Delay::Fixed(time) => write!(out, "{}ms", time.as_millis()),
            Delay::Bimodal(usual, rare) => write!(out, "{}ms/{}ms", usual.as_millis(), rare.as_millis()),
        }
    }
}

impl FromStr for Delay {
    type Err = anyhow::Error;

    /// Parses `10ms`, or `1ms/100ms` for a bimodal delay.
    fn from_str(text: &str) -> Result<Delay> {
        let time = |text: &str| {
            humantime::parse_duration(text).with_context(|| format!("{text:?} is not a duration"))
        };
        Ok(match text.split_once('/') {
            Some((usual, rare)) => Delay::Bimodal(time(usual)?, time(rare)?),
            None => match time(text)? {
                Duration::ZERO => Delay::None,
                fixed => Delay::Fixed(fixed),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_delay_in_the_form_it_is_printed() {
        for text in ["0ms", "10ms", "1ms/100ms"] {
            assert_eq!(text.parse::<Delay>().unwrap().to_string(), text);
        }
        assert!("soon".parse::<Delay>().is_err());
    }
}

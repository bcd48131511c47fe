//! A cell: one load, one kind of backend, one state of the world. Everything that is measured, is measured in a cell.

use anyhow::{Context, Result};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One way of asking.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Its name, under which its figures are kept and linked to.
    pub id: String,
    /// What makes it differ from the base cell, for a table.
    pub label: String,
    /// How many connections ask.
    pub connections: usize,
    /// When they ask.
    pub arrivals: Arrivals,
    /// Do connections ask more than once?
    pub keep_alive: bool,
    /// How long the backends take.
    pub delay: Delay,
    /// Bytes of a reply's body.
    pub body: usize,
    /// Workers, for those that have them. Nothing: as they are by default.
    pub workers: Option<usize>,
    /// Requests that may wait for a worker, for those that have a queue. Nothing: as by default.
    pub queue: Option<usize>,
    /// Does turnwheel notice who fails, as it does by default?
    pub notices: bool,
    /// What else is connected meanwhile.
    pub beside: Beside,
    /// What happens meanwhile.
    pub event: Event,
    /// How long a balancer waits for a backend.
    pub patience: Duration,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A closed loop: the next one when the reply to the last is there.
    Closed,
    /// An open loop: so many a second, come what may.
    Rate(f64),
    /// An open loop: so many times what this variant could do in the base cell.
    TimesCapacity(f64),
}

/// How long backends take before they reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// No time.
    None,
    /// As long every time.
    Fixed(Duration),
    /// The first nineteen times out of twenty, the second once. By chance.
    Either(Duration, Duration),
}

/// Who else is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nobody.
    Nobody,
    /// Connections that have been served once and then say nothing.
    Idle(usize),
    /// Clients that ask for 16 MiB and hardly read it.
    SlowReaders(usize),
    /// Clients whose heads come a byte at a time.
    TrickledHeads(usize),
}

/// What befalls one of the two backends, a third into the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// It stops, and keeps its connections.
    Stall,
    /// It is killed.
    Kill,
}

impl Cell {
    /// What all others differ from in one thing: 64 connections, no delay, 64 bytes, keep-alive.
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
            notices: true,
            beside: Beside::Nobody,
            event: Event::None,
            patience: Duration::from_secs(30),
        }
    }
}

impl Delay {
    /// How long this time.
    pub fn next(self) -> Duration {
        match self {
            Delay::None => Duration::ZERO,
            Delay::Fixed(time) => time,
            Delay::Either(usual, rare) => {
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
            Delay::Either(usual, rare) => write!(out, "{}ms/{}ms", usual.as_millis(), rare.as_millis()),
        }
    }
}

impl FromStr for Delay {
    type Err = anyhow::Error;

    /// `10ms`, or `1ms/100ms` for either.
    fn from_str(text: &str) -> Result<Delay> {
        let time =
            |text: &str| humantime::parse_duration(text).with_context(|| format!("{text:?} is no time"));
        Ok(match text.split_once('/') {
            Some((usual, rare)) => Delay::Either(time(usual)?, time(rare)?),
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
    fn delays_are_read_as_they_are_written() {
        for text in ["0ms", "10ms", "1ms/100ms"] {
            assert_eq!(text.parse::<Delay>().unwrap().to_string(), text);
        }
        assert!("soon".parse::<Delay>().is_err());
    }
}

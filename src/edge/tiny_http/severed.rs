//! Connections that no further request is believed from.
//!
//! After an ambiguous request nobody knows where the next one begins, so nothing that follows it on
//! its connection may reach a backend. tiny_http reads ahead, and what it has read comes even after
//! the connection has been closed: those requests are known by their client's address and port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long after a connection was shut, its client's address and port may belong to a new one.
const MEMORY: Duration = Duration::from_secs(2);

/// The clients' ends of such connections, and since when they are shut.
#[derive(Debug, Default)]
pub struct Severed(Mutex<HashMap<SocketAddr, Option<Instant>>>);

impl Severed {
    /// From now on, nothing from this client's connection is believed.
    pub fn add(&self, peer: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, None);
    }

    /// The connection has been shut: what was read ahead of it is still to come.
    pub fn shut(&self, peer: SocketAddr, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, Some(now));
    }

    /// Does this client's request follow a refused one?
    pub fn state(&self, peer: SocketAddr, now: Instant) -> State {
        let mut severed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if severed.is_empty() {
            return State::Whole;
        }
        severed.retain(|_, shut| shut.is_none_or(|since| now.duration_since(since) < MEMORY));
        match severed.get(&peer) {
            None => State::Whole,
            Some(None) => State::Severed,
            Some(Some(_)) => State::Shut,
        }
    }
}

/// What is known of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may be believed.
    Whole,
    /// It has been refused, and is still open: earlier replies may be on their way.
    Severed,
    /// It has been shut. Or this is a new one that happens to have its address and port.
    Shut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_severed_until_its_connection_is_shut_and_a_while_longer() {
        let (severed, start) = (Severed::default(), Instant::now());
        let [bad, good] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        severed.add(bad);
        assert_eq!(severed.state(bad, start + 100 * MEMORY), State::Severed);
        assert_eq!(severed.state(good, start), State::Whole);
        severed.shut(bad, start);
        assert_eq!(severed.state(bad, start + MEMORY / 2), State::Shut);
        assert_eq!(severed.state(bad, start + MEMORY), State::Whole);
    }
}

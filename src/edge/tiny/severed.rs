//! Connections that no further request is believed from.
//!
//! After an ambiguous request nobody knows where the next one begins, so nothing that follows it on
//! its connection may reach a backend. tiny_http reads ahead, and what it has read comes even after
//! the connection has been closed: those requests are known by their client's address and port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long after the connection was refused, its address and port may belong to a new one.
const MEMORY: Duration = Duration::from_secs(2);

/// The clients' ends of connections that were refused lately.
#[derive(Debug, Default)]
pub struct Severed(Mutex<HashMap<SocketAddr, Instant>>);

impl Severed {
    /// From now on, nothing from this client's connection is believed.
    pub fn add(&self, peer: SocketAddr, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, now);
    }

    /// Does this client's request follow a refused one?
    pub fn has(&self, peer: SocketAddr, now: Instant) -> bool {
        let mut severed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if severed.is_empty() {
            return false;
        }
        severed.retain(|_, since| now.duration_since(*since) < MEMORY);
        severed.contains_key(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_severed_for_a_while_and_no_other() {
        let (severed, start) = (Severed::default(), Instant::now());
        let [bad, good] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        severed.add(bad, start);
        assert!(severed.has(bad, start) && !severed.has(good, start));
        assert!(severed.has(bad, start + MEMORY / 2));
        assert!(!severed.has(bad, start + MEMORY));
    }
}

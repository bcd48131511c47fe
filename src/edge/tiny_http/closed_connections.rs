//! The registry of connections whose further requests are not served.
//!
//! After an ambiguous request it is unknown where the next one begins, so nothing that follows on the
//! connection may reach a backend. tiny_http reads ahead and hands over what it has read even after the
//! connection has been closed: those requests are recognized by their client's address and port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after which the client's address and port of a closed connection may belong to a new one.
const REUSE_AFTER: Duration = Duration::from_secs(2);

/// The clients' ends of such connections, and since when they are closed.
#[derive(Debug, Default)]
pub struct ClosedConnections(Mutex<HashMap<SocketAddr, Option<Instant>>>);

impl ClosedConnections {
    /// Registers a connection that is about to be closed.
    pub fn mark_closing(&self, peer: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, None);
    }

    /// Registers that a connection has been closed. Requests that were read ahead of it still come.
    pub fn mark_closed(&self, peer: SocketAddr, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, Some(now));
    }

    /// Returns the state of the connection from `peer`.
    pub fn state(&self, peer: SocketAddr, now: Instant) -> PeerState {
        let mut closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.is_empty() {
            return PeerState::Open;
        }
        closed.retain(|_, since| since.is_none_or(|since| now.duration_since(since) < REUSE_AFTER));
        match closed.get(&peer) {
            None => PeerState::Open,
            Some(None) => PeerState::Closing,
            Some(Some(_)) => PeerState::Closed,
        }
    }
}

/// The state of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Its requests are served.
    Open,
    /// It is about to be closed: earlier replies may still be on their way.
    Closing,
    /// It has been closed. Rarely, this is a new connection from the same address and port.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_a_connection_until_its_port_may_be_reused() {
        let (closed, start) = (ClosedConnections::default(), Instant::now());
        let [bad, good] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        closed.mark_closing(bad);
        assert_eq!(closed.state(bad, start + 100 * REUSE_AFTER), PeerState::Closing);
        assert_eq!(closed.state(good, start), PeerState::Open);
        closed.mark_closed(bad, start);
        assert_eq!(closed.state(bad, start + REUSE_AFTER / 2), PeerState::Closed);
        assert_eq!(closed.state(bad, start + REUSE_AFTER), PeerState::Open);
    }
}

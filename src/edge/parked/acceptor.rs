//! The thread that accepts connections, and refuses connections beyond the limits.

use crate::edge::parked::connection::{Connection, Connections};
use crate::edge::parked::per_address::PerAddressLimit;
use crate::edge::parked::slow_client::WAKE_INTERVAL;
use crate::edge::parked::state::ParkedState;
use crate::error::Refusal;
use crate::queue::sender::JobSender;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Pause after a failed `accept` for want of descriptors or memory. Open connections are served meanwhile, and release
/// both as they end.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Accepts the connections of one listener.
pub struct Acceptor {
    pub listener: Arc<TcpListener>,
    pub state: Arc<ParkedState>,
    pub slab: Arc<Connections>,
    pub per_address: Option<PerAddressLimit>,
    pub jobs: JobSender,
    /// Disconnected when the acceptor has to stop.
    pub stop: Receiver<()>,
}

impl Acceptor {
    /// Accepts until the listener is stopped.
    pub fn run(self) {
        let mut failing = false;
        while !self.state.draining.load(SeqCst) {
            match self.listener.accept() {
                Ok(accepted) => {
                    failing = false;
                    self.admit(accepted);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if self.stop.recv_timeout(RETRY_PAUSE) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                    if !failing {
                        tracing::error!("cannot accept connections; retrying: {error}");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Parks a new connection, or refuses it where a limit is reached.
    fn admit(&self, (stream, peer): (TcpStream, SocketAddr)) {
        // Without a timeout a worker that waits for this client would never notice that it has to stop.
        if stream.set_read_timeout(Some(WAKE_INTERVAL)).is_err() {
            return; // the client is gone already
        }
        let address_guard = match &self.per_address {
            Some(limit) => limit.try_acquire(peer.ip()).map(Some),
            None => Some(None),
        };
        let permit = self.state.connections.try_acquire(1).filter(|_| address_guard.is_some());
        let over_limit = permit.is_none();
        // Refused connections have permits of their own, so that they take none from accepted ones.
        let Some(permit) = permit.or_else(|| self.state.refused_connections.try_acquire(1)) else { return };
        let Some(slot) = self.slab.claim() else { return };
        let socket = stream.as_raw_fd();
        let shared = (Arc::clone(&self.state), Arc::clone(&self.slab));
        let connection = Connection::new((stream, peer), slot, shared, permit, address_guard.flatten());
        if let Err(error) = self.slab.watch(slot, socket) {
            tracing::warn!("closing a connection that cannot be watched: {error}");
        } else if over_limit {
            self.refuse(connection);
        } else {
            connection.park(false);
        }
    }

    fn refuse(&self, connection: Box<Connection>) {
        let (peer, now) = (connection.peer, Instant::now());
        self.jobs.recorder().refuse_stream(connection, peer, now, Refusal::TooManyConnections);
    }
}

/// Returns whether the error concerns only the connection that was to be accepted, so that the next `accept` may succeed.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

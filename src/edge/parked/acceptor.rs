//! The thread that accepts connections, and turns away those beyond the limits.

use super::EdgeState;
use super::connection::Connection;
use super::per_address::PerAddressLimit;
use super::slow_client::WAKE_INTERVAL;
use crate::edge::ClientStream;
use crate::error::Refusal;
use crate::observe::Outcome;
use crate::queue::JobSender;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long accepting pauses when the system has no descriptor or no buffer_budget for another connection.
/// Those that are open are served meanwhile, and when one ends there is room again.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts on one listener.
pub struct Acceptor {
    pub listener: Arc<TcpListener>,
    pub shared: Arc<EdgeState>,
    pub clients: Option<PerAddressLimit>,
    pub jobs: JobSender,
    /// Closed when it is time to stop.
    pub stop: Receiver<()>,
}

impl Acceptor {
    /// Works until the listener is shut.
    pub fn run(self) {
        let mut failing = false;
        while !self.shared.draining.load(SeqCst) {
            match self.listener.accept() {
                Ok(accepted) => {
                    failing = false;
                    self.admit(accepted);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if self.stop.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                    if !failing {
                        tracing::error!("cannot accept connections, trying again: {error}");
                    }
                    failing = true;
                }
            }
        }
    }

    fn admit(&self, accepted: (TcpStream, SocketAddr)) {
        // Without a timeout a worker that waits for this client would never look up.
        if accepted.0.set_read_timeout(Some(WAKE_INTERVAL)).is_err() {
            return; // the client is gone already
        }
        let ticket = self.clients.as_ref().map(|clients| clients.admit(accepted.1.ip()));
        let allowed = self.shared.connections.take(1).filter(|_| !matches!(ticket, Some(None)));
        let over = allowed.is_none();
        // Those that are told so do not take the places of those that are let in.
        let Some(allowed) = allowed.or_else(|| self.shared.refusals.take(1)) else { return };
        let Some(slot) = self.shared.slab.claim() else { return }; // there are as many as may be taken
        let socket = accepted.0.as_raw_fd();
        let connection = Connection::new(accepted, slot, Arc::clone(&self.shared), allowed, ticket.flatten());
        if let Err(error) = self.shared.slab.watch(slot, socket) {
            tracing::warn!("a connection cannot be watched, and is closed: {error}");
        } else if over {
            self.turn_away(connection);
        } else {
            connection.park(false);
        }
    }

    fn turn_away(&self, connection: Box<Connection>) {
        let refusal = Refusal::TooManyConnections;
        self.jobs.recorder().record(&Outcome::refused(None, connection.peer, Instant::now(), refusal));
        connection.refuse(refusal, None);
    }
}

/// The connection ended before it was accepted: that says nothing about the next one.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

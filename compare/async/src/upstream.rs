//! A backend and its connection pool.

use crate::backend_connection::BackendConnection;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use turnwheel::config::ForwardOptions;
use turnwheel::internals::BackendAddress;

/// A backend and its idle connections.
pub struct Upstream {
    place: BackendAddress,
    options: ForwardOptions,
    failing: AtomicBool,
    /// Most recently used last, and taken first, so that surplus connections expire.
    idle: Mutex<Vec<(Instant, BackendConnection)>>,
}

impl Upstream {
    /// Returns a backend without connections.
    pub fn new(place: BackendAddress, options: ForwardOptions) -> Self {
        Upstream { place, options, failing: AtomicBool::new(false), idle: Mutex::default() }
    }

    /// Returns host and port, as in a URL.
    pub fn authority(&self) -> &str {
        self.place.authority.as_str()
    }

    /// Records the outcome of an attempt, and logs when the backend starts to fail and when it recovers.
    pub fn report(&self, failure: Option<&str>) {
        let name = self.authority();
        if self.failing.swap(failure.is_some(), Relaxed) != failure.is_some() {
            match failure {
                Some(cause) => tracing::warn!("backend {name} fails: {cause}"),
                None => tracing::info!("backend {name} answers again"),
            }
        }
    }

    /// Takes the most recently used connection, or `None` if there is none or it has expired.
    pub fn take(&self) -> Option<BackendConnection> {
        let (since, connection) = self.lock().pop()?;
        (since.elapsed() < self.options.upstream_idle_timeout).then_some(connection)
    }

    /// Returns a connection to the pool.
    pub fn put(&self, connection: BackendConnection) {
        let entry = (Instant::now(), connection);
        self.lock().push(entry);
    }

    /// Opens a connection, trying each address of the backend with the full timeout.
    ///
    /// # Errors
    /// Returns the error of the last address.
    pub async fn connect(&self) -> io::Result<BackendConnection> {
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in &self.place.addresses {
            let connection = BackendConnection::open(*address, self.options.upstream_timeout);
            match tokio::time::timeout(self.options.connect_timeout, connection).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    /// Closes the connections that have been idle for too long.
    pub fn close_expired(&self) {
        let mut idle = self.lock();
        let limit = self.options.upstream_idle_timeout;
        let old = idle.iter().take_while(|(since, _)| since.elapsed() >= limit).count();
        let closed: Vec<_> = idle.drain(..old).collect();
        drop(idle); // closing is I/O and must not happen under the lock
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, BackendConnection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The connections to one backend.

use crate::link::Link;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use turnwheel::backend::Backend;
use turnwheel::forward::Options;

/// A backend, and the connections to it that nobody uses now.
pub struct Upstream {
    backend: Arc<Backend>,
    options: Options,
    /// The one used last is at the end, and taken first: those that are not needed grow old.
    idle: Mutex<Vec<(Instant, Link)>>,
}

impl Upstream {
    /// No connection yet.
    pub fn new(backend: Arc<Backend>, options: Options) -> Self {
        Upstream { backend, options, idle: Mutex::default() }
    }

    /// The backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The connection that was used last, if it is not too old.
    pub fn take(&self) -> Option<Link> {
        let (since, link) = self.lock().pop()?;
        (since.elapsed() < self.options.upstream_idle_timeout).then_some(link)
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, link: Link) {
        let entry = (Instant::now(), link);
        self.lock().push(entry);
    }

    /// Opens a connection: each address of the backend gets its time.
    ///
    /// # Errors
    /// The last address's.
    pub async fn connect(&self) -> io::Result<Link> {
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in self.backend.addresses() {
            let link = Link::open(*address, self.options.upstream_timeout);
            match tokio::time::timeout(self.options.connect_timeout, link).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    /// Closes the connections that have not been used for too long.
    pub fn close_old(&self) {
        let mut idle = self.lock();
        let limit = self.options.upstream_idle_timeout;
        let old = idle.iter().take_while(|(since, _)| since.elapsed() >= limit).count();
        let closed: Vec<_> = idle.drain(..old).collect();
        drop(idle); // closing is I/O, and the lock guards arithmetic
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Link)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

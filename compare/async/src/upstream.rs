//! The connections to one backend.

use crate::link::Link;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use turnwheel::backend::BackendAddress;
use turnwheel::forward::ForwardOptions;

/// A backend, and the connections to it that nobody uses now.
pub struct Upstream {
    place: BackendAddress,
    options: ForwardOptions,
    failing: AtomicBool,
    /// The one used last is at the end, and taken first: those that are not needed grow old.
    idle: Mutex<Vec<(Instant, Link)>>,
}

impl Upstream {
    /// No connection yet.
    pub fn new(place: BackendAddress, options: ForwardOptions) -> Self {
        Upstream { place, options, failing: AtomicBool::new(false), idle: Mutex::default() }
    }

    /// Host and port, as they stand in a URL.
    pub fn authority(&self) -> &str {
        self.place.authority.as_str()
    }

    /// Notes how a try ended, and says so when the backend begins to fail and when it is back.
    pub fn report(&self, failure: Option<&str>) {
        let name = self.authority();
        if self.failing.swap(failure.is_some(), Relaxed) != failure.is_some() {
            match failure {
                Some(cause) => tracing::warn!("backend {name} fails: {cause}"),
                None => tracing::info!("backend {name} answers again"),
            }
        }
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
        for address in &self.place.addresses {
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

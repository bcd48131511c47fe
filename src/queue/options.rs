//! What the queue holds, and for how long.

use std::time::Duration;

/// What the queue holds.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Requests that may wait for a worker; a further one is refused. 1024.
    pub capacity: usize,
    /// How long one may wait before it is refused. 10 s.
    pub timeout: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { capacity: 1024, timeout: Duration::from_secs(10) }
    }
}

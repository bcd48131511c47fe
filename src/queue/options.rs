//! What the queue holds, and for how long.

use std::time::Duration;

/// A request that waits this long while none is taken shows that the whole core is blocked. Backends on the
/// same network answer within it; a person does not notice it.
pub(super) const FAST: Duration = Duration::from_millis(1);

/// What the queue holds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Requests that may wait for a worker; a further one is refused with 503. Default: 1024.
    pub capacity: usize,
    /// How long a request may wait in all, for a worker and for a backend below its limit, before it is refused
    /// with 503. Default: 10 s.
    pub timeout: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { capacity: 1024, timeout: Duration::from_secs(10) }
    }
}

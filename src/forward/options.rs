//! The timeouts and the retry limit of the forwarder.

use std::time::Duration;

/// The timeouts and the retry limit of the forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardOptions {
    /// The timeout of one connection attempt. Default: 2 s.
    pub connect_timeout: Duration,
    /// The time from the end of the request to the end of the reply's head. Default: 30 s.
    pub reply_head_timeout: Duration,
    /// The time between bytes of a reply's body, and for the backend to accept the next bytes of a request's.
    /// Default: 30 s.
    pub upstream_timeout: Duration,
    /// How long an idle connection to a backend is kept. Default: 4 s, below the 5 s of common servers.
    pub upstream_idle_timeout: Duration,
    /// The number of further backends that are tried after a failure. Default: 2.
    pub retries: u32,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        ForwardOptions {
            connect_timeout: Duration::from_secs(2),
            reply_head_timeout: Duration::from_secs(30),
            upstream_timeout: Duration::from_secs(30),
            upstream_idle_timeout: Duration::from_secs(4),
            retries: 2,
        }
    }
}

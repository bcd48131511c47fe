//! How long backends are waited for, and how often another one is tried.

use std::time::Duration;

/// How long backends are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardOptions {
    /// For one connection attempt. 2 s.
    pub connect_timeout: Duration,
    /// From the end of the request to the end of the reply's head. 30 s.
    pub reply_head_timeout: Duration,
    /// For the next bytes of a reply's body, and for the backend to take the next bytes of a
    /// request's. 30 s.
    pub upstream_timeout: Duration,
    /// How long a connection to a backend is kept without use. 4 s: less than the 5 s after which
    /// common servers close theirs.
    pub upstream_idle_timeout: Duration,
    /// Further backends that are tried when one fails. 2.
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

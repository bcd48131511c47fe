//! The limits and timeouts for clients. The tiny_http edge cannot enforce all of them.

use std::time::Duration;

/// The limits and timeouts that an edge applies to its clients.
#[derive(Clone, Copy, Debug)]
pub struct EdgeOptions {
    /// Limits on the size of a request.
    pub limits: Limits,
    /// Time for a whole request head, from its first byte. 10 s.
    pub client_head_timeout: Duration,
    /// Longest pause within a request body. 30 s.
    pub client_body_timeout: Duration,
    /// Longest time in which a client takes no byte of its reply. 30 s.
    pub client_write_timeout: Duration,
    /// Time that a connection may be idle between requests. 60 s.
    pub idle_timeout: Duration,
    /// Lowest rate, in bytes per second, at which a client may send a body or take a reply. It applies
    /// once the edge has waited for the client as long as it may pause. 240; 0 means no limit.
    pub min_body_rate: u64,
    /// Most open connections; a further one is refused with 503. 10,000.
    pub max_connections: usize,
    /// Most open connections from one address. 0, the default, means no limit per address.
    pub max_connections_per_client: usize,
    /// Most requests on one connection. 0, the default, means no limit.
    pub max_requests_per_connection: u64,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        EdgeOptions {
            limits: Limits::default(),
            client_head_timeout: Duration::from_secs(10),
            client_body_timeout: Duration::from_secs(30),
            client_write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            min_body_rate: 240,
            max_connections: 10_000,
            max_connections_per_client: 0,
            max_requests_per_connection: 0,
        }
    }
}

/// The largest request that is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the request line and all header lines. A larger head is refused with 431.
    pub head: u64,
    /// Bytes of the request target, where that limit is to be lower than the one for heads. A longer
    /// target is refused with 414.
    pub uri: u64,
    /// Header lines, at most [`MOST_HEADERS`]. A request with more is refused with 431.
    pub headers: usize,
    /// Bytes of a request body. A larger body is refused with 413.
    pub body: u64,
}

/// The highest limit on header lines. The `http` crate's map holds 32,768 at most.
pub const MOST_HEADERS: usize = 10_000;

impl Limits {
    /// Returns the number of header lines that are accepted: the configured one, or [`MOST_HEADERS`] if
    /// that is lower.
    pub(crate) fn headers(&self) -> usize {
        self.headers.min(MOST_HEADERS)
    }
}

impl Default for Limits {
    /// 16 KiB and 100 lines of head, 1 GiB of body.
    fn default() -> Self {
        Limits { head: 16 << 10, uri: u64::MAX, headers: 100, body: 1 << 30 }
    }
}

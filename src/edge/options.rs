//! What clients may do: the same for all edges, as far as each can tell.

use std::time::Duration;

/// What an edge allows its clients.
#[derive(Clone, Copy, Debug)]
pub struct EdgeOptions {
    /// What a request may hold.
    pub limits: Limits,
    /// How long a client may take for a whole head, from its first byte. 10 s.
    pub client_head_timeout: Duration,
    /// How long a client may pause within a request body. 30 s.
    pub client_body_timeout: Duration,
    /// How long a client may not take any byte of its reply. 30 s.
    pub client_write_timeout: Duration,
    /// How long a connection may wait for its next request. 60 s.
    pub idle_timeout: Duration,
    /// Bytes a second that a client must send of a body, or take of a reply, once it has been waited for
    /// so long as it may pause. 240; 0 for as slow as it likes.
    pub min_body_rate: u64,
    /// Connections at a time; a further one gets 503. 10,000.
    pub max_connections: usize,
    /// Connections from one address at a time. 0: as many as there may be.
    pub max_connections_per_client: usize,
    /// Requests on one connection. 0: any number.
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

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the request line and all header lines. More: 431.
    pub head: u64,
    /// Bytes of the request target, where it is to be shorter than a head may be. More: 414.
    pub uri: u64,
    /// Header lines, 10,000 at most. More: 431.
    pub headers: usize,
    /// Bytes of a request body. More: 413.
    pub body: u64,
}

/// The `http` crate's map takes no more than 32,768.
pub const MOST_HEADERS: usize = 10_000;

impl Limits {
    /// Header lines that are taken.
    pub fn headers(&self) -> usize {
        self.headers.min(MOST_HEADERS)
    }
}

impl Default for Limits {
    /// 16 KiB and 100 lines of head, 1 GiB of body.
    fn default() -> Self {
        Limits { head: 16 << 10, uri: u64::MAX, headers: 100, body: 1 << 30 }
    }
}

//! Step 1: the client's side. An edge accepts connections, reads request heads, and hands each
//! request on as an [`Exchange`]: one request that waits for its one reply. Nobody behind this seam
//! knows which edge a request came through.

pub mod head;
pub mod lifecycle;
mod options;
pub mod parked;
pub mod request_id;
mod socket;
pub mod tiny;
pub mod wire;

use crate::error::Refusal;
use head::Body;
use http::{StatusCode, request, response};
pub use options::Options;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Instant;
use wire::{End, Framing, RelayError, Scratch};

/// The client's end of one request: all that an edge supplies. It moves bytes; [`wire`] frames them.
pub trait Line: Send {
    /// Request body, without its framing. The first call sends `100 Continue` if the client waits
    /// for it. `Ok(0)` is the body's true end and stays so.
    ///
    /// # Errors
    /// A body that is cut short or comes too slowly fails with an error that wraps the [`Refusal`].
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Bytes of the body that were taken from the client before anybody asked for them.
    fn gathered(&self) -> u64 {
        0
    }

    /// May the connection serve another request after this one? Not if bytes of the body are
    /// unread, and not while the balancer is stopping.
    fn may_keep(&self) -> bool;

    /// Writes all of it, now. The first call ends reading.
    ///
    /// # Errors
    /// When the client is gone or takes nothing for too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The reply is over: what becomes of the connection?
    fn end(self: Box<Self>, end: End);

    /// A whole short reply of the balancer's own, also while body bytes are unread. `request` is the
    /// head as far as it could be believed. Never makes the caller wait for the client.
    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>);
}

/// One request waiting for its one reply. It is answered once, by
/// [`reply`](Exchange::reply) or [`refuse`](Exchange::refuse); dropped unanswered, on a panic say, it
/// answers 502.
pub struct Exchange {
    /// Method, target, version and headers, checked.
    pub head: request::Parts,
    /// How the body is delimited.
    pub body: Body,
    /// The client's address.
    pub peer: SocketAddr,
    /// When it was ready for a worker.
    pub arrived: Instant,
    gathered: u64,
    pulled: u64,
    touched: bool,
    body_limit: u64,
    line: Option<Box<dyn Line>>,
}

impl Exchange {
    /// A request whose head has been [checked](head::check).
    pub fn new(
        checked: (request::Parts, Body),
        peer: SocketAddr,
        body_limit: u64,
        line: Box<dyn Line>,
    ) -> Self {
        let (head, body) = checked;
        let (arrived, gathered, line) = (Instant::now(), line.gathered(), Some(line));
        Exchange { head, body, peer, arrived, gathered, pulled: 0, touched: false, body_limit, line }
    }

    /// Has nobody asked for the body yet, or is there none? Then it can be sent once more.
    pub fn body_untouched(&self) -> bool {
        !self.touched || self.body.is_empty()
    }

    /// Body bytes that have been taken from the client.
    pub fn received(&self) -> u64 {
        self.pulled.max(self.gathered)
    }

    /// Answers with the balancer's own words. Returns what that is, as it is recorded.
    pub fn refuse(&mut self, refusal: Refusal) -> (StatusCode, u64) {
        if let Some(line) = self.line.take() {
            line.refuse(refusal, Some(&self.head));
        }
        (refusal.status(), wire::refusal_bytes(refusal, Some(&self.head)))
    }

    /// Relays a reply; `length` is what the backend announced. Returns how many body bytes were relayed,
    /// and if they were not all, which side failed: the client's connection is visibly cut by then.
    pub fn reply(
        &mut self,
        reply: &response::Parts,
        length: Option<u64>,
        body: &mut dyn Read,
        scratch: &mut Scratch,
    ) -> (u64, Result<(), RelayError>) {
        let Some(line) = self.line.take() else { return (0, Ok(())) };
        let framing = Framing::of(&self.head, reply.status, length, line.may_keep());
        let mut open = Open(Some(line)); // from here on a panic means Abort
        let mut sent = 0;
        let outcome = match &mut open.0 {
            Some(line) => wire::relay(line.as_mut(), reply, framing, body, scratch, &mut sent),
            None => Ok(()),
        };
        if outcome.is_ok() {
            open.finish(framing.end());
        }
        (sent, outcome)
    }
}

/// The request body, lent to ureq.
impl Read for Exchange {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(line) = &mut self.line else { return Ok(0) };
        self.touched = true;
        let n = line.read(buf)?;
        self.pulled += n as u64;
        if self.pulled > self.body_limit {
            return Err(io::Error::other(Refusal::BodyTooLarge)); // a chunked one: the others are known
        }
        Ok(n)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.refuse(Refusal::BadGateway);
    }
}

/// A reply whose head may be out: there is no 502 any more.
struct Open(Option<Box<dyn Line>>);

impl Open {
    fn finish(mut self, end: End) {
        if let Some(line) = self.0.take() {
            line.end(end);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.end(End::Abort);
        }
    }
}

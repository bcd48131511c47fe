//! One request that waits for its one reply. Nothing behind this seam knows which edge a request came through.

use crate::edge::ClientStream;
use crate::edge::request_head::Body;
use crate::edge::response::{self, End, Framing, RelayError, Scratch};
use crate::error::Refusal;
use http::{StatusCode, request};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Instant;

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
    line: Option<Box<dyn ClientStream>>,
}

impl Exchange {
    /// A request whose head has been [checked](crate::edge::request_head::check).
    pub fn new(
        checked: (request::Parts, Body),
        peer: SocketAddr,
        body_limit: u64,
        line: Box<dyn ClientStream>,
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
        (refusal.status(), response::refusal_bytes(refusal, Some(&self.head)))
    }

    /// Relays a reply; `length` is what the backend announced. Returns how many body bytes were relayed,
    /// and if they were not all, which side failed: the client's connection is visibly cut by then.
    pub fn reply(
        &mut self,
        reply: &http::response::Parts,
        length: Option<u64>,
        body: &mut dyn Read,
        scratch: &mut Scratch,
    ) -> (u64, Result<(), RelayError>) {
        let Some(line) = self.line.take() else { return (0, Ok(())) };
        let framing = Framing::of(&self.head, reply.status, length, line.may_keep());
        let mut open = Open(Some(line)); // from here on a panic means Abort
        let mut sent = 0;
        let outcome = match &mut open.0 {
            Some(line) => response::relay(line.as_mut(), reply, framing, body, scratch, &mut sent),
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
struct Open(Option<Box<dyn ClientStream>>);

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

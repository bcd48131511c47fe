//! One request that awaits its one reply. The code behind it does not depend on which edge is in use.

use crate::edge::client_stream::ClientStream;
use crate::edge::framing::{AfterReply, Framing};
use crate::edge::relay::{self, RelayError, ReplyBuffers};
use crate::edge::request_head::Body;
use crate::edge::response;
use crate::error::Refusal;
use http::{StatusCode, request};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Instant;

/// One request that awaits its one reply. It is answered once, by [`reply`](Exchange::reply) or
/// [`refuse`](Exchange::refuse). If it is dropped without an answer, for instance by a panic, the client
/// gets 502.
pub struct Exchange {
    /// Method, target, version and headers, checked.
    pub head: request::Parts,
    /// How the body is delimited.
    pub body: Body,
    /// The client's address.
    pub peer: SocketAddr,
    /// When the request was ready for a worker.
    pub arrived: Instant,
    buffered_bytes: u64,
    read_bytes: u64,
    body_was_read: bool,
    body_limit: u64,
    /// `None` once the request has been answered.
    client: Option<Box<dyn ClientStream>>,
}

impl Exchange {
    /// Makes an exchange of a request whose head has been [checked](crate::edge::request_head::check).
    pub fn new(
        (head, body): (request::Parts, Body),
        peer: SocketAddr,
        body_limit: u64,
        client: Box<dyn ClientStream>,
    ) -> Self {
        Exchange {
            head,
            body,
            peer,
            arrived: Instant::now(),
            buffered_bytes: client.buffered(),
            read_bytes: 0,
            body_was_read: false,
            body_limit,
            client: Some(client),
        }
    }

    /// Returns whether the body is empty or none of it has been read yet, so that the request can be
    /// sent once more.
    pub fn body_untouched(&self) -> bool {
        !self.body_was_read || self.body.is_empty()
    }

    /// Returns how many body bytes have been received from the client.
    pub fn received(&self) -> u64 {
        self.read_bytes.max(self.buffered_bytes)
    }

    /// Answers with a reply of the balancer's own. Returns its status and body size, as recorded.
    pub fn refuse(&mut self, refusal: Refusal) -> (StatusCode, u64) {
        if let Some(client) = self.client.take() {
            client.refuse(refusal, Some(&self.head));
        }
        (refusal.status(), response::refusal_bytes(refusal, Some(&self.head)))
    }

    /// Relays a backend's reply; `length` is the body length that the backend announced. Returns how many
    /// body bytes were relayed and, if the relay failed, on which side. After a failure the client's
    /// connection has been cut, so that the client cannot take the reply for a whole one.
    pub fn reply(
        &mut self,
        reply: &http::response::Parts,
        length: Option<u64>,
        body: &mut dyn Read,
        buffers: &mut ReplyBuffers,
    ) -> (u64, Result<(), RelayError>) {
        let Some(client) = self.client.take() else { return (0, Ok(())) };
        let framing = Framing::new(&self.head, reply.status, length, client.may_keep_alive());
        let mut started = StartedReply(Some(client)); // from here on a panic cuts the connection
        let mut sent = 0;
        let outcome = match &mut started.0 {
            Some(client) => relay::relay(client.as_mut(), reply, framing, body, buffers, &mut sent),
            None => Ok(()),
        };
        if outcome.is_ok() {
            started.finish(framing.after_reply());
        }
        (sent, outcome)
    }
}

/// Reads the request body.
impl Read for Exchange {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(client) = &mut self.client else { return Ok(0) };
        self.body_was_read = true;
        let n = client.read(buf)?;
        self.read_bytes += n as u64;
        if self.read_bytes > self.body_limit {
            // Only a chunked body gets here: a Content-Length is checked with the head.
            return Err(io::Error::other(Refusal::BodyTooLarge));
        }
        Ok(n)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.refuse(Refusal::BadGateway);
    }
}

/// A reply whose head may have been sent, so that a 502 is no longer possible. Unless it is finished,
/// its drop cuts the connection.
struct StartedReply(Option<Box<dyn ClientStream>>);

impl StartedReply {
    fn finish(mut self, after: AfterReply) {
        if let Some(client) = self.0.take() {
            client.finish(after);
        }
    }
}

impl Drop for StartedReply {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            client.finish(AfterReply::Abort);
        }
    }
}

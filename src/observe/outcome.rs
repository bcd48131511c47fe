//! The record of one request that has ended.

use crate::backend::instance::Backend;
use crate::edge::exchange::Exchange;
use crate::edge::response::refusal_bytes;
use crate::error::Refusal;
use crate::observe::ended::Ended;
use http::{StatusCode, request};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The record of one request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The request's head, or `None` where it could not be trusted.
    pub head: Option<&'a request::Parts>,
    /// The client's address.
    pub peer: SocketAddr,
    /// How the request ended.
    pub ended: Ended,
    /// The status that was sent.
    pub status: StatusCode,
    /// The reason why the balancer refused the request, or `None`.
    pub refusal: Option<Refusal>,
    /// Body bytes of the request that were read from the client.
    pub received: u64,
    /// Body bytes of the reply.
    pub bytes: u64,
    /// The backend that was tried last.
    pub backend: Option<&'a Backend>,
    /// The number of backends that were tried.
    pub tries: u32,
    /// The time that the request waited for a worker, or `None` if it never was in the queue.
    pub queued: Option<Duration>,
    /// The time from the beginning of the last try to the head of its reply, or to its failure.
    pub upstream: Duration,
    /// The time from when the request was ready for a worker to the end of its reply.
    pub total: Duration,
}

impl<'a> Outcome<'a> {
    /// Returns the outcome of a request that was refused before a worker took it.
    pub fn refused(
        head: Option<&'a request::Parts>,
        peer: SocketAddr,
        arrived: Instant,
        refusal: Refusal,
    ) -> Self {
        let total = arrived.elapsed();
        Outcome {
            head,
            peer,
            ended: refusal.into(),
            status: refusal.status(),
            refusal: Some(refusal),
            received: 0,
            bytes: refusal_bytes(refusal, head),
            backend: None,
            tries: 0,
            queued: (refusal == Refusal::QueuedTooLong).then_some(total),
            upstream: Duration::ZERO,
            total,
        }
    }

    /// Returns the outcome of an exchange that was refused before a worker took it.
    pub fn of_refused(exchange: &'a Exchange, refusal: Refusal) -> Self {
        let refused = Outcome::refused(Some(&exchange.head), exchange.peer, exchange.arrived, refusal);
        Outcome { received: exchange.received(), ..refused }
    }
}

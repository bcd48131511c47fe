//! The limits, counters and flags that the edge's threads and connections share.

use crate::edge::options::EdgeOptions;
use crate::edge::parked::buffer_budget::BufferBudget;
use crate::edge::parked::semaphore::Semaphore;
use crate::edge::parked::slow_client::SlowClientPolicy;
use crate::queue::sender::CongestionSignal;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Connections beyond the limit that are refused with a reply at a time; further ones are closed at once.
pub const REFUSED_CONNECTIONS: usize = 64;

/// The shared limits, counters and flags of a parked edge.
pub struct ParkedState {
    /// The configured limits and timeouts.
    pub options: EdgeOptions,
    /// A permit for each connection that may be open.
    pub connections: Semaphore,
    /// A permit for each connection that may be refused with a reply at a time.
    pub refused_connections: Semaphore,
    /// Bytes of request bodies that may be buffered.
    pub buffer_budget: BufferBudget,
    /// A permit for each worker that may wait for a slow client.
    pub slow_client_permits: Semaphore,
    /// Whether requests have to wait long for a worker.
    pub congestion: CongestionSignal,
    /// The policy for slow uploads.
    pub upload_policy: SlowClientPolicy,
    /// The policy for clients that read their reply slowly.
    pub reply_policy: SlowClientPolicy,
    /// Clients that were cut off because no permit to wait for them was left.
    pub cut_off: AtomicUsize,
    /// Requests whose head has arrived and whose reply is not complete.
    pub requests: AtomicUsize,
    /// Set once replies carry `Connection: close`.
    pub stopping: AtomicBool,
    /// Set once nothing more is accepted and idle connections are closed.
    pub draining: AtomicBool,
    /// Set once all waits have to end.
    pub finished: AtomicBool,
}

impl ParkedState {
    /// Creates the state of an edge that serves, with all permits available.
    pub fn new(options: EdgeOptions, slow_client_permits: usize, congestion: CongestionSignal) -> Self {
        let min_rate = options.min_body_rate;
        ParkedState {
            connections: Semaphore::new(options.max_connections),
            refused_connections: Semaphore::new(REFUSED_CONNECTIONS),
            buffer_budget: BufferBudget::new(),
            slow_client_permits: Semaphore::new(slow_client_permits),
            congestion,
            upload_policy: SlowClientPolicy { max_pause: options.client_body_timeout, min_rate },
            reply_policy: SlowClientPolicy { max_pause: options.client_write_timeout, min_rate },
            options,
            cut_off: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }
}

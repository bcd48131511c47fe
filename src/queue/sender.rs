//! The edges' end of the queue.

use crate::edge::exchange::Exchange;
use crate::error::Refusal;
use crate::observe::recorder::Recorder;
use crate::queue::state::QueueState;
use crossbeam_channel::Sender;
use std::sync::Arc;

/// An edge's end of the queue, which offers requests to it. The queue closes when the last clone is dropped.
#[derive(Clone)]
pub struct JobSender {
    jobs: Sender<Exchange>,
    state: Arc<QueueState>,
    recorder: Arc<Recorder>,
    _open: Sender<()>,
}

impl JobSender {
    /// Returns the sender of a queue. The monitor detects by the end of `open` that no sender is left.
    pub(super) fn new(
        jobs: Sender<Exchange>,
        state: Arc<QueueState>,
        recorder: Arc<Recorder>,
        open: Sender<()>,
    ) -> Self {
        JobSender { jobs, state, recorder, _open: open }
    }

    /// Puts a request into the queue, or answers 503 where there is no room. Never blocks.
    pub fn offer(&self, exchange: Exchange) {
        match self.state.push(&self.jobs, exchange) {
            None => self.state.wake_monitor_if_behind(self.jobs.len()),
            Some(exchange) => self.recorder.refuse(exchange, Refusal::QueueFull),
        }
    }

    /// Returns a view of the queue's length and congestion.
    pub fn congestion(&self) -> CongestionSignal {
        CongestionSignal(Arc::clone(&self.state))
    }

    /// Returns the recorder for requests that an edge refuses before they reach the queue.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

/// A view of the queue for threads that neither offer nor take requests.
#[derive(Clone)]
pub struct CongestionSignal(Arc<QueueState>);

impl CongestionSignal {
    /// Returns whether the queue is congested: the request at its head has waited for a quarter of a second.
    pub fn is_on(&self) -> bool {
        self.0.is_congested()
    }

    /// Returns how many requests wait for a worker.
    pub fn depth(&self) -> usize {
        self.0.depth()
    }
}

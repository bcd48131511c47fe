//! The thread that watches the queue while requests wait in it.

use crate::edge::exchange::Exchange;
use crate::error::Refusal;
use crate::observe::recorder::Recorder;
use crate::queue::options::STUCK_AFTER;
use crate::queue::state::QueueState;
use crossbeam_channel::{Receiver, Sender, select};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The time between two checks while all workers are active, so that requests can only expire.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(10);

/// A head of the queue that has waited for this long turns the congestion signal on.
const CONGESTED: Duration = Duration::from_millis(250);

/// Wakes reserve workers when the core is blocked, and refuses requests that have waited for too long even
/// when no worker is free to do so.
pub struct QueueMonitor {
    pub(super) waiting: Receiver<Exchange>,
    pub(super) state: Arc<QueueState>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) woken: Receiver<()>,
    pub(super) closed: Receiver<()>,
    pub(super) reserve_wake_up: Sender<()>,
    /// A way back into the channel while senders exist. Workers end once it is gone and the queue is empty.
    pub(super) keep_open: Option<Sender<Exchange>>,
}

impl QueueMonitor {
    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            select! {
                recv(self.woken) -> _ => self.watch(),
                recv(self.closed) -> _ => {
                    self.keep_open = None;
                    self.watch(); // reserve workers may still be needed
                    return;
                }
            }
        }
    }

    /// Watches the queue until it is empty.
    fn watch(&self) {
        self.state.set_monitor_active(true);
        let mut pause = STUCK_AFTER;
        let mut seen = self.state.taken();
        loop {
            thread::sleep(pause);
            self.refuse_expired();
            if let Some(jobs) = &self.keep_open {
                self.state.requeue_returned(jobs);
            }
            self.state.set_congested(self.state.head_waited() >= CONGESTED);
            let taken = self.state.taken();
            let stuck = taken == seen;
            seen = taken;
            pause = if stuck && !self.wake_reserve(self.length()) { EXPIRY_INTERVAL } else { STUCK_AFTER };
            if self.length() == 0 {
                self.state.set_monitor_active(false);
                // A request that was offered just before did not wake the monitor.
                if self.length() == 0 {
                    self.state.set_congested(false);
                    return;
                }
                self.state.set_monitor_active(true);
            }
        }
    }

    fn length(&self) -> usize {
        self.waiting.len() + self.state.returned()
    }

    /// Wakes one reserve worker for each waiting request. Returns false if all of them are awake already.
    fn wake_reserve(&self, requests: usize) -> bool {
        let woken = (0..requests).take_while(|_| self.reserve_wake_up.try_send(()).is_ok()).count();
        woken > 0 || requests == 0
    }

    fn refuse_expired(&self) {
        while let Some(exchange) = self.state.pop_expired_returned() {
            self.recorder.refuse(exchange, Refusal::QueuedTooLong);
        }
        while !self.waiting.is_empty() && self.state.head_waited() >= self.state.timeout() {
            let Ok(exchange) = self.waiting.try_recv() else { return };
            self.state.count_taken();
            self.refuse_or_give_back(exchange);
        }
    }

    /// Refuses a request that was taken from the head of the queue if it has expired, or else gives it back. A worker may
    /// have taken the expired one a moment earlier; this one is then served before all others.
    pub(super) fn refuse_or_give_back(&self, exchange: Exchange) {
        if exchange.arrived.elapsed() < self.state.timeout() {
            self.state.give_back(exchange);
        } else {
            self.recorder.refuse(exchange, Refusal::QueuedTooLong);
        }
    }
}

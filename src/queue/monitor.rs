//! The thread that watches the queue while requests wait in it.

use super::{Inlet, PATIENCE, QueueState};
use crate::edge::Exchange;
use crate::error::Refusal;
use crate::observe::Recorder;
use crossbeam_channel::{Receiver, Sender, select};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

/// How often it looks when all workers are at work already and requests can only expire.
const GLANCE: Duration = Duration::from_millis(10);

/// A request that has waited so long makes everybody hurry.
const LONG: Duration = Duration::from_millis(250);

/// Calls the reserve when the core is stuck, and refuses what has waited for too long even if no
/// worker is free to do so.
pub struct QueueMonitor {
    pub(super) jobs: Receiver<Exchange>,
    pub(super) state: Arc<QueueState>,
    pub(super) rung: Receiver<()>,
    pub(super) closed: Receiver<()>,
    pub(super) call: Sender<()>,
    pub(super) recorder: Arc<Recorder>,
    /// A way back into the queue.
    pub(super) jobs_back: Option<Inlet>,
}

impl QueueMonitor {
    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            select! {
                recv(self.rung) -> _ => self.watch(),
                recv(self.closed) -> _ => {
                    self.jobs_back = None; // the last sender: workers end once the queue is empty
                    self.watch(); // until then they may be needed
                    return;
                }
            }
        }
    }

    /// Watches the queue until it is empty.
    fn watch(&self) {
        self.state.watched.store(true, SeqCst);
        let mut pause = PATIENCE;
        let mut seen = self.state.taken.load(Relaxed);
        loop {
            thread::sleep(pause);
            self.refuse_expired();
            self.state.congested.store(self.state.head_waited() >= LONG, Relaxed);
            let taken = self.state.taken.load(Relaxed);
            let stuck = taken == seen;
            seen = taken;
            pause = if stuck && !self.call_reserve(self.jobs.len()) { GLANCE } else { PATIENCE };
            if self.jobs.is_empty() {
                self.state.watched.store(false, SeqCst);
                // One that came just before the bell was live jobs_back would find nobody.
                if self.jobs.is_empty() {
                    self.state.congested.store(false, Relaxed);
                    return;
                }
                self.state.watched.store(true, SeqCst);
            }
        }
    }

    /// Calls one reserve worker for each of so many requests. False if nobody was at home.
    fn call_reserve(&self, requests: usize) -> bool {
        let called = (0..requests).take_while(|_| self.call.try_send(()).is_ok()).count();
        called > 0 || requests == 0
    }

    fn refuse_expired(&self) {
        while !self.jobs.is_empty() && self.state.head_waited() >= self.state.timeout {
            let Ok(exchange) = self.jobs.try_recv() else { return };
            self.state.taken.fetch_add(1, Relaxed);
            match &self.jobs_back {
                // Another one than was looked at: it loses its place, but nothing else.
                Some(inlet) if exchange.arrived.elapsed() < self.state.timeout => inlet.offer(exchange),
                _ => self.recorder.turn_away(exchange, Refusal::QueuedTooLong),
            }
        }
    }
}

/// How many requests wait, and whether they have to for long, seen from elsewhere.
pub struct CongestionSignal(pub(super) Arc<QueueState>);

impl CongestionSignal {
    /// Has the next one waited for a quarter of a second already?
    pub fn is_on(&self) -> bool {
        self.0.congested.load(Relaxed)
    }

    /// How many requests wait for a worker.
    pub fn depth(&self) -> usize {
        let pushed = *self.0.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        pushed.saturating_sub(self.0.taken.load(Relaxed)) // one is taken a moment before it is counted
    }
}

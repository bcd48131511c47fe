//! The state that senders, receivers and the monitor of one queue share.

use crate::edge::exchange::Exchange;
use crate::queue::options::QueueOptions;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The counters and signals of one queue.
pub struct QueueState {
    opened: Instant,
    timeout: Duration,
    /// Receivers that wait at the channel.
    idle_receivers: AtomicUsize,
    /// The number of requests put in since the start.
    pushed: Mutex<usize>,
    /// The number of requests taken out since the start.
    taken: AtomicUsize,
    /// When each waiting request was put in, in microseconds after `opened`, by its number.
    stamps: Box<[AtomicU64]>,
    /// Requests that the monitor took out too early. Receivers take these first.
    returned: Mutex<VecDeque<Exchange>>,
    /// The length of `returned`, so that receivers take its lock only where it holds a request.
    returned_count: AtomicUsize,
    /// Whether the monitor is active and need not be woken.
    monitor_active: AtomicBool,
    congested: AtomicBool,
    monitor_wake_up: Sender<()>,
}

impl QueueState {
    /// Returns the state of an empty queue.
    pub fn new(options: QueueOptions, monitor_wake_up: Sender<()>) -> Self {
        QueueState {
            opened: Instant::now(),
            timeout: options.timeout,
            idle_receivers: AtomicUsize::new(0),
            pushed: Mutex::new(0),
            taken: AtomicUsize::new(0),
            stamps: (0..options.capacity).map(|_| AtomicU64::new(0)).collect(),
            returned: Mutex::default(),
            returned_count: AtomicUsize::new(0),
            monitor_active: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            monitor_wake_up,
        }
    }

    /// Returns the longest time that a request may wait.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Puts a request in and notes when, or gives it back where there is no room. Receivers
    /// never take this lock.
    pub fn push(&self, jobs: &Sender<Exchange>, exchange: Exchange) -> Option<Exchange> {
        let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.try_send(exchange);
        if sent.is_ok() {
            let stamp = self.opened.elapsed().as_micros() as u64;
            self.stamps[*pushed % self.stamps.len()].store(stamp, Relaxed);
            *pushed += 1;
        }
        sent.err().map(TrySendError::into_inner)
    }

    /// Takes a waiting request, or `None` where there is none. Never waits for a request.
    pub fn pop(&self, waiting: &Receiver<Exchange>) -> Option<Exchange> {
        if let Some(exchange) = self.pop_returned() {
            return Some(exchange);
        }
        let exchange = waiting.try_recv().ok()?;
        self.count_taken();
        Some(exchange)
    }

    /// Notes that a request was taken from the channel.
    pub fn count_taken(&self) {
        self.taken.fetch_add(1, Relaxed);
    }

    /// Returns how many requests have been taken from the channel since the start.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Puts a request back that was taken out too early. Receivers take it before those in the channel, whether or not
    /// the queue is full.
    pub fn give_back(&self, exchange: Exchange) {
        let mut returned = self.lock_returned();
        returned.push_back(exchange);
        self.returned_count.store(returned.len(), SeqCst);
    }

    /// Returns how many requests were given back and not taken again.
    pub fn returned(&self) -> usize {
        self.returned_count.load(SeqCst)
    }

    /// Takes the oldest request that was given back if it has expired by now.
    pub fn pop_expired_returned(&self) -> Option<Exchange> {
        let mut returned = self.lock_returned();
        returned.front().filter(|exchange| exchange.arrived.elapsed() >= self.timeout)?;
        let exchange = returned.pop_front();
        self.returned_count.store(returned.len(), SeqCst);
        exchange
    }

    /// Moves a request that was given back to the end of the channel while a receiver already waits there.
    pub fn requeue_returned(&self, jobs: &Sender<Exchange>) {
        if self.idle_receivers.load(SeqCst) > 0
            && let Some(exchange) = self.pop_returned()
            && let Some(exchange) = self.push(jobs, exchange)
        {
            self.give_back(exchange); // full again: the receiver that comes for the others takes it first
        }
    }

    /// Takes the oldest request that was given back. Where there is none, it takes no lock.
    fn pop_returned(&self) -> Option<Exchange> {
        if self.returned() == 0 {
            return None;
        }
        let mut returned = self.lock_returned();
        let exchange = returned.pop_front();
        self.returned_count.store(returned.len(), SeqCst);
        exchange
    }

    fn lock_returned(&self) -> MutexGuard<'_, VecDeque<Exchange>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many requests wait for a worker.
    pub fn depth(&self) -> usize {
        let pushed = *self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        pushed.saturating_sub(self.taken()) + self.returned() // one is taken a moment before it is counted
    }

    /// Returns how long the request at the head of the channel has waited. A receiver may take it meanwhile, so that the
    /// head is another request by the time of the return.
    pub fn head_waited(&self) -> Duration {
        let pushed = *self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.taken();
        let stamp = self.stamps[number % self.stamps.len()].load(Relaxed);
        let waited = self.opened.elapsed().saturating_sub(Duration::from_micros(stamp));
        if pushed > number { waited } else { Duration::ZERO }
    }

    /// Runs `wait` while this receiver counts as one that waits at the channel.
    pub fn while_idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.idle_receivers.fetch_add(1, SeqCst);
        let outcome = wait();
        self.idle_receivers.fetch_sub(1, SeqCst);
        outcome
    }

    /// Wakes the monitor if more requests wait than receivers.
    pub fn wake_monitor_if_behind(&self, requests: usize) {
        if requests > self.idle_receivers.load(SeqCst) && !self.monitor_active.load(SeqCst) {
            let _ = self.monitor_wake_up.try_send(()); // full: it has been woken already
        }
    }

    /// Notes whether the monitor is active.
    pub fn set_monitor_active(&self, active: bool) {
        self.monitor_active.store(active, SeqCst);
    }

    /// Returns whether requests have to wait for long.
    pub fn is_congested(&self) -> bool {
        self.congested.load(Relaxed)
    }

    /// Notes whether requests have to wait for long.
    pub fn set_congested(&self, congested: bool) {
        self.congested.store(congested, Relaxed);
    }
}

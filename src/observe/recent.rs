//! The most recent requests, for the live page and `turnwheel top`.
//!
//! A thread that ends a request sends it to a bounded channel and goes on; a reader moves what the channel holds into the list.
//! Under load only a sample is kept, and at a low rate every request.

use super::ended::Ended;
use super::worker_status::MAX_PATH;
use crate::observe::outcome::Outcome;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The length of the list.
const CAPACITY: usize = 32;

/// The mean interval between two requests that are kept, in microseconds. A viewer cannot read more, and each costs its worker
/// a few allocations.
const INTERVAL: u64 = 20_000;

/// The capacity of the channel: a burst, and the requests of more than a second, which is how often it is emptied.
const PENDING: usize = 128;

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct RecentRequest {
    /// Its number among the requests that were kept, from 1.
    pub number: u64,
    /// When it ended.
    pub ended_at: Instant,
    /// Its method, or `None` if its head was invalid.
    pub method: Option<String>,
    /// Its path without the query, or `None` if its head was invalid.
    pub path: Option<String>,
    /// The backend that was chosen last.
    pub backend: Option<String>,
    /// The status that was sent.
    pub status: u16,
    /// How it ended.
    pub ended: Ended,
    /// The time from when it was ready for a worker to its end, in seconds.
    pub seconds: f64,
    /// The number of backends that were tried.
    pub tries: u32,
}

/// The list of the most recent requests.
#[derive(Debug)]
pub struct RecentRequests {
    opened: Instant,
    /// The time from which the next request is kept if they arrive evenly, in microseconds since `opened`. A burst may run
    /// [`CAPACITY`] intervals ahead of the clock.
    next: AtomicU64,
    sender: Sender<RecentRequest>,
    receiver: Receiver<RecentRequest>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    newest: u64,
    requests: VecDeque<RecentRequest>,
}

impl Default for RecentRequests {
    fn default() -> Self {
        let (sender, receiver) = bounded(PENDING);
        RecentRequests {
            opened: Instant::now(),
            next: AtomicU64::new(0),
            sender,
            receiver,
            list: Mutex::default(),
        }
    }
}

impl RecentRequests {
    /// Keeps a request that has ended, unless many are kept already. It never blocks.
    pub fn record(&self, outcome: &Outcome<'_>) {
        let now = self.opened.elapsed().as_micros() as u64;
        let next = self.next.load(Relaxed);
        if next <= now + CAPACITY as u64 * INTERVAL {
            // Two threads that get here together advance the time once, so that one more request is kept.
            self.next.store(next.max(now) + INTERVAL, Relaxed);
            let _ = self.sender.try_send(RecentRequest::new(outcome)); // full: the channel was not emptied in time
        }
    }

    /// Empties the channel into the list. It must be called at least once a second.
    pub fn collect(&self) {
        drop(self.updated());
    }

    /// Returns the list, the newest request last.
    pub fn list(&self) -> Vec<RecentRequest> {
        self.updated().requests.iter().cloned().collect()
    }

    /// Returns the list after the channel has been emptied into it.
    fn updated(&self) -> MutexGuard<'_, List> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        self.receiver.try_iter().for_each(|request| list.push(request));
        list
    }
}

impl List {
    fn push(&mut self, request: RecentRequest) {
        self.newest += 1;
        if self.requests.len() == CAPACITY {
            self.requests.pop_front();
        }
        self.requests.push_back(RecentRequest { number: self.newest, ..request });
    }
}

impl RecentRequest {
    fn new(outcome: &Outcome<'_>) -> Self {
        RecentRequest {
            number: 0, // the list assigns it
            ended_at: Instant::now(),
            method: outcome.head.map(|head| head.method.to_string()),
            path: outcome.head.map(|head| head.uri.path().chars().take(MAX_PATH).collect()),
            backend: outcome.backend.map(|backend| backend.authority().to_string()),
            status: outcome.status.as_u16(),
            ended: outcome.ended,
            seconds: outcome.total.as_secs_f64(),
            tries: outcome.tries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn note(recent: &RecentRequests, times: usize) {
        for _ in 0..times {
            let peer = ([127, 0, 0, 1], 1).into();
            recent.record(&Outcome::refused(None, peer, Instant::now(), Refusal::QueueFull));
        }
    }

    #[test]
    fn keeps_and_numbers_the_last_requests() {
        let recent = RecentRequests::default();
        note(&recent, 3);
        let all = recent.list();
        assert_eq!(all.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3]);
        let last = &all[2];
        assert_eq!((last.status, last.ended, last.tries), (503, Ended::Rejected, 0));
        assert_eq!((&last.method, &last.backend), (&None, &None));
    }

    #[test]
    fn keeps_a_sample_under_load() {
        let recent = RecentRequests::default();
        let began = Instant::now();
        for _ in 0..1000 {
            note(&recent, 100);
            recent.collect();
        }
        let most = CAPACITY as u64 + 2 + began.elapsed().as_micros() as u64 / INTERVAL;
        let all = recent.list();
        assert_eq!(all.len(), CAPACITY);
        assert!(
            (CAPACITY as u64..=most).contains(&all[CAPACITY - 1].number),
            "{} of {most}",
            all[CAPACITY - 1].number
        );
    }

    #[test]
    fn a_reader_neither_blocks_writers_nor_loses_requests() {
        let recent = RecentRequests::default();
        let reading = recent.updated();
        std::thread::scope(|scope| {
            (0..8).for_each(|_| _ = scope.spawn(|| note(&recent, 2)));
        });
        drop(reading);
        assert_eq!(recent.list().len(), 16);
    }

    #[test]
    fn memory_is_bounded_without_a_reader() {
        let recent = RecentRequests::default();
        for _ in 0..3 * PENDING {
            recent.next.store(0, Relaxed);
            note(&recent, 1);
        }
        assert_eq!(recent.receiver.len(), PENDING);
        assert_eq!(recent.list().len(), CAPACITY);
    }
}

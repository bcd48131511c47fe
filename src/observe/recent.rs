//! The requests that ended last, for those who watch: so that four of them are seen one by one.

use super::ended::Ended;
use super::worker_status::PATH;
use crate::observe::outcome::Outcome;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many are kept.
const KEPT: usize = 32;

/// Of many requests one each 20 ms is kept. Nobody could read more, and workers have better things to do.
const SPACING: u64 = 20_000;

/// So many may be handed in before somebody looks: a burst, and those of more than a second.
const HANDED_IN: usize = 128;

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct RecentRequest {
    /// Counts up from 1, over those that were kept.
    pub number: u64,
    /// When it ended.
    pub ended_at: Instant,
    /// Its method; nothing if its head could not be believed, as with the path.
    pub method: Option<String>,
    /// Its path, without the query.
    pub path: Option<String>,
    /// The name of the backend that was chosen last.
    pub backend: Option<String>,
    /// The status that was sent.
    pub status: u16,
    /// How it ended.
    pub ended: Ended,
    /// From when it was ready for a worker to its end, in seconds.
    pub seconds: f64,
    /// Backends that were tried.
    pub tries: u32,
}

/// The last requests. Whoever ends one hands it in and goes on; whoever looks puts the list together.
#[derive(Debug)]
pub struct Recent {
    opened: Instant,
    /// When one more may be kept, in microseconds, if they come evenly. A burst may run ahead of it.
    next: AtomicU64,
    hand_in: Sender<RecentRequest>,
    handed_in: Receiver<RecentRequest>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    number: u64,
    requests: VecDeque<RecentRequest>,
}

impl Default for Recent {
    fn default() -> Self {
        let (hand_in, handed_in) = bounded(HANDED_IN);
        let (next, kept) = (AtomicU64::new(0), Mutex::default());
        Recent { opened: Instant::now(), next, hand_in, handed_in, kept }
    }
}

impl Recent {
    /// Keeps it, unless there are many. Nobody waits here.
    pub fn note(&self, outcome: &Outcome<'_>) {
        let now = self.opened.elapsed().as_micros() as u64;
        let next = self.next.load(Relaxed);
        if next <= now + KEPT as u64 * SPACING {
            // Two who are here at once count as one: then one more is kept.
            self.next.store(next.max(now) + SPACING, Relaxed);
            let _ = self.hand_in.try_send(RecentRequest::of(outcome)); // full: nobody has looked for long
        }
    }

    /// Puts those that have been handed in on the list. It has to be done each second at least.
    pub fn gather(&self) {
        drop(self.gathered());
    }

    /// Those that there are, the newest last.
    pub fn all(&self) -> Vec<RecentRequest> {
        self.gathered().requests.iter().cloned().collect()
    }

    fn gathered(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.handed_in.try_iter().for_each(|request| kept.keep(request));
        kept
    }
}

impl Kept {
    fn keep(&mut self, request: RecentRequest) {
        self.number += 1;
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(RecentRequest { number: self.number, ..request });
    }
}

impl RecentRequest {
    fn of(outcome: &Outcome<'_>) -> Self {
        RecentRequest {
            number: 0, // it gets one when it is kept
            ended_at: Instant::now(),
            method: outcome.head.map(|head| head.method.to_string()),
            path: outcome.head.map(|head| head.uri.path().chars().take(PATH).collect()),
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

    fn note(recent: &Recent, times: usize) {
        for _ in 0..times {
            let peer = ([127, 0, 0, 1], 1).into();
            recent.note(&Outcome::refused(None, peer, Instant::now(), Refusal::QueueFull));
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_numbered() {
        let recent = Recent::default();
        note(&recent, 3);
        let all = recent.all();
        assert_eq!(all.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3]);
        let last = &all[2];
        assert_eq!((last.status, last.ended, last.tries), (503, Ended::Rejected, 0));
        assert_eq!((&last.method, &last.backend), (&None, &None));
    }

    #[test]
    fn of_a_flood_only_the_first_are_kept_and_later_one_each_spacing() {
        let recent = Recent::default();
        let began = Instant::now();
        for _ in 0..1000 {
            note(&recent, 100);
            recent.gather();
        }
        let most = KEPT as u64 + 2 + began.elapsed().as_micros() as u64 / SPACING;
        let all = recent.all();
        assert_eq!(all.len(), KEPT);
        assert!((KEPT as u64..=most).contains(&all[KEPT - 1].number), "{} of {most}", all[KEPT - 1].number);
    }

    #[test]
    fn nobody_waits_while_somebody_looks_and_nothing_is_lost() {
        let recent = Recent::default();
        let looking = recent.gathered();
        std::thread::scope(|scope| {
            (0..8).for_each(|_| _ = scope.spawn(|| note(&recent, 2)));
        });
        drop(looking);
        assert_eq!(recent.all().len(), 16);
    }

    #[test]
    fn what_nobody_looks_at_takes_no_room() {
        let recent = Recent::default();
        for _ in 0..3 * HANDED_IN {
            recent.next.store(0, Relaxed);
            note(&recent, 1);
        }
        assert_eq!(recent.handed_in.len(), HANDED_IN);
        assert_eq!(recent.all().len(), KEPT);
    }
}

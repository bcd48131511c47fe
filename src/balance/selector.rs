//! Step 4: the strategy selects the first backend of a request; after a failed try, the others take turns.
//! [`candidates`](super::candidates) decides which may be selected at all.

use crate::backend::instance::{Backend, InFlight};
use crate::backend::limit::{self, InFlightLimit};
use crate::backend::waiting_queue::{QueuePosition, WaitOutcome, WaitingQueue};
use crate::balance::affinity::session::Affinity;
use crate::balance::candidates::{Eligible, SelectionOptions, eligible, to_candidates};
use crate::balance::rotation::SecondChoice;
use crate::balance::strategy::{ClientKey, Strategy};
use crate::error::Refusal;
use http::HeaderMap;
use std::sync::Arc;
use std::time::Instant;

/// The backends, and the rules that select among them.
pub struct Selector {
    /// All backends.
    pub backends: Vec<Arc<Backend>>,
    /// Makes the first choice of each request.
    pub strategy: Arc<dyn Strategy>,
    /// Keeps clients on their backend; `None` without sticky sessions.
    pub affinity: Option<Affinity>,
    /// The rules by which backends may be selected.
    pub options: SelectionOptions,
    /// The queue in which requests wait while all eligible backends are at their limit.
    pub queue: Arc<WaitingQueue>,
    /// Makes the choices after a failed try.
    pub second: SecondChoice,
}

impl Selector {
    /// Begins the selection for one request, which tries each backend at most once. All selections together wait until
    /// the deadline at most for a backend below its limit.
    pub fn attempts(&self, client: ClientKey, headers: &HeaderMap, deadline: Instant) -> Attempts<'_> {
        let named = self.affinity.as_ref().and_then(|affinity| affinity.backend_of(headers));
        Attempts { selector: self, client, named, deadline, tried: Vec::new() }
    }
}

/// The backends that one request tries.
pub struct Attempts<'a> {
    selector: &'a Selector,
    client: ClientKey,
    /// The index of the backend that the request's cookie names.
    named: Option<usize>,
    deadline: Instant,
    tried: Vec<usize>,
}

impl<'a> Attempts<'a> {
    /// Returns the backend to try next, with a slot acquired, or `None` once all have been tried.
    ///
    /// # Errors
    /// When all backends stayed at their limit until the deadline.
    pub fn next_backend(&mut self) -> Result<Option<InFlight<'a>>, Refusal> {
        let Selector { backends, options, queue, .. } = self.selector;
        let mut position = queue.position();
        loop {
            let now = Instant::now();
            let eligible = eligible(backends, &self.tried, options.fail_open, now);
            if eligible.is_empty() {
                return Ok(None);
            }
            if let Some(in_flight) = self.try_acquire(&eligible, now) {
                return Ok(Some(in_flight));
            }
            match self.wait(&eligible, &mut position, self.deadline) {
                WaitOutcome::Acquired(index) => {
                    self.tried.push(index);
                    return Ok(Some(backends[index].in_flight_guard()));
                }
                WaitOutcome::Changed => {}
                WaitOutcome::TimedOut => return Err(Refusal::AllFull),
            }
        }
    }

    /// Returns whether there is a backend left to try.
    pub fn has_next(&self) -> bool {
        let Selector { backends, options, .. } = self.selector;
        !eligible(backends, &self.tried, options.fail_open, Instant::now()).is_empty()
    }

    /// Sets the affinity cookie in a reply of this backend, where affinity is on and the request did not name it.
    pub fn set_cookie(&self, backend: &Backend, reply: &mut HeaderMap) {
        if let Some(affinity) = &self.selector.affinity {
            affinity.set_cookie(self.named, backend, reply);
        }
    }

    /// Acquires a slot of the selected backend or, if it is at its limit, of the next backend with a free slot. Returns
    /// `None` if all are at their limit.
    fn try_acquire(&mut self, eligible: &[Eligible], now: Instant) -> Option<InFlight<'a>> {
        let mut left = eligible.to_vec();
        let first = if self.tried.is_empty() { self.first(&left, now) } else { self.turn(&left) };
        let mut choice = left.remove(first);
        loop {
            if let Some(in_flight) = self.selector.backends[choice.index].try_acquire(choice.limit()) {
                self.tried.push(choice.index);
                return Some(in_flight);
            }
            if left.is_empty() {
                return None;
            }
            choice = left.remove(self.turn(&left));
        }
    }

    /// Waits for a slot while all are at their limit. The index in the outcome is that of the backend.
    fn wait(&self, eligible: &[Eligible], position: &mut QueuePosition, deadline: Instant) -> WaitOutcome {
        // A backend on trial has a lower limit, which waiting would ignore.
        let accepted: Vec<usize> = eligible.iter().filter(|one| !one.on_trial).map(|one| one.index).collect();
        let limits: Vec<&InFlightLimit> =
            accepted.iter().map(|&index| self.selector.backends[index].limit()).collect();
        match limit::wait(&self.selector.queue, position, &limits, deadline) {
            WaitOutcome::Acquired(at) => WaitOutcome::Acquired(accepted[at]),
            outcome => outcome,
        }
    }

    /// Returns the first choice, as an index in `eligible`: the backend that the cookie names, or else the strategy's.
    fn first(&self, eligible: &[Eligible], now: Instant) -> usize {
        if let Some(named) = eligible.iter().position(|one| Some(one.index) == self.named) {
            return named;
        }
        let usable = to_candidates(&self.selector.backends, eligible, self.selector.options.slow_start, now);
        self.selector.strategy.pick(&usable, &self.client).min(usable.len() - 1)
    }

    /// Returns a later choice, as an index in `left`.
    fn turn(&self, left: &[Eligible]) -> usize {
        let indices: Vec<usize> = left.iter().map(|one| one.index).collect();
        self.selector.second.turn(&indices)
    }
}

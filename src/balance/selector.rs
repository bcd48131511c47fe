//! Step 4: which backend? The strategy chooses the first; where a try fails, the others get their
//! turn. Who may be chosen at all is [`candidates`]' business.

use crate::backend::limit::{self, Slots, Waited, WaitingRoom};
use crate::backend::{Backend, InFlight};
use crate::balance::affinity::Affinity;
use crate::balance::candidates::{Chance, SelectionOptions, candidates, seen};
use crate::balance::rotation::SecondChoice;
use crate::balance::strategies::{ClientKey, Strategy};
use crate::error::Refusal;
use http::HeaderMap;
use std::sync::Arc;
use std::time::Instant;

/// The backends, and who decides between them.
pub struct Selector {
    /// All of them.
    pub backends: Vec<Arc<Backend>>,
    /// Who makes the first choice.
    pub strategy: Arc<dyn Strategy>,
    /// How clients are made to stay, if they are.
    pub affinity: Option<Affinity>,
    /// Which of the backends may be chosen.
    pub options: SelectionOptions,
    /// Where requests wait while all that could serve them are full.
    pub room: Arc<WaitingRoom>,
    /// Whose turn it is where a try has failed.
    pub second: SecondChoice,
}

impl Selector {
    /// The order in which one request tries backends, each once at the most. It waits until
    /// the deadline for one that is below its limit.
    pub fn attempts(&self, client: ClientKey, headers: &HeaderMap, deadline: Instant) -> Attempts<'_> {
        let home = self.affinity.as_ref().and_then(|affinity| affinity.home(headers));
        Attempts { selector: self, client, home, deadline, tried: Vec::new() }
    }
}

/// One request's way through the backends.
pub struct Attempts<'a> {
    selector: &'a Selector,
    client: ClientKey,
    home: Option<usize>,
    deadline: Instant,
    tried: Vec<usize>,
}

impl<'a> Attempts<'a> {
    /// The next backend to try, with a slot in it; nothing if none is left.
    ///
    /// # Errors
    /// When all were full for too long.
    pub fn next_backend(&mut self) -> Result<Option<InFlight<'a>>, Refusal> {
        let Selector { backends, options, room, .. } = self.selector;
        let mut place = room.place();
        loop {
            let now = Instant::now();
            let chances = candidates(backends, &self.tried, options.fail_open, now);
            if chances.is_empty() {
                return Ok(None);
            }
            if let Some(entered) = self.enter(&chances, now) {
                return Ok(Some(entered));
            }
            match self.wait(&chances, &mut place, self.deadline) {
                Waited::Entered(index) => {
                    self.tried.push(index);
                    return Ok(Some(backends[index].entered()));
                }
                Waited::LookAgain => {}
                Waited::TooLate => return Err(Refusal::AllFull),
            }
        }
    }

    /// Is there a backend left to try?
    pub fn goes_on(&self) -> bool {
        let Selector { backends, options, .. } = self.selector;
        !candidates(backends, &self.tried, options.fail_open, Instant::now()).is_empty()
    }

    /// Takes a slot of the one that is chosen, or of the others in turn if it has none.
    fn enter(&mut self, chances: &[Chance], now: Instant) -> Option<InFlight<'a>> {
        let mut left = chances.to_vec();
        let first = if self.tried.is_empty() { self.first(&left, now) } else { self.turn(&left) };
        let mut choice = left.remove(first);
        loop {
            if let Some(entered) = self.selector.backends[choice.index].enter(choice.most()) {
                self.tried.push(choice.index);
                return Some(entered);
            }
            if left.is_empty() {
                return None;
            }
            choice = left.remove(self.turn(&left));
        }
    }

    /// All are full: waits for a slot. Returns whose it is.
    fn wait(&self, chances: &[Chance], place: &mut limit::Place, deadline: Instant) -> Waited {
        // One on trial has a limit of its own, and is not waited for.
        let wanted: Vec<usize> = chances.iter().filter(|one| !one.on_trial).map(|one| one.index).collect();
        let slots: Vec<&Slots> = wanted.iter().map(|&index| self.selector.backends[index].slots()).collect();
        let waited = self.selector.room.wait(place, &slots, deadline);
        if let Waited::Entered(at) = waited { Waited::Entered(wanted[at]) } else { waited }
    }

    /// The first choice: the backend that the client is to stay with, or else the strategy's.
    fn first(&self, chances: &[Chance], now: Instant) -> usize {
        if let Some(home) = chances.iter().position(|chance| Some(chance.index) == self.home) {
            return home;
        }
        let usable = seen(&self.selector.backends, chances, self.selector.options.slow_start, now);
        self.selector.strategy.pick(&usable, &self.client).min(usable.len() - 1)
    }

    /// Second choices have turns of their own.
    fn turn(&self, left: &[Chance]) -> usize {
        let indices: Vec<usize> = left.iter().map(|chance| chance.index).collect();
        self.selector.second.turn(&indices)
    }

    /// Has the client come back to this backend, if it is to, and has not been told so yet.
    pub fn settle(&self, backend: &Backend, reply: &mut HeaderMap) {
        if let Some(affinity) = &self.selector.affinity {
            affinity.settle(self.home, backend, reply);
        }
    }
}

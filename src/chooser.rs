//! Step 4: which backend? The strategy chooses the first; where a try fails, the others get their
//! turn.

use crate::backend::Backend;
use crate::rotation::SecondChoice;
use crate::strategy::{Candidate, ClientKey, Strategy};
use std::sync::Arc;

/// The backends, and who decides between them.
pub struct Chooser {
    backends: Arc<[Arc<Backend>]>,
    strategy: Box<dyn Strategy>,
    second: SecondChoice,
}

impl Chooser {
    /// Chooses among these backends by this strategy.
    pub fn new(backends: Arc<[Arc<Backend>]>, strategy: Box<dyn Strategy>) -> Self {
        Chooser { backends, strategy, second: SecondChoice::default() }
    }

    /// The backends that may be chosen now.
    fn candidates(&self) -> Vec<Candidate<'_>> {
        self.backends.iter().map(|backend| Candidate { backend, weight: 1.0 }).collect()
    }

    /// The order in which one request tries backends, each once at the most.
    pub fn tour(&self, client: ClientKey) -> Tour<'_> {
        Tour { chooser: self, client, left: None }
    }
}

/// One request's way through the backends.
pub struct Tour<'a> {
    chooser: &'a Chooser,
    client: ClientKey,
    /// Those not tried yet; nothing before the first choice.
    left: Option<Vec<usize>>,
}

impl<'a> Iterator for Tour<'a> {
    type Item = &'a Backend;

    fn next(&mut self) -> Option<&'a Backend> {
        let choice = match &mut self.left {
            None => {
                let candidates = self.chooser.candidates();
                let last = candidates.len().checked_sub(1)?;
                let first = self.chooser.strategy.pick(&candidates, &self.client).min(last);
                self.left = Some((0..=last).filter(|&other| other != first).collect());
                first
            }
            Some(left) if left.is_empty() => return None,
            Some(left) => left.remove(self.chooser.second.turn(left)),
        };
        self.chooser.backends.get(choice).map(Arc::as_ref)
    }
}

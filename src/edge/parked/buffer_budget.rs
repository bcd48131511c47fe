//! BufferBudget for bodies that are gathered, and giving it back.
//!
//! What a storm of uploads has taken is free when it is over, but the allocator keeps most of it: pieces
//! that one thread has asked for and another has freed. So it is told when that may be worth while.

use super::connection::GATHERED;
use super::semaphore::{Permit, Semaphore};
use crate::edge::socket;

/// What all gathered bodies may take together: a thousand of the largest.
const CAPACITY: usize = 1024 * GATHERED;

/// From so much on it has been a storm.
const TRIM_ABOVE: usize = 4 << 20;

/// What may be gathered.
pub struct BufferBudget(Semaphore);

impl BufferBudget {
    /// All of it.
    pub fn new() -> Self {
        BufferBudget(Semaphore::of(CAPACITY))
    }

    /// Takes so much, if there is as much left.
    pub fn take(&self, size: usize) -> Option<Permit> {
        self.0.take(size)
    }

    fn used(&self) -> usize {
        CAPACITY - self.0.left()
    }
}

/// Watches for the end of storms.
#[derive(Default)]
pub struct TrimPolicy {
    pending: bool,
}

impl TrimPolicy {
    /// Is there anything to watch for?
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Looks how much is used. After a storm, what is free is given back to the system.
    pub fn look(&mut self, buffer_budget: &BufferBudget) {
        let used = buffer_budget.used();
        if used >= TRIM_ABOVE {
            self.pending = true;
        } else if used == 0 && self.pending {
            self.pending = false;
            socket::give_memory_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_over_when_all_has_come_back() {
        let (buffer_budget, mut trim) = (BufferBudget::new(), TrimPolicy::default());
        let little = buffer_budget.take(TRIM_ABOVE - 1);
        trim.look(&buffer_budget);
        assert!(!trim.is_pending());
        let more = buffer_budget.take(1);
        trim.look(&buffer_budget);
        drop(little);
        trim.look(&buffer_budget);
        assert!(trim.is_pending());
        drop(more);
        trim.look(&buffer_budget);
        assert!(!trim.is_pending());
    }
}

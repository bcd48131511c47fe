//! Memory for bodies that are gathered, and giving it back.
//!
//! What a storm of uploads has taken is free when it is over, but the allocator keeps most of it: pieces
//! that one thread has asked for and another has freed. So it is told when that may be worth while.

use super::connection::GATHERED;
use super::semaphore::{Allowance, Taken};
use crate::edge::socket;

/// What all gathered bodies may take together: a thousand of the largest.
const IN_ALL: usize = 1024 * GATHERED;

/// From so much on it has been a storm.
const A_STORM: usize = 4 << 20;

/// What may be gathered.
pub struct Memory(Allowance);

impl Memory {
    /// All of it.
    pub fn new() -> Self {
        Memory(Allowance::of(IN_ALL))
    }

    /// Takes so much, if there is as much left.
    pub fn take(&self, size: usize) -> Option<Taken> {
        self.0.take(size)
    }

    fn used(&self) -> usize {
        IN_ALL - self.0.left()
    }
}

/// Watches for the end of storms.
#[derive(Default)]
pub struct Weather {
    stormy: bool,
}

impl Weather {
    /// Is there anything to watch for?
    pub fn is_stormy(&self) -> bool {
        self.stormy
    }

    /// Looks how much is used. After a storm, what is free is given back to the system.
    pub fn look(&mut self, memory: &Memory) {
        let used = memory.used();
        if used >= A_STORM {
            self.stormy = true;
        } else if used == 0 && self.stormy {
            self.stormy = false;
            socket::give_memory_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_over_when_all_has_come_back() {
        let (memory, mut weather) = (Memory::new(), Weather::default());
        let little = memory.take(A_STORM - 1);
        weather.look(&memory);
        assert!(!weather.is_stormy());
        let more = memory.take(1);
        weather.look(&memory);
        drop(little);
        weather.look(&memory);
        assert!(weather.is_stormy());
        drop(more);
        weather.look(&memory);
        assert!(!weather.is_stormy());
    }
}

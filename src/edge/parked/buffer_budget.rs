//! The memory that buffered request bodies may take, and when it is returned to the operating system.
//!
//! After a burst of uploads the buffers are free, but the allocator keeps most of them, because one thread
//! allocated and another one freed them. Therefore `malloc_trim` is called after a burst.

use crate::edge::parked::semaphore::{Permit, Semaphore};

/// Largest request body, in bytes, that the poller buffers before a worker gets the request.
pub const MAX_BUFFERED_BODY: usize = 64 << 10;

/// The total size of all buffered bodies, in bytes: at most a thousand of the largest.
const CAPACITY: usize = 1024 * MAX_BUFFERED_BODY;

/// The number of buffered bytes above which memory is released after a burst.
const TRIM_ABOVE: usize = 4 << 20;

/// The bytes of request bodies that may be buffered.
pub struct BufferBudget(Semaphore);

impl BufferBudget {
    /// Makes a budget of which nothing is used.
    pub fn new() -> Self {
        BufferBudget(Semaphore::new(CAPACITY))
    }

    /// Reserves `size` bytes, or returns `None` if fewer are left.
    pub fn try_reserve(&self, size: usize) -> Option<Permit> {
        self.0.try_acquire(size)
    }

    /// Returns how many bytes are reserved.
    pub fn used(&self) -> usize {
        CAPACITY - self.0.available()
    }
}

/// Decides when to release free memory: once a burst of uploads is over.
#[derive(Default)]
pub struct TrimPolicy {
    pending: bool,
}

impl TrimPolicy {
    /// Returns whether a burst has begun and its memory has not been released yet.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Notes how many bytes are used now. Returns whether to release free memory.
    pub fn should_trim(&mut self, used: usize) -> bool {
        if used >= TRIM_ABOVE {
            self.pending = true;
        }
        used == 0 && std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_once_after_a_burst_when_all_buffers_are_free() {
        let (budget, mut policy) = (BufferBudget::new(), TrimPolicy::default());
        let little = budget.try_reserve(TRIM_ABOVE - 1);
        assert!(!policy.should_trim(budget.used()));
        assert!(!policy.is_pending());
        let more = budget.try_reserve(1);
        assert!(!policy.should_trim(budget.used()));
        drop(little);
        assert!(!policy.should_trim(budget.used()));
        assert!(policy.is_pending());
        drop(more);
        assert!(policy.should_trim(budget.used()));
        assert!(!policy.is_pending());
        assert!(!policy.should_trim(budget.used()));
    }
}

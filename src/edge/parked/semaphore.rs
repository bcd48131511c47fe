//! A counting semaphore that never blocks: connections, buffered bytes and waiting workers are counted with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A number of permits.
#[derive(Clone, Debug)]
pub struct Semaphore(Arc<AtomicUsize>);

/// Permits that have been acquired. They are returned on drop.
#[derive(Debug)]
pub struct Permit {
    semaphore: Semaphore,
    count: usize,
}

impl Semaphore {
    /// Makes a semaphore of `permits` permits.
    pub fn new(permits: usize) -> Self {
        Semaphore(Arc::new(AtomicUsize::new(permits)))
    }

    /// Returns how many permits are available.
    pub fn available(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Acquires `count` permits, or returns `None` if fewer are available. Never blocks.
    pub fn try_acquire(&self, count: usize) -> Option<Permit> {
        let acquired = self.0.fetch_update(SeqCst, SeqCst, |available| available.checked_sub(count));
        acquired.ok().map(|_| Permit { semaphore: self.clone(), count })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.0.fetch_add(self.count, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_permits_on_drop() {
        let semaphore = Semaphore::new(3);
        let two = semaphore.try_acquire(2);
        assert!(two.is_some() && semaphore.try_acquire(2).is_none());
        drop(two);
        assert_eq!(semaphore.available(), 3);
    }
}

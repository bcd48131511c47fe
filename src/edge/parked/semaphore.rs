//! So much of something may be taken at a time: connections, buffer_budget, workers that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What is left to be taken.
#[derive(Clone, Debug)]
pub struct Semaphore(Arc<AtomicUsize>);

/// A part that has been taken. It goes back on drop.
#[derive(Debug)]
pub struct Permit {
    from: Semaphore,
    amount: usize,
}

impl Semaphore {
    /// So much in all.
    pub fn of(amount: usize) -> Self {
        Semaphore(Arc::new(AtomicUsize::new(amount)))
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Takes so much, or nothing if less is left. Never waits.
    pub fn take(&self, amount: usize) -> Option<Permit> {
        let taken = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(amount));
        taken.ok().map(|_| Permit { from: self.clone(), amount })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.from.0.fetch_add(self.amount, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let semaphore = Semaphore::of(3);
        let two = semaphore.take(2);
        assert!(two.is_some() && semaphore.take(2).is_none());
        drop(two);
        assert_eq!(semaphore.left(), 3);
    }
}

//! The value that is replaced while workers use it.

use crate::current::{Swap, CachedReader};
use crate::sys::sync::Arc;
use crate::sys::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::thread;
use std::sync::{OnceLock, Weak};

/// A value with a number, which counts how often it was dropped.
struct Value {
    number: usize,
    dropped: Arc<Vec<AtomicUsize>>,
    home: Home,
}

/// Where the values are held, once that is there.
type Home = Arc<OnceLock<Weak<Swap<Value>>>>;

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped[self.number].fetch_add(1, SeqCst);
        if let Some(current) = self.home.get().and_then(Weak::upgrade) {
            current.get(); // Takes the lock, which fails if whoever lets this value go has it.
        }
    }
}

/// So many replacements, and views that look so often meanwhile.
fn swap(replacements: usize, views: usize, looks: usize) {
    let dropped: Arc<Vec<_>> = Arc::new((0..=replacements).map(|_| AtomicUsize::new(0)).collect());
    let home = Home::default();
    let value = |number| Value { number, dropped: Arc::clone(&dropped), home: Arc::clone(&home) };
    let current = Arc::new(Swap::new(value(0)));
    home.get_or_init(|| Arc::downgrade(&current));
    // The last that is known to be there: `replace` has returned.
    let replaced = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..views)
        .map(|_| {
            let (view, replaced) = (current.reader(), Arc::clone(&replaced));
            thread::spawn(move || watch(view, &replaced, looks))
        })
        .collect();
    for number in 1..=replacements {
        current.replace(value(number));
        replaced.store(number, SeqCst);
        assert_eq!(current.get().number, number);
    }
    let views: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("it saw it")).collect();
    // Each view keeps what it has seen last. When all have looked again, the last value alone is left.
    for mut view in views {
        assert_eq!(view.get().number, replacements);
    }
    let count = || dropped.iter().map(|count| count.load(SeqCst)).collect::<Vec<_>>();
    let all_but_last: Vec<_> = (0..=replacements).map(|number| usize::from(number < replacements)).collect();
    assert_eq!(count(), all_but_last);
    drop(current);
    assert_eq!(count(), vec![1; replacements + 1]);
}

fn watch(mut view: CachedReader<Value>, replaced: &AtomicUsize, looks: usize) -> CachedReader<Value> {
    let mut seen = 0;
    for _ in 0..looks {
        let known = replaced.load(SeqCst);
        let value = view.get();
        assert!(value.number >= known, "{} was replaced, and {} is seen", known, value.number);
        assert!(value.number >= seen, "{} after {seen}", value.number);
        assert_eq!(value.dropped[value.number].load(SeqCst), 0, "it is in use");
        seen = value.number;
    }
    view
}

/// One replacement, one view.
pub fn one_view() {
    swap(1, 1, 1);
}

/// Two views, of a value that is replaced twice.
pub fn views_never_go_back() {
    swap(2, 2, 3);
}

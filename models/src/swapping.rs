//! Models of the swap.

use crate::cluster::swap::{CachedReader, Swap};
use crate::sys::sync::Arc;
use crate::sys::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::thread;
use std::sync::{OnceLock, Weak};

/// A numbered value that counts its drops.
struct Value {
    number: usize,
    dropped: Arc<Vec<AtomicUsize>>,
    holder: Holder,
}

/// The swap that holds the values, once it exists.
type Holder = Arc<OnceLock<Weak<Swap<Value>>>>;

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped[self.number].fetch_add(1, SeqCst);
        if let Some(swap) = self.holder.get().and_then(Weak::upgrade) {
            swap.get(); // takes the lock, a deadlock if the thread that drops this value holds it
        }
    }
}

/// Makes this number of replacements while readers read this often.
fn replace_and_read(replacements: usize, readers: usize, reads: usize) {
    let dropped: Arc<Vec<_>> = Arc::new((0..=replacements).map(|_| AtomicUsize::new(0)).collect());
    let holder = Holder::default();
    let value = |number| Value { number, dropped: Arc::clone(&dropped), holder: Arc::clone(&holder) };
    let swap = Arc::new(Swap::new(value(0)));
    holder.get_or_init(|| Arc::downgrade(&swap));
    // The number of the last value whose `replace` has returned.
    let replaced = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..readers)
        .map(|_| {
            let (reader, replaced) = (swap.reader(), Arc::clone(&replaced));
            thread::spawn(move || read_often(reader, &replaced, reads))
        })
        .collect();
    for number in 1..=replacements {
        swap.replace(value(number));
        replaced.store(number, SeqCst);
        assert_eq!(swap.get().number, number);
    }
    let readers: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("a reader has panicked")).collect();
    // Each reader keeps the value that it read last. Once all have read again, only the last value is left.
    for mut reader in readers {
        assert_eq!(reader.get().number, replacements);
    }
    let count = || dropped.iter().map(|count| count.load(SeqCst)).collect::<Vec<_>>();
    let all_but_last: Vec<_> = (0..=replacements).map(|number| usize::from(number < replacements)).collect();
    assert_eq!(count(), all_but_last);
    drop(swap);
    assert_eq!(count(), vec![1; replacements + 1]);
}

fn read_often(mut reader: CachedReader<Value>, replaced: &AtomicUsize, reads: usize) -> CachedReader<Value> {
    let mut seen = 0;
    for _ in 0..reads {
        let known = replaced.load(SeqCst);
        let value = reader.get();
        assert!(value.number >= known, "{} was replaced, and {} is seen", known, value.number);
        assert!(value.number >= seen, "{} after {seen}", value.number);
        assert_eq!(value.dropped[value.number].load(SeqCst), 0, "it was dropped while in use");
        seen = value.number;
    }
    reader
}

/// One replacement, one reader.
pub fn one_reader() {
    replace_and_read(1, 1, 1);
}

/// Two readers of a value that is replaced twice.
pub fn readers_never_go_back() {
    replace_and_read(2, 2, 3);
}

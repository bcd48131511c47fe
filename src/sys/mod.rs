//! What the operating system gives: threads, signals to stop, system calls.

pub mod shutdown;
pub mod sync;
pub mod threads;

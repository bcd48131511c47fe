//! What the operating system gives: threads, signals to stop, system calls.

pub mod memory;
pub mod shutdown;
pub mod sockets;
pub mod sync;
pub mod threads;

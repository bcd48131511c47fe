//! Threads, the stop signal, the sockets and the memory of the process, and synchronisation primitives.

pub mod memory;
pub mod shutdown;
pub mod sockets;
pub mod sync;
pub mod threads;

//! The sockets of this process, whichever library opened them.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Returns duplicates of the descriptors of this process's connections whose other end `is_wanted`. A
/// descriptor may be closed and reused while this runs, so the caller has to check both ends of each
/// duplicate.
pub fn connected(is_wanted: impl Fn(SocketAddr) -> bool) -> impl Iterator<Item = OwnedFd> {
    let entries = fs::read_dir("/dev/fd").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
        .filter_map(move |number| duplicate_connection(number, &is_wanted))
}

/// Duplicates descriptor `number` if it is a connection whose other end `is_wanted`, and returns `None`
/// otherwise. Only such sockets are duplicated: to close the duplicate of a file would drop its locks.
fn duplicate_connection(number: RawFd, is_wanted: impl Fn(SocketAddr) -> bool) -> Option<OwnedFd> {
    // SAFETY: the kernel has just listed the number, so it is not -1. Another thread may close it at any
    // moment; each of the two calls below then fails or sees the descriptor that has the number by now.
    // Neither call changes or closes the descriptor, or accesses this program's memory.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let peer = rustix::net::getpeername(descriptor).ok().flatten()?;
    if !SocketAddr::try_from(peer).is_ok_and(is_wanted) {
        return None;
    }
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0).ok()
}

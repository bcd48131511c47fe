//! The listener's socket options: turnwheel's, except for the timeouts of blocking calls.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Length of the accept backlog, as in turnwheel. The kernel caps it.
const BACKLOG: i32 = 4096;

/// Opens a listener. Must be called within a runtime. `timeout` limits how long bytes of a reply may stay
/// unacknowledged by a client.
///
/// # Errors
/// Returns an error if the address cannot be bound.
pub fn listen(address: SocketAddr, timeout: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted connections inherit these on Linux, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // hyper has no write timeout. The kernel's limits how long bytes stay unacknowledged, or unsent because of a
    // full window.
    socket.set_tcp_user_timeout(Some(timeout))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

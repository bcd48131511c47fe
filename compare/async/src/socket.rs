//! The listener's socket options: turnwheel's, but for the timeouts of blocking calls.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections that may wait to be accepted, as turnwheel's. The kernel caps it at its own limit.
const BACKLOG: i32 = 4096;

/// Opens a listener. Must be called within a runtime. `patience` is how long a client may take nothing of
/// its reply.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr, patience: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted connections inherit these on Linux: none of them costs a system call of its own.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // hyper has no timeout for writing. The kernel has one: for bytes that are not acknowledged, or that
    // a full window keeps from being sent.
    socket.set_tcp_user_timeout(Some(patience))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

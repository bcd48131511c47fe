//! Socket calls of the edges: a listener whose options its connections inherit, and reads and writes that
//! never block.

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Connections that may wait to be accepted; the kernel drops the first packet of a further one, and its
/// client tries again after a second. The kernel may lower this to a limit of its own.
const BACKLOG: i32 = 4096;

/// Timeouts that every accepted connection inherits from the listener (Linux).
#[derive(Clone, Copy, Debug)]
pub struct InheritedTimeouts {
    /// Longest wait for the client's next byte. It limits the listener's own `accept`, too.
    pub read: Option<Duration>,
    /// Longest wait for the client to take a byte.
    pub write: Duration,
}

/// Opens a listener.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr, inherited: InheritedTimeouts) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Without this, "[::]" would accept IPv4 clients too: it could not be bound beside "0.0.0.0", and
        // those clients would have IPv6 addresses.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?; // so that the port can be bound again at once
    // Without it Nagle's algorithm and delayed acknowledgements make 40 ms pauses in replies.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_read_timeout(inherited.read)?;
    socket.set_write_timeout(Some(inherited.write))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Returns whether the process has file descriptors left for one more connection: two, and one to spare.
pub fn has_descriptors(listener: &TcpListener) -> bool {
    let copies: Vec<_> = (0..3).map_while(|_| listener.try_clone().ok()).collect();
    copies.len() == 3
}

/// Stops all copies of this listener: a blocked `accept` fails, and new connections are refused.
pub fn stop_listening(listener: &TcpListener) {
    let _ = SockRef::from(listener).shutdown(Shutdown::Both); // fails only if it does not listen any more
}

/// Reads bytes that have arrived, without blocking. Returns 0 at the end of the stream.
///
/// # Errors
/// `WouldBlock` when no byte has arrived.
pub fn receive_now(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(stream, buf, RecvFlags::DONTWAIT)?.0)
}

/// Writes as many bytes as the kernel takes without blocking, and returns their number.
///
/// # Errors
/// `WouldBlock` when it takes none.
pub fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Makes the later close of the connection a reset, which the client sees as an error, and discards what
/// has not been delivered by then. A plain end would make a reply to an HTTP/1.0 client look complete.
pub fn reset_when_closed(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO)); // if it fails, the end is a plain one
}

#[cfg(test)]
mod tests {
    use super::*;

    const INHERITED: InheritedTimeouts =
        InheritedTimeouts { read: Some(Duration::from_secs(7)), write: Duration::from_secs(9) };

    #[test]
    fn accepted_connections_inherit_the_listeners_options() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), INHERITED).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(server.nodelay().unwrap());
        assert_eq!(server.read_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(server.write_timeout().unwrap(), Some(Duration::from_secs(9)));
    }

    #[test]
    fn reads_and_writes_without_blocking() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), INHERITED).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let would_block = |result: io::Result<usize>| result.unwrap_err().kind() == io::ErrorKind::WouldBlock;
        assert!(would_block(receive_now(&server, &mut [0; 8])));
        let block = [7; 1 << 16];
        while send_now(&client, &block).is_ok() {}
        assert!(would_block(send_now(&client, &block)));
        let mut buf = [0; 8];
        assert_eq!((receive_now(&server, &mut buf).unwrap(), buf), (8, [7; 8]));
    }
}

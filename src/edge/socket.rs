//! What an edge asks of the operating system: a listener whose options its connections inherit, reading
//! and writing without waiting, a hold on one connection that somebody else owns, and to take memory
//! back. What is `unsafe` about an edge is here.

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fs;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted; one beyond them tries again after a second. The kernel caps
/// it at its own limit.
const BACKLOG: i32 = 4096;

/// Timeouts that every accepted connection inherits from the listener (Linux).
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// Longest wait for the client's next byte; the listener's own `accept` ends after it, too.
    pub read: Option<Duration>,
    /// Longest wait for the client to take a byte.
    pub write: Duration,
}

/// Opens a listener.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr, inherited: Inherited) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An address means just what it says: "[::]" and "0.0.0.0" can be listened on side by side,
        // and an IPv4 client is never seen under an IPv6 address.
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

/// Can one more connection be accepted? It takes two descriptors, and one to spare.
pub fn has_descriptors(listener: &TcpListener) -> bool {
    let copies: Vec<_> = (0..3).map_while(|_| listener.try_clone().ok()).collect();
    copies.len() == 3
}

/// Ends listening, for every copy of this listener: whoever is in `accept` gets an error, and new
/// connections are refused.
pub fn stop_listening(listener: &TcpListener) {
    // It can fail only if the listener is no longer one, and then there is nothing to do.
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
}

/// Takes what has come already, of a connection whose reads would otherwise wait.
///
/// # Errors
/// `WouldBlock` when nothing has.
pub fn receive_now(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open, because `stream` is borrowed, and the kernel writes at most
    // `buf.len()` bytes into a buffer that is ours alone for so long.
    let n = unsafe { libc::recv(stream.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sends as much as the system takes at once.
///
/// # Errors
/// `WouldBlock` when it takes nothing.
pub fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
}

/// Makes the end of a connection an error for the client, and what has not been delivered by then is
/// thrown away. A plain end would make a reply to an HTTP/1.0 client look complete.
pub fn reset_when_closed(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO)); // or it ends in the usual way
}

/// Gives memory that is free back to the system, as far as the allocator can be asked to.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes any number, and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A hold on one of this process's connections, found by its two ends.
///
/// tiny_http keeps its sockets to itself, and a server that cannot close a connection cannot refuse
/// what follows an ambiguous request, nor show that a reply is broken. So this goes through the
/// process's descriptors. It is for the rare connection that must end, not for every request.
pub struct Hold(Socket);

impl Hold {
    /// Looks for the connection from `peer` to this process's port `local`.
    pub fn find(local: u16, peer: SocketAddr) -> Option<Hold> {
        let mut found = connections(move |other| other == peer); // to duplicate and close a file would drop its locks
        found.find(|socket| is_connection(socket, local, peer)).map(Hold)
    }

    /// All connections that somebody has made to this address of the process.
    pub fn all(local: SocketAddr) -> impl Iterator<Item = Hold> {
        let is_its = move |found: SocketAddr| {
            found.port() == local.port() && (local.ip().is_unspecified() || found.ip() == local.ip())
        };
        let connections = connections(|_| true);
        connections.filter(move |socket| address_of(socket.local_addr()).is_some_and(is_its)).map(Hold)
    }

    /// No more bytes to the client: it reads the end.
    pub fn finish_writing(&self) {
        let _ = self.0.shutdown(Shutdown::Write); // fails only if the client is gone already
    }

    /// Nothing more, either way.
    pub fn shut(&self) {
        let _ = self.0.shutdown(Shutdown::Both); // as above
    }

    /// Takes what the client is still sending and throws it away, until it stops or at the deadline.
    pub fn discard_input(&self, deadline: Instant) {
        let mut scratch = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // No time left is no timeout to set, and an error like any other here: enough of it.
            let more = !left.is_zero() && self.0.set_read_timeout(Some(left)).is_ok();
            if !more || !(&self.0).read(&mut scratch).is_ok_and(|n| n > 0) {
                return;
            }
        }
    }

    /// Resets the connection: the client sees an error, not an end. A plain end would make a reply
    /// to an HTTP/1.0 client look complete.
    pub fn reset(&self) {
        let unspecified =
            libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        let length = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: the descriptor is open, because `self` owns it, and the kernel reads `length` bytes
        // from a local that has so many. Connecting to AF_UNSPEC dissolves the connection.
        let done = unsafe { libc::connect(self.0.as_raw_fd(), &raw const unspecified, length) };
        if done != 0 {
            self.shut();
        }
    }
}

/// Descriptors of our own for the connections of this process whose other end is of interest.
fn connections(is_wanted: impl Fn(SocketAddr) -> bool) -> impl Iterator<Item = Socket> {
    let entries = fs::read_dir("/dev/fd").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
        .filter(move |fd| peer_of(*fd).is_some_and(&is_wanted))
        .filter_map(duplicate)
        .map(Socket::from)
}

fn is_connection(socket: &Socket, local: u16, peer: SocketAddr) -> bool {
    address_of(socket.peer_addr()) == Some(peer)
        && address_of(socket.local_addr()).is_some_and(|found| found.port() == local)
}

fn address_of(found: io::Result<SockAddr>) -> Option<SocketAddr> {
    found.ok().and_then(|found| found.as_socket())
}

/// Who is at the other end of this descriptor, if it is a connection?
fn peer_of(fd: RawFd) -> Option<SocketAddr> {
    // SAFETY: `try_init` hands in room for an address of any family and the size of it, which is what
    // getpeername writes to at most; it takes any descriptor number, and fails for what is no socket.
    let found = unsafe {
        SockAddr::try_init(|address, length| match libc::getpeername(fd, address.cast(), length) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    found.ok().and_then(|((), address)| address.as_socket())
}

/// A descriptor of our own for what descriptor `fd` means now, if anything.
fn duplicate(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl takes any number: one that is no longer open gives an error, and one that has
    // been opened anew meanwhile gives a duplicate of that, which the caller looks at first.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const INHERITED: Inherited =
        Inherited { read: Some(Duration::from_secs(7)), write: Duration::from_secs(9) };

    fn pair() -> (TcpStream, TcpStream, u16) {
        let listener = listen("127.0.0.1:0".parse().unwrap(), INHERITED).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (client, listener.accept().unwrap().0, port)
    }

    #[test]
    fn a_connection_is_found_by_its_ends_and_reset() {
        let (mut client, mut server, port) = pair();
        server.write_all(b"part").unwrap();
        let mut got = [0; 4];
        client.read_exact(&mut got).unwrap();
        Hold::find(port, client.local_addr().unwrap()).unwrap().reset();
        assert_eq!(client.read(&mut got).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_finished_connection_still_delivers_what_was_written() {
        let (mut client, mut server, port) = pair();
        server.write_all(b"whole").unwrap();
        Hold::find(port, client.local_addr().unwrap()).unwrap().finish_writing();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "whole");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let (client, _server, port) = pair();
        let peer = client.local_addr().unwrap();
        assert!(Hold::find(port.wrapping_add(1), peer).is_none());
        assert!(Hold::find(port, SocketAddr::new(peer.ip(), peer.port().wrapping_add(1))).is_none());
    }

    #[test]
    fn all_connections_to_an_address_are_found_and_no_others() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), INHERITED).unwrap();
        let local = listener.local_addr().unwrap();
        let (mut other, _server, _) = pair();
        let mut clients = [(); 3].map(|()| TcpStream::connect(local).unwrap());
        let _servers = [(); 3].map(|()| listener.accept().unwrap());
        Hold::all(local).for_each(|hold| hold.shut());
        assert_eq!(clients.each_mut().map(|client| client.read(&mut [0]).unwrap()), [0; 3]);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn connections_inherit_the_listeners_options() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), INHERITED).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(server.nodelay().unwrap());
        assert_eq!(server.read_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(server.write_timeout().unwrap(), Some(Duration::from_secs(9)));
    }
}

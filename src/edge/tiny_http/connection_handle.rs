//! A handle on a connection whose socket tiny_http owns.

use crate::sys::sockets;
use socket2::{SockAddr, Socket};
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

/// A duplicate of the descriptor of one of this process's connections, found by the connection's two ends.
///
/// tiny_http does not give access to its sockets. But a server that cannot close a connection can neither
/// refuse what follows an ambiguous request nor show that a reply is broken. So the connection is looked up
/// among the process's descriptors. This is for the rare connection that must end, not for every request.
pub struct ConnectionHandle(Socket);

impl ConnectionHandle {
    /// Returns the connection from `peer` to this process's port `local`, or `None` if there is none.
    pub fn find(local: u16, peer: SocketAddr) -> Option<Self> {
        let mut found = sockets::connected(move |other| other == peer).map(Socket::from);
        // The descriptor may have been reused between the look-up and its duplication.
        found.find(|socket| is_connection(socket, local, peer)).map(ConnectionHandle)
    }

    /// Returns all connections from clients to this address of the process.
    pub fn all(local: SocketAddr) -> impl Iterator<Item = Self> {
        let is_local = move |found: SocketAddr| {
            found.port() == local.port() && (local.ip().is_unspecified() || found.ip() == local.ip())
        };
        let connections = sockets::connected(|_| true).map(Socket::from);
        connections
            .filter(move |socket| address_of(socket.local_addr()).is_some_and(is_local))
            .map(ConnectionHandle)
    }

    /// Shuts the sending side: the client reads the end of the stream.
    pub fn shutdown_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write); // fails only if the client is gone already
    }

    /// Shuts both sides.
    pub fn shutdown(&self) {
        let _ = self.0.shutdown(Shutdown::Both); // as above
    }

    /// Reads and discards what the client still sends, until it stops or the deadline passes.
    pub fn discard_input(&self, deadline: Instant) {
        let mut discarded = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.0.set_read_timeout(Some(left)).is_err() {
                return;
            }
            if !(&self.0).read(&mut discarded).is_ok_and(|n| n > 0) {
                return;
            }
        }
    }

    /// Resets the connection: the client sees an error, not an end. A plain end would make a reply
    /// to an HTTP/1.0 client look complete.
    pub fn reset(&self) {
        if rustix::net::connect_unspec(&self.0).is_err() {
            self.shutdown();
        }
    }
}

fn is_connection(socket: &Socket, local: u16, peer: SocketAddr) -> bool {
    address_of(socket.peer_addr()) == Some(peer)
        && address_of(socket.local_addr()).is_some_and(|found| found.port() == local)
}

fn address_of(found: io::Result<SockAddr>) -> Option<SocketAddr> {
    found.ok().and_then(|found| found.as_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (client, listener.accept().unwrap().0, port)
    }

    #[test]
    fn finds_a_connection_by_its_ends_and_resets_it() {
        let (mut client, mut server, port) = pair();
        server.write_all(b"part").unwrap();
        let mut got = [0; 4];
        client.read_exact(&mut got).unwrap();
        ConnectionHandle::find(port, client.local_addr().unwrap()).unwrap().reset();
        assert_eq!(client.read(&mut got).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn delivers_what_was_written_before_the_shutdown() {
        let (mut client, mut server, port) = pair();
        server.write_all(b"whole").unwrap();
        ConnectionHandle::find(port, client.local_addr().unwrap()).unwrap().shutdown_write();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "whole");
    }

    #[test]
    fn finds_no_connection_with_other_ends() {
        let (client, _server, port) = pair();
        let peer = client.local_addr().unwrap();
        assert!(ConnectionHandle::find(port.wrapping_add(1), peer).is_none());
        assert!(
            ConnectionHandle::find(port, SocketAddr::new(peer.ip(), peer.port().wrapping_add(1))).is_none()
        );
    }

    #[test]
    fn finds_all_connections_to_an_address_and_no_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let (mut other, _server, _) = pair();
        let mut clients = [(); 3].map(|()| TcpStream::connect(local).unwrap());
        let _servers = [(); 3].map(|()| listener.accept().unwrap());
        ConnectionHandle::all(local).for_each(|handle| handle.shutdown());
        assert_eq!(clients.each_mut().map(|client| client.read(&mut [0]).unwrap()), [0; 3]);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

//! Many hostile clients, run by one thread.

use crate::bed::DEADLINE;
use crate::parked::connect_from;
use std::io::ErrorKind::WouldBlock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Hostile clients, each with one connection.
pub struct HostileClients {
    open: Vec<HostileClient>,
    /// Clients whose connection the balancer has ended. They keep their own end open.
    ended: Vec<HostileClient>,
}

struct HostileClient {
    stream: TcpStream,
    received: Vec<u8>,
    /// The time at which the client read the bytes that it has received.
    since: Option<Instant>,
}

impl HostileClients {
    /// Opens `count` connections, and sends `first` on each.
    pub fn connect(count: usize, addr: SocketAddr, first: impl AsRef<[u8]>) -> Self {
        HostileClients::connect_from([127, 0, 0, 1], count, addr, first)
    }

    /// Opens `count` connections from this address of this machine, and sends `first` on each.
    pub fn connect_from(source: [u8; 4], count: usize, addr: SocketAddr, first: impl AsRef<[u8]>) -> Self {
        let connect = |_| {
            let mut stream = connect_from(source, addr).stream;
            stream.write_all(first.as_ref()).unwrap();
            stream.set_nonblocking(true).unwrap();
            HostileClient { stream, received: Vec::new(), since: None }
        };
        HostileClients { open: (0..count).map(connect).collect(), ended: Vec::new() }
    }

    /// Returns how many connections are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Sends `bytes` on each connection repeatedly, as far as that does not block, and reads the replies,
    /// until the balancer has ended all of them. Returns what each client received.
    #[track_caller]
    pub fn send_until_closed(mut self, bytes: &[u8], pause: Duration) -> Vec<String> {
        let began = Instant::now();
        while self.len() > 0 {
            assert!(
                began.elapsed() < DEADLINE,
                "{} connections are still open, {} have ended",
                self.len(),
                self.ended.len()
            );
            for client in &mut self.open {
                let _ = client.stream.write(bytes); // a closed connection is detected by reading
            }
            self.read_all();
            thread::sleep(pause);
        }
        self.ended.iter().map(|client| String::from_utf8_lossy(&client.received).into_owned()).collect()
    }

    fn read_all(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        self.ended.extend(self.open.extract_if(.., |client| client.has_ended(&mut buffer)));
    }

    /// Sends `bytes` on each connection `delay` after it has received any bytes, repeatedly for `duration`.
    pub fn respond_slowly(mut self, delay: Duration, bytes: &[u8], duration: Duration) {
        let began = Instant::now();
        while began.elapsed() < duration {
            self.read_all();
            for client in &mut self.open {
                if !client.received.is_empty()
                    && client.since.get_or_insert_with(Instant::now).elapsed() >= delay
                {
                    let _ = client.stream.write(bytes); // as above
                    (client.received, client.since) = (Vec::new(), None);
                }
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends and reads nothing until the balancer has reset all connections.
    #[track_caller]
    pub fn until_reset(mut self) {
        let began = Instant::now();
        while self.len() > 0 {
            assert!(began.elapsed() < DEADLINE, "{} connections are still open", self.len());
            self.open.retain(|client| client.stream.take_error().unwrap().is_none());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl HostileClient {
    /// Reads all that has arrived. Returns whether the connection has ended.
    fn has_ended(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(n) if n > 0 => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == WouldBlock => return false,
                _ => return true,
            }
        }
    }
}

/// Asserts that there are `count` replies, all with this status.
#[track_caller]
pub fn assert_all_replied(replies: &[String], count: usize, status: u16) {
    assert_eq!(replies.len(), count);
    let line = format!("HTTP/1.1 {status} ");
    let other = replies.iter().find(|reply| !reply.starts_with(&line));
    assert_eq!(other, None, "instead of {status}");
}

//! Who else is connected while the load is on: those that say nothing, and those that take their time.

use crate::cell::Beside;
use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often slow clients do something.
const TICK: Duration = Duration::from_millis(20);

/// What a slow reader reads each time: 50 KiB a second.
const SIP: usize = 1 << 10;

/// How long one that was thrown out stays away.
const AWAY: Duration = Duration::from_secs(1);

/// What happens when they come is another question than what it is like when they are there.
const SETTLE: Duration = Duration::from_millis(700);

/// How long a connection waits for its first reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// They are there until this is dropped.
pub struct Crowd {
    _idle: Vec<TcpStream>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Brings them.
///
/// # Errors
/// When they are not let in.
pub fn gather(beside: Beside, address: SocketAddr) -> Result<Crowd> {
    let over = Arc::new(AtomicBool::new(false));
    let (mut idle, mut thread) = (Vec::new(), None);
    match beside {
        Beside::Nobody => {}
        Beside::Idle(count) => {
            for number in 0..count {
                idle.push(served_once(address).with_context(|| format!("idle connection {number}"))?);
            }
        }
        Beside::SlowReaders(count) | Beside::TrickledHeads(count) => {
            let (mut clients, over) = (slow_clients(beside, count, address), Arc::clone(&over));
            let work = move || {
                while !over.load(Relaxed) {
                    clients.iter_mut().for_each(Slow::act);
                    thread::sleep(TICK);
                }
            };
            thread = Some(thread::Builder::new().name("slow clients".into()).spawn(work)?);
            thread::sleep(SETTLE);
        }
    }
    Ok(Crowd { _idle: idle, over, thread })
}

/// A connection that has had a reply.
fn served_once(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: compare\r\n\r\n")?;
    let mut piece = [0; 4096];
    let n = stream.read(&mut piece)?;
    anyhow::ensure!(piece[..n].starts_with(b"HTTP/1.1 200"), "was not served");
    Ok(stream)
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to say
        }
    }
}

/// A client that takes its time. One that is thrown out comes again.
struct Slow {
    address: SocketAddr,
    first: &'static [u8],
    then: Then,
    stream: Option<TcpStream>,
    not_before: Instant,
}

#[derive(Clone, Copy)]
enum Then {
    Sip,
    Trickle,
}

fn slow_clients(beside: Beside, count: usize, address: SocketAddr) -> Vec<Slow> {
    let (first, then): (&[u8], _) = match beside {
        Beside::SlowReaders(_) => (b"GET /huge HTTP/1.1\r\nHost: compare\r\n\r\n", Then::Sip),
        _ => (b"GET / HTTP/1.1\r\nHost: compare\r\nX-Long: ", Then::Trickle),
    };
    let now = Instant::now();
    (0..count).map(|_| Slow { address, first, then, stream: None, not_before: now }).collect()
}

impl Slow {
    fn act(&mut self) {
        let now = Instant::now();
        let stream = match self.stream.take() {
            Some(stream) => Ok(stream),
            None if now < self.not_before => return,
            None => self.come(),
        };
        match stream.and_then(|stream| self.dally(stream)) {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => self.not_before = now + AWAY,
        }
    }

    fn come(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        // Or the system reads for it.
        socket.set_recv_buffer_size(16 << 10)?;
        socket.connect_timeout(&self.address.into(), AWAY)?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(self.first)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn dally(&self, mut stream: TcpStream) -> io::Result<TcpStream> {
        let done = match self.then {
            Then::Sip => stream.read(&mut [0; SIP]),
            Then::Trickle => stream.write(b"x"),
        };
        match done {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(stream),
        }
    }
}

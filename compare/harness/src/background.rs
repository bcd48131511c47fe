//! Clients connected in addition to the measured load: idle and slow clients.

use crate::cell::Background;
use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval at which slow clients read or write.
const TICK: Duration = Duration::from_millis(20);

/// Bytes that a slow reader takes per tick: 50 KiB per second.
const READ_SIZE: usize = 1 << 10;

/// Delay before a disconnected slow client reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Time between connecting the slow clients and starting the load, so that their arrival is not measured.
const SETTLE_TIME: Duration = Duration::from_millis(700);

/// Timeout for an idle client's connection and first reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Background clients, connected until this is dropped.
pub struct BackgroundClients {
    _idle: Vec<TcpStream>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Connects the background clients of a cell.
///
/// # Errors
/// Returns an error if the balancer does not serve them.
pub fn start(background: Background, address: SocketAddr) -> Result<BackgroundClients> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut idle, mut thread) = (Vec::new(), None);
    match background {
        Background::None => {}
        Background::Idle(count) => {
            for number in 0..count {
                idle.push(served_once(address).with_context(|| format!("idle connection {number}"))?);
            }
        }
        Background::SlowReaders(count) | Background::TrickledHeads(count) => {
            let (mut clients, stop) = (slow_clients(background, count, address), Arc::clone(&stop));
            let work = move || {
                while !stop.load(Relaxed) {
                    clients.iter_mut().for_each(SlowClient::act);
                    thread::sleep(TICK);
                }
            };
            thread = Some(thread::Builder::new().name("slow clients".into()).spawn(work)?);
            thread::sleep(SETTLE_TIME);
        }
    }
    Ok(BackgroundClients { _idle: idle, stop, thread })
}

/// Returns a connection that has received one reply.
fn served_once(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: compare\r\n\r\n")?;
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer)?;
    anyhow::ensure!(buffer[..n].starts_with(b"HTTP/1.1 200"), "the reply is not 200");
    Ok(stream)
}

impl Drop for BackgroundClients {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // the thread returns nothing
        }
    }
}

/// A slow client. It reconnects after a disconnection.
struct SlowClient {
    address: SocketAddr,
    request: &'static [u8],
    behaviour: Behaviour,
    stream: Option<TcpStream>,
    reconnect_at: Instant,
}

#[derive(Clone, Copy)]
enum Behaviour {
    ReadSlowly,
    WriteSlowly,
}

fn slow_clients(background: Background, count: usize, address: SocketAddr) -> Vec<SlowClient> {
    let (request, behaviour): (&[u8], _) = match background {
        Background::SlowReaders(_) => (b"GET /huge HTTP/1.1\r\nHost: compare\r\n\r\n", Behaviour::ReadSlowly),
        _ => (b"GET / HTTP/1.1\r\nHost: compare\r\nX-Long: ", Behaviour::WriteSlowly),
    };
    let now = Instant::now();
    (0..count).map(|_| SlowClient { address, request, behaviour, stream: None, reconnect_at: now }).collect()
}

impl SlowClient {
    fn act(&mut self) {
        let now = Instant::now();
        let stream = match self.stream.take() {
            Some(stream) => Ok(stream),
            None if now < self.reconnect_at => return,
            None => self.connect(),
        };
        match stream.and_then(|stream| self.step(stream)) {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => self.reconnect_at = now + RECONNECT_DELAY,
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        // With the default size the kernel would buffer most of the reply.
        socket.set_recv_buffer_size(16 << 10)?;
        socket.connect_timeout(&self.address.into(), RECONNECT_DELAY)?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(self.request)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn step(&self, mut stream: TcpStream) -> io::Result<TcpStream> {
        let done = match self.behaviour {
            Behaviour::ReadSlowly => stream.read(&mut [0; READ_SIZE]),
            Behaviour::WriteSlowly => stream.write(b"x"),
        };
        match done {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(stream),
        }
    }
}

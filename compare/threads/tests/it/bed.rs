//! The test bed: the program as a child process, a client and backends that speak raw bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Timeout for anything that must happen. Generous, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A complete reply with a body of five bytes.
pub const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// The program under test, killed and reaped on drop.
pub struct Balancer {
    child: Child,
    /// Kept open, because the program writes to it.
    _stdout: BufReader<ChildStdout>,
    /// The listening address.
    pub addr: SocketAddr,
}

impl Balancer {
    /// Starts `turnwheel-threads serve` on a port chosen by the kernel and waits until it listens.
    pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnwheel-threads"))
            .args(["serve", "--listen=127.0.0.1:0"])
            .args(backends.iter().map(|addr| format!("--backend=http://{addr}")))
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("Load balancer is listening on ").expect(&line).parse().unwrap();
        Balancer { child, _stdout: stdout, addr }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One end of a connection.
pub struct Peer(BufReader<TcpStream>);

impl Peer {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).unwrap())
    }

    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Peer(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends bytes. Returns whether the peer was still open.
    pub fn try_send(&mut self, bytes: &str) -> bool {
        self.0.get_mut().write_all(bytes.as_bytes()).is_ok()
    }

    /// Reads a head, including its empty line. Returns `None` if the peer has closed.
    pub fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).unwrap_or(0) == 0 {
                return None;
            }
        }
        Some(head)
    }

    /// Reads exactly these bytes; panics otherwise.
    #[track_caller]
    pub fn expect(&mut self, bytes: &str) {
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), bytes);
    }

    /// Reads until the peer closes.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// Sends a request and reads a reply with a Content-Length: its head and its body.
    pub fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request);
        let head = self.head().expect("no reply");
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}

/// Returns the value of the first field with this name.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Sends a GET on a new connection and returns the complete reply.
pub fn get(addr: SocketAddr, path: &str) -> String {
    let mut client = Peer::connect(addr);
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    client.rest()
}

/// A backend with one thread per connection, which runs a script and then closes.
pub struct Backend {
    /// The listening address.
    pub addr: SocketAddr,
    accepted: Arc<Mutex<usize>>,
}

impl Backend {
    /// Starts a backend. The script receives each connection and its number, counted from 1.
    pub fn run(script: impl Fn(Peer, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(Mutex::new(0));
        let (count, script) = (Arc::clone(&accepted), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut count = count.lock().unwrap();
                *count += 1;
                let (number, script) = (*count, Arc::clone(&script));
                thread::spawn(move || script(Peer::new(stream.unwrap()), number));
            }
        });
        Backend { addr, accepted }
    }

    /// Starts a backend that answers every request without a body with the same bytes.
    pub fn answers(reply: &str) -> Self {
        let reply = reply.to_owned();
        Self::run(move |mut peer, _| {
            while peer.head().is_some() {
                peer.send(&reply);
            }
        })
    }

    /// Returns the number of connections accepted.
    pub fn accepted(&self) -> usize {
        *self.accepted.lock().unwrap()
    }
}

/// Returns an address that refuses connections while the other value lives: the local end of a connection, where
/// no socket listens.
pub fn dead_port() -> (impl Sized, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let addr = stream.local_addr().unwrap();
    ((listener, stream), addr)
}

//! Tests that take minutes or move gigabytes: `make test-heavy`.

use crate::backend::Recorder;
use crate::bed::{Balancer, DEADLINE, dead_port, get, program};
use crate::config_file::{ConfigFile, backends_line};
use crate::steady_load::SteadyLoad;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

/// The memory that a transfer may take beyond what the balancer takes at rest, in KiB.
const ALLOWANCE: u64 = 16 << 10;

/// Returns a repeated sequence of 251 bytes. 251 is prime, so a byte that is lost, doubled or moved is noticed.
fn pattern() -> Vec<u8> {
    (0..PIECE + 251).map(|at| (at % 251) as u8).collect()
}

/// Reads to the end and returns the number of bytes. Fails if they differ from the pattern.
fn count(mut body: impl Read) -> u64 {
    let (pattern, mut piece, mut total) = (pattern(), vec![0; PIECE], 0);
    loop {
        let n = body.read(&mut piece).unwrap();
        if n == 0 {
            return total;
        }
        let phase = (total % 251) as usize;
        assert!(
            piece[..n] == pattern[phase..phase + n],
            "the bytes after the first {total} are not those that were sent"
        );
        total += n as u64;
    }
}

/// Writes a gibibyte of the pattern, and calls `look` after each mebibyte.
fn pour(stream: &mut impl Write, chunked: bool, mut look: impl FnMut()) {
    let (pattern, mut sent) = (pattern(), 0);
    while sent < GIB {
        let phase = (sent % 251) as usize;
        if chunked {
            write!(stream, "{PIECE:x}\r\n").unwrap();
        }
        stream.write_all(&pattern[phase..phase + PIECE]).unwrap();
        if chunked {
            stream.write_all(b"\r\n").unwrap();
        }
        sent += PIECE as u64;
        look();
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
}

/// Decodes a chunked body.
struct Chunks<R> {
    inner: R,
    left: u64,
    over: bool,
}

impl<R: BufRead> Chunks<R> {
    fn of(inner: R) -> Self {
        Chunks { inner, left: 0, over: false }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.inner.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.over {
            self.left = u64::from_str_radix(&self.line(), 16).unwrap();
            self.over = self.left == 0;
            if self.over {
                assert_eq!(self.line(), "");
            }
        }
        let n = self.inner.by_ref().take(self.left).read(buf)?;
        assert!(n > 0 || self.over, "the body is cut short");
        self.left -= n as u64;
        if self.left == 0 && !self.over {
            assert_eq!(self.line(), "");
        }
        Ok(n)
    }
}

/// Reads a head and returns its lines in lower case, or `None` at the end of the connection.
fn head(stream: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_lowercase()),
        }
    }
}

fn has(head: &[String], line: &str) -> bool {
    head.iter().any(|found| found == line)
}

/// Starts a backend that generates the bodies it sends and counts the bytes it receives. It stores neither.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

fn serve(mut stream: TcpStream) {
    let mut reader = BufReader::with_capacity(PIECE, stream.try_clone().unwrap());
    while let Some(head) = head(&mut reader) {
        let chunked = has(&head, "transfer-encoding: chunked");
        match &*head[0] {
            "get /sized http/1.1" => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").unwrap();
                pour(&mut stream, false, || {});
            }
            "get /chunked http/1.1" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                pour(&mut stream, true, || {});
            }
            _ => {
                let got = if chunked {
                    count(Chunks::of(&mut reader))
                } else {
                    let sized = has(&head, &format!("content-length: {GIB}"));
                    count(reader.by_ref().take(if sized { GIB } else { 0 }))
                };
                let length = got.to_string().len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{got}").unwrap();
            }
        }
    }
}

/// Returns the resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Starts the balancer, and returns it with its resident memory at rest, in KiB.
fn at_rest() -> (Balancer, u64) {
    let balancer = Balancer::serve(&[backend()], &[]);
    assert_eq!(balancer.get("/").text(), "0");
    let resident = resident(balancer.pid());
    (balancer, resident)
}

#[track_caller]
fn stays_small(idle: u64, most: u64) {
    assert!(most <= idle + ALLOWANCE, "{most} KiB at most, {idle} KiB at rest");
}

fn uploads(chunked: bool) {
    let (balancer, idle) = at_rest();
    let mut client = balancer.client();
    let framing =
        if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {GIB}") };
    client.send(format!("POST / HTTP/1.1\r\nHost: heavy\r\n{framing}\r\n\r\n"));
    let mut most = 0;
    pour(&mut client.stream, chunked, || most = most.max(resident(balancer.pid())));
    assert_eq!(client.read_reply().text(), GIB.to_string());
    stays_small(idle, most);
}

fn downloads(chunked: bool) {
    let (balancer, idle) = at_rest();
    let mut client = balancer.client();
    let target = if chunked { "/chunked" } else { "/sized" };
    client.send(format!("GET {target} HTTP/1.1\r\nHost: heavy\r\n\r\n"));
    let mut reader = BufReader::with_capacity(PIECE, &mut client.stream);
    let head = head(&mut reader).unwrap();
    assert_eq!(has(&head, "transfer-encoding: chunked"), chunked, "{head:?}");
    let mut most = 0;
    let body: &mut dyn Read =
        if chunked { &mut Chunks::of(&mut reader) } else { &mut reader.by_ref().take(GIB) };
    let watched = Watched { inner: body, look: || most = most.max(resident(balancer.pid())) };
    assert_eq!(count(watched), GIB);
    stays_small(idle, most);
}

/// A reader that calls `look` before each read.
struct Watched<'a, F> {
    inner: &'a mut dyn Read,
    look: F,
}

impl<F: FnMut()> Read for Watched<'_, F> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        (self.look)();
        self.inner.read(buf)
    }
}

#[test]
#[ignore = "heavy: a gibibyte"]
fn uploads_a_gibibyte_of_known_length_in_little_memory() {
    uploads(false);
}

#[test]
#[ignore = "heavy: a gibibyte"]
fn uploads_a_gibibyte_in_chunks_in_little_memory() {
    uploads(true);
}

#[test]
#[ignore = "heavy: a gibibyte"]
fn downloads_a_gibibyte_of_known_length_in_little_memory() {
    downloads(false);
}

#[test]
#[ignore = "heavy: a gibibyte"]
fn downloads_a_gibibyte_in_chunks_in_little_memory() {
    downloads(true);
}

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 64;
const KILLS: usize = 10;

#[test]
#[ignore = "heavy: ten thousand requests while a backend is killed and started again"]
fn no_get_fails_while_one_of_two_backends_is_killed_and_revived() {
    let steady = Balancer::demo_backend(&["--name=steady"]);
    let port = dead_port(); // of the backend that is killed and started again
    let shaky = || {
        let listen = format!("--listen={}", port.addr);
        Balancer::spawn(program().args(["backend", &listen, "--name=shaky"]), "Backend is listening on ")
    };
    let mut alive = Some(shaky());
    let balancer = Balancer::serve(&[steady.addr, port.addr], &[]);
    let (asked, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let talk = || {
        let mut client = balancer.client();
        let mut by_shaky = 0;
        while asked.fetch_add(1, SeqCst) < REQUESTS || kills.load(SeqCst) < KILLS {
            let reply = client.request("GET / HTTP/1.1\r\nHost: heavy\r\n\r\n");
            assert_eq!(reply.status, 200, "{reply:?}");
            by_shaky += usize::from(reply.text().ends_with("shaky\n"));
        }
        by_shaky
    };
    let by_shaky: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(talk)).collect();
        while !clients.iter().all(|client| client.is_finished()) {
            thread::sleep(Duration::from_millis(100)); // while it is up
            drop(alive.take()); // killed, not stopped
            kills.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(100)); // while it is down
            alive = Some(shaky());
        }
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(by_shaky > 0, "the shaky backend has served requests while it was up");
    let began = Instant::now();
    while get(balancer.addr, "/").text() != "Hello from backend server on shaky\n" {
        assert!(began.elapsed() < DEADLINE, "the shaky backend gets no requests although it is back");
    }
}

/// A thousand backends have a loopback address each, and share one listener.
#[test]
#[ignore = "heavy: a thousand backends, each with a connection"]
fn serves_and_reloads_a_thousand_backends_from_one_file() {
    let (backend, urls) = a_thousand();
    let file = ConfigFile::new(&backends_line(&urls[..1000]));
    let began = Instant::now();
    let (balancer, operator) = file.serve(&["--workers=4"]);
    let start = began.elapsed();
    let at_rest = resident(balancer.pid());
    let mut client = balancer.client();
    let mut times: Vec<_> = (0..2000)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(client.request("GET / HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, slowest) = (times[1000], times[1999]);
    let used = resident(balancer.pid());
    assert!(operator.list().iter().all(|backend| backend["tries"] == 2), "each backend was tried twice");
    let crowd = SteadyLoad::of(16, balancer.addr);
    file.write(&backends_line(&urls[500..1500]));
    let began = Instant::now();
    let (status, said) = operator.reload();
    let reload = began.elapsed();
    let count = |name: &str| said[name].as_array().unwrap().len();
    assert_eq!((status, [count("added"), count("removed"), count("kept")]), (200, [500, 500, 500]));
    crowd.go_on_for(1500);
    crowd.finish();
    println!(
        "a thousand backends: listening after {start:?}, {at_rest} KiB at rest and {used} KiB after 2000 requests, \
         median {median:?}, slowest {slowest:?}, a reload of half of them {reload:?}"
    );
    assert!(start < Duration::from_secs(5) && reload < Duration::from_secs(5), "{start:?} {reload:?}");
    assert!(median < Duration::from_millis(20), "{median:?}");
    drop(backend);
}

/// Starts the listener for 1500 backends, and returns it with their addresses.
fn a_thousand() -> (Recorder, Vec<SocketAddr>) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let addrs =
        (0..1500_u16).map(|number| ([127, 9, (number / 250) as u8, (number % 250) as u8 + 1], port).into());
    (Recorder::hello_on(listener, "one of many"), addrs.collect())
}

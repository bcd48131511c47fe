//! The backend behind every balancer: a single-threaded server that only replies, so that it is never the
//! bottleneck of a measurement.

use crate::cell::Delay;
use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(0);

/// Size of the read buffer in bytes.
const READ_SIZE: usize = 64 << 10;

/// Body size of `/huge` in bytes: more than socket buffers hold for a client that does not read.
const HUGE: usize = 16 << 20;

/// Arguments of `backend`.
#[derive(clap::Args, Clone, Debug)]
pub struct BackendOptions {
    /// Address to listen on
    #[arg(long)]
    pub listen: SocketAddr,
    /// Name that every reply carries in its X-Backend header
    #[arg(long)]
    pub name: String,
    /// Body size of a reply in bytes
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Delay before a reply: 10ms, or 1ms/100ms for 100 ms once in twenty times
    #[arg(long, default_value = "0ms")]
    pub delay: Delay,
}

/// A connection from the balancer.
struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// The reply being sent, and the number of bytes sent.
    output: Option<(Rc<[u8]>, usize)>,
    /// Whether a reply is scheduled for later.
    is_delayed: bool,
    closes: bool,
}

/// A complete request.
struct ParsedRequest<'a> {
    method: &'a str,
    path: &'a str,
    keep_alive: bool,
    head: &'a [u8],
    body: Vec<u8>,
}

/// The server.
struct Backend {
    poll: Poll,
    name: String,
    delay: Delay,
    default_reply: Rc<[u8]>,
    head_reply: Rc<[u8]>,
    huge: OnceCell<Rc<[u8]>>,
    connections: HashMap<Token, Connection>,
    /// Times at which delayed replies are due.
    later: BinaryHeap<Reverse<(Instant, Token)>>,
    delayed: HashMap<Token, Rc<[u8]>>,
    next: usize,
}

/// Serves until standard input ends, which is when the parent process exits.
///
/// # Errors
/// Returns an error if the address cannot be bound.
pub fn run(options: &BackendOptions) -> Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let mut listener =
        listen(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut backend = Backend {
        poll,
        delay: options.delay,
        default_reply: reply(&options.name, "200 OK", &pattern(options.body), true),
        head_reply: reply(&options.name, "200 OK", &pattern(options.body), false),
        huge: OnceCell::new(),
        name: options.name.clone(),
        connections: HashMap::new(),
        later: BinaryHeap::new(),
        delayed: HashMap::new(),
        next: 1,
    };
    backend.serve(&listener)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?; // accepted sockets inherit it
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Returns a body of repeated letters that a client can verify.
pub fn pattern(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

fn reply(name: &str, status: &str, body: &[u8], with_body: bool) -> Rc<[u8]> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-Backend: {name}\r\n\r\n").into_bytes();
    if with_body {
        bytes.extend_from_slice(body);
    }
    bytes.into()
}

impl Backend {
    fn serve(&mut self, listener: &TcpListener) -> Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; READ_SIZE]);
        loop {
            let until =
                self.later.peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, until) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(listener),
                    token => self.advance(token, event.is_read_closed() || event.is_error(), &mut buffer),
                }
            }
            let now = Instant::now();
            while self.later.peek().is_some_and(|Reverse((due, _))| *due <= now) {
                if let Some(Reverse((_, token))) = self.later.pop() {
                    self.send_delayed(token, &mut buffer);
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((mut stream, _)) = listener.accept() {
            let token = Token(self.next);
            self.next += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, token, both).is_ok() {
                let connection =
                    Connection { stream, input: Vec::new(), output: None, is_delayed: false, closes: false };
                self.connections.insert(token, connection);
            }
        }
    }

    fn send_delayed(&mut self, token: Token, buffer: &mut [u8]) {
        let Some(bytes) = self.delayed.remove(&token) else { return };
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.is_delayed = false;
            connection.output = Some((bytes, 0));
            self.advance(token, true, buffer);
        }
    }

    /// Reads, replies and writes until the connection would block. `ends` is whether its end may have been signalled.
    fn advance(&mut self, token: Token, ends: bool, buffer: &mut [u8]) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        // A read that does not fill the buffer has drained the socket: later data raises an event.
        let mut drained = false;
        let keeps_open = loop {
            match connection.write() {
                Ok(true) if connection.closes => break false,
                Ok(true) => {}
                Ok(false) => break true,
                Err(_) => break false,
            }
            if connection.is_delayed {
                break true;
            }
            match parse_request(&connection.input) {
                Ok(Some((request, taken))) => {
                    connection.closes = !request.keep_alive;
                    let (bytes, pause) = self.respond(&request);
                    connection.input.drain(..taken);
                    if pause.is_zero() {
                        connection.output = Some((bytes, 0));
                    } else {
                        connection.is_delayed = true;
                        self.delayed.insert(token, bytes);
                        self.later.push(Reverse((Instant::now() + pause, token)));
                    }
                }
                Ok(None) if drained => break true,
                Ok(None) => match connection.stream.read(buffer) {
                    Ok(0) => break false,
                    Ok(n) => {
                        drained = n < buffer.len() && !ends;
                        connection.input.extend_from_slice(&buffer[..n]);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break error.kind() == ErrorKind::WouldBlock,
                },
                Err(_) => break false,
            }
        };
        if keeps_open {
            self.connections.insert(token, connection);
        }
    }

    /// Returns the reply to a request and its delay: the configured body, the request's head for `/head`, or
    /// the request's body for POST.
    fn respond(&self, request: &ParsedRequest) -> (Rc<[u8]>, Duration) {
        let now = |status, body: &[u8]| (reply(&self.name, status, body, true), Duration::ZERO);
        match (request.method, request.path) {
            ("POST", _) => now("200 OK", &request.body),
            ("HEAD", _) => (Rc::clone(&self.head_reply), Duration::ZERO),
            (_, "/head") => now("200 OK", request.head),
            (_, "/missing") => now("404 Not Found", b"missing"),
            (_, "/huge") => {
                let huge = self.huge.get_or_init(|| reply(&self.name, "200 OK", &pattern(HUGE), true));
                (Rc::clone(huge), Duration::ZERO)
            }
            _ => (Rc::clone(&self.default_reply), self.delay.next()),
        }
    }
}

impl Connection {
    /// Writes the pending reply. Returns whether all of it has been written.
    fn write(&mut self) -> std::io::Result<bool> {
        while let Some((bytes, sent)) = &mut self.output {
            match self.stream.write(&bytes[*sent..]) {
                Ok(n) => *sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if *sent == bytes.len() {
                self.output = None;
            }
        }
        Ok(true)
    }
}

/// Returns the request at the start of `input` and its length, or `None` if it is incomplete.
fn parse_request(input: &[u8]) -> Result<Option<(ParsedRequest<'_>, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(size) = head.parse(input)? else { return Ok(None) };
    let field = |name: &str| head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let is = |name: &str, value: &str| {
        field(name).is_some_and(|field| field.value.eq_ignore_ascii_case(value.as_bytes()))
    };
    let (body, framed) = if is("Transfer-Encoding", "chunked") {
        match chunked(&input[size..])? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else {
        let length =
            field("Content-Length").map_or("0", |field| str::from_utf8(field.value).unwrap_or_default());
        let length: usize = length.parse().context("Content-Length is not a number")?;
        match input.get(size..size + length) {
            Some(body) => (body.to_vec(), length),
            None => return Ok(None),
        }
    };
    let keep_alive =
        if head.version == Some(1) { !is("Connection", "close") } else { is("Connection", "keep-alive") };
    let (method, path) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    Ok(Some((ParsedRequest { method, path, keep_alive, head: &input[..size], body }, size + framed)))
}

/// Returns a chunked body and its encoded length, or `None` if it is incomplete. Trailers are not supported.
fn chunked(mut input: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let (mut body, whole) = (Vec::new(), input.len());
    loop {
        let size =
            httparse::parse_chunk_size(input).map_err(|_| anyhow::anyhow!("a chunk has no valid size"))?;
        let httparse::Status::Complete((line, size)) = size else { return Ok(None) };
        let size = usize::try_from(size)?;
        let Some(chunk) = input.get(line..line + size + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        input = &input[line + size + 2..];
        if size == 0 {
            return Ok(Some((body, whole - input.len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_request_only_once_it_is_complete() {
        let sized = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        let (request, taken) = parse_request(sized).unwrap().unwrap();
        assert_eq!((request.method, request.path, request.body.as_slice()), ("POST", "/x", &b"abc"[..]));
        assert_eq!(&sized[taken..], b"GET");
        assert!(parse_request(&sized[..taken - 1]).unwrap().is_none());
        let chunks =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET";
        let (request, taken) = parse_request(chunks).unwrap().unwrap();
        assert_eq!((request.body.as_slice(), &chunks[taken..]), (&b"abc"[..], &b"GET"[..]));
        assert!((0..taken).all(|size| parse_request(&chunks[..size]).unwrap().is_none()));
    }

    #[test]
    fn closes_the_connection_when_the_request_says_so() {
        for (head, keeps) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nconnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(parse_request(head.as_bytes()).unwrap().unwrap().0.keep_alive, keeps, "{head}");
        }
    }
}

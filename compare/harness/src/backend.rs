//! What the balancers stand in front of: a server that does nothing but reply, from one thread, so that it is
//! never what a measurement is bound by.

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

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// What `/huge` replies with, whatever is set: more than sockets hold for a client that does not read.
const HUGE: usize = 16 << 20;

/// How a backend replies.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on
    #[arg(long)]
    pub listen: SocketAddr,
    /// Name that every reply carries in its X-Backend
    #[arg(long)]
    pub name: String,
    /// Bytes of a reply's body
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Time before a reply: 10ms, or 1ms/100ms for the second once in twenty times
    #[arg(long, default_value = "0ms")]
    pub delay: Delay,
}

/// One connection.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// What is being sent, and how much of it has been.
    output: Option<(Rc<[u8]>, usize)>,
    /// A request is being thought about.
    waits: bool,
    closes: bool,
}

/// A whole request.
struct Asked<'a> {
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
    usual: Rc<[u8]>,
    without_body: Rc<[u8]>,
    huge: OnceCell<Rc<[u8]>>,
    clients: HashMap<Token, Client>,
    /// Replies that are due later.
    later: BinaryHeap<Reverse<(Instant, Token)>>,
    thought_of: HashMap<Token, Rc<[u8]>>,
    next: usize,
}

/// Serves until its standard input ends: with whoever started it.
///
/// # Errors
/// When the address cannot be bound.
pub fn run(options: &Options) -> Result<()> {
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
        usual: reply(&options.name, "200 OK", &pattern(options.body), true),
        without_body: reply(&options.name, "200 OK", &pattern(options.body), false),
        huge: OnceCell::new(),
        name: options.name.clone(),
        clients: HashMap::new(),
        later: BinaryHeap::new(),
        thought_of: HashMap::new(),
        next: 1,
    };
    backend.serve(&listener)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?; // those that are accepted inherit it
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Letters, so that what arrives can be compared.
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
        let (mut events, mut piece) = (Events::with_capacity(1024), vec![0; PIECE]);
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
                    token => self.visit(token, event.is_read_closed() || event.is_error(), &mut piece),
                }
            }
            let now = Instant::now();
            while self.later.peek().is_some_and(|Reverse((due, _))| *due <= now) {
                if let Some(Reverse((_, token))) = self.later.pop() {
                    self.answer_later(token, &mut piece);
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
                let client = Client { stream, input: Vec::new(), output: None, waits: false, closes: false };
                self.clients.insert(token, client);
            }
        }
    }

    fn answer_later(&mut self, token: Token, piece: &mut [u8]) {
        let Some(bytes) = self.thought_of.remove(&token) else { return };
        if let Some(client) = self.clients.get_mut(&token) {
            client.waits = false;
            client.output = Some((bytes, 0));
            self.visit(token, true, piece);
        }
    }

    /// Goes on with one connection as far as it goes. `ends`: its end may have been announced already.
    fn visit(&mut self, token: Token, ends: bool, piece: &mut [u8]) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        // A read that did not fill its buffer has taken everything: what comes later is announced.
        let mut drained = false;
        let stays = loop {
            match client.write() {
                Ok(true) if client.closes => break false,
                Ok(true) => {}
                Ok(false) => break true,
                Err(_) => break false,
            }
            if client.waits {
                break true;
            }
            match ask(&client.input) {
                Ok(Some((asked, taken))) => {
                    client.closes = !asked.keep_alive;
                    let (bytes, pause) = self.think(&asked);
                    client.input.drain(..taken);
                    if pause.is_zero() {
                        client.output = Some((bytes, 0));
                    } else {
                        client.waits = true;
                        self.thought_of.insert(token, bytes);
                        self.later.push(Reverse((Instant::now() + pause, token)));
                    }
                }
                Ok(None) if drained => break true,
                Ok(None) => match client.stream.read(piece) {
                    Ok(0) => break false,
                    Ok(n) => {
                        drained = n < piece.len() && !ends;
                        client.input.extend_from_slice(&piece[..n]);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break error.kind() == ErrorKind::WouldBlock,
                },
                Err(_) => break false,
            }
        };
        if stays {
            self.clients.insert(token, client);
        }
    }

    /// The reply to a request, and after how long: the set body, the head that came for `/head`, the body
    /// that came for POST.
    fn think(&self, asked: &Asked) -> (Rc<[u8]>, Duration) {
        let now = |status, body: &[u8]| (reply(&self.name, status, body, true), Duration::ZERO);
        match (asked.method, asked.path) {
            ("POST", _) => now("200 OK", &asked.body),
            ("HEAD", _) => (Rc::clone(&self.without_body), Duration::ZERO),
            (_, "/head") => now("200 OK", asked.head),
            (_, "/missing") => now("404 Not Found", b"missing"),
            (_, "/huge") => {
                let huge = self.huge.get_or_init(|| reply(&self.name, "200 OK", &pattern(HUGE), true));
                (Rc::clone(huge), Duration::ZERO)
            }
            _ => (Rc::clone(&self.usual), self.delay.next()),
        }
    }
}

impl Client {
    /// Sends what there is to send. True when nothing is left.
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

/// The request that begins these bytes, if it is whole, and how many of them it is.
fn ask(input: &[u8]) -> Result<Option<(Asked<'_>, usize)>> {
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
        let length: usize = length.parse().context("a Content-Length that is no number")?;
        match input.get(size..size + length) {
            Some(body) => (body.to_vec(), length),
            None => return Ok(None),
        }
    };
    let keep_alive =
        if head.version == Some(1) { !is("Connection", "close") } else { is("Connection", "keep-alive") };
    let (method, path) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    Ok(Some((Asked { method, path, keep_alive, head: &input[..size], body }, size + framed)))
}

/// The body in these chunks, if they are whole, and how many bytes they are. Without trailers.
fn chunked(mut input: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let (mut body, whole) = (Vec::new(), input.len());
    loop {
        let size =
            httparse::parse_chunk_size(input).map_err(|_| anyhow::anyhow!("a chunk without a size"))?;
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
    fn a_request_is_taken_when_it_is_whole() {
        let sized = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        let (asked, taken) = ask(sized).unwrap().unwrap();
        assert_eq!((asked.method, asked.path, asked.body.as_slice()), ("POST", "/x", &b"abc"[..]));
        assert_eq!(&sized[taken..], b"GET");
        assert!(ask(&sized[..taken - 1]).unwrap().is_none());
        let chunks =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET";
        let (asked, taken) = ask(chunks).unwrap().unwrap();
        assert_eq!((asked.body.as_slice(), &chunks[taken..]), (&b"abc"[..], &b"GET"[..]));
        assert!((0..taken).all(|size| ask(&chunks[..size]).unwrap().is_none()));
    }

    #[test]
    fn a_connection_ends_when_it_is_asked_to() {
        for (head, keeps) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nconnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(ask(head.as_bytes()).unwrap().unwrap().0.keep_alive, keeps, "{head}");
        }
    }
}

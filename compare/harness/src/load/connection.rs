//! One connection of the load: sends requests and reads replies.

use super::reply_parser::ReplyParser;
use anyhow::Result;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Timeout for opening a connection before the load starts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection of the load, open or to be opened.
pub struct LoadConnection {
    target: SocketAddr,
    /// Whether the connection may carry another request.
    keep_alive: bool,
    stream: Option<TcpStream>,
    /// When the current request was due, and how many bytes of it have been sent.
    due: Option<Instant>,
    sent: usize,
    reply: ReplyParser,
}

/// The outcome of one step of I/O.
pub enum Step {
    /// No complete reply yet.
    Pending,
    /// A complete reply.
    Complete {
        /// When the request was due.
        due: Instant,
        /// The reply's status.
        status: u16,
        /// Size of its body in bytes.
        body: u64,
    },
    /// The request failed and the connection is closed.
    Failed {
        /// When the request was due.
        due: Instant,
        /// The kind of failure.
        kind: &'static str,
    },
}

impl LoadConnection {
    /// Returns a connection that is not open yet.
    pub fn new(target: SocketAddr, keep_alive: bool) -> Self {
        LoadConnection { target, keep_alive, stream: None, due: None, sent: 0, reply: ReplyParser::default() }
    }

    /// Connects and waits for the connection to open.
    ///
    /// # Errors
    /// Returns an error if the connection fails or times out.
    pub fn connect(&mut self, poll: &Poll, token: Token) -> Result<()> {
        let stream = std::net::TcpStream::connect_timeout(&self.target, CONNECT_TIMEOUT)?;
        stream.set_nonblocking(true)?;
        self.keep(TcpStream::from_std(stream), poll, token)?;
        Ok(())
    }

    fn keep(&mut self, mut stream: TcpStream, poll: &Poll, token: Token) -> io::Result<()> {
        stream.set_nodelay(true)?;
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends the next request, over a new connection if none is open.
    pub fn send_request(&mut self, due: Instant, request: &[u8], poll: &Poll, token: Token) -> Step {
        self.due = Some(due);
        self.sent = 0;
        self.reply = ReplyParser::default();
        if self.stream.is_some() {
            return self.send(request).map_or_else(|error| self.fail(&error), |()| Step::Pending);
        }
        match TcpStream::connect(self.target).and_then(|stream| self.keep(stream, poll, token)) {
            Ok(()) => Step::Pending, // sent once the socket is writable
            Err(error) => self.fail(&error),
        }
    }

    /// Handles a readiness event. `closing` is whether the event announced the peer's close, which is announced once.
    pub fn on_event(&mut self, request: &[u8], closing: bool, buffer: &mut [u8]) -> Step {
        if self.due.is_some()
            && let Err(error) = self.send(request)
        {
            return self.fail(&error);
        }
        self.read(closing, buffer)
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.sent < request.len() {
            match stream.write(&request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, closing: bool, buffer: &mut [u8]) -> Step {
        loop {
            let Some(stream) = &mut self.stream else { return Step::Pending };
            let n = match stream.read(buffer) {
                Ok(0) => return self.ended(),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Pending,
                Err(error) => return self.fail(&error),
            };
            match self.reply.feed(&buffer[..n]) {
                Ok(true) => return self.complete(),
                Ok(false) if n < buffer.len() && !closing => return Step::Pending, // later data raises an event
                Ok(false) => {}
                Err(broken) => return self.close(broken.kind()),
            }
        }
    }

    fn complete(&mut self) -> Step {
        if !(self.keep_alive && self.reply.keep_alive) {
            self.stream = None;
        }
        match self.due.take() {
            Some(due) => Step::Complete { due, status: self.reply.status, body: self.reply.body },
            None => self.close("unasked"),
        }
    }

    /// Handles the peer's end of stream.
    fn ended(&mut self) -> Step {
        match self.reply.end() {
            Ok(true) => self.complete(),
            Ok(false) => self.close("closed"),
            Err(broken) => self.close(broken.kind()),
        }
    }

    fn fail(&mut self, error: &io::Error) -> Step {
        self.close(match error.kind() {
            ErrorKind::ConnectionRefused => "refused",
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
            ErrorKind::TimedOut => "timeout",
            ErrorKind::AddrNotAvailable => "no-port",
            _ => "other",
        })
    }

    fn close(&mut self, kind: &'static str) -> Step {
        self.stream = None;
        // A connection that closes between requests is not a failure.
        self.due.take().map_or(Step::Pending, |due| Step::Failed { due, kind })
    }
}

//! One connection of the load: asks, and reads what comes.

use super::reply::Reply;
use anyhow::Result;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a connection may take to open before the load begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, or the want of one.
pub struct Client {
    target: SocketAddr,
    /// May a connection be used again?
    keep_alive: bool,
    stream: Option<TcpStream>,
    /// When the request under way was due, and how much of it has been sent.
    due: Option<Instant>,
    sent: usize,
    reply: Reply,
}

/// What came of it.
pub enum Step {
    /// Nothing yet.
    Waits,
    /// A whole reply.
    Whole {
        /// When the request was due.
        due: Instant,
        /// The reply's status.
        status: u16,
        /// Bytes of its body.
        body: u64,
    },
    /// None. The connection is closed.
    Failed {
        /// When the request was due.
        due: Instant,
        /// A word for why.
        word: &'static str,
    },
}

impl Client {
    /// Not connected yet.
    pub fn new(target: SocketAddr, keep_alive: bool) -> Self {
        Client { target, keep_alive, stream: None, due: None, sent: 0, reply: Reply::default() }
    }

    /// Connects, and waits until it is.
    ///
    /// # Errors
    /// When it cannot be, or not in time.
    pub fn open_now(&mut self, poll: &Poll, token: Token) -> Result<()> {
        let stream = std::net::TcpStream::connect_timeout(&self.target, PATIENCE)?;
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

    /// Sends the next request, over a new connection if there is none.
    pub fn ask(&mut self, due: Instant, request: &[u8], poll: &Poll, token: Token) -> Step {
        self.due = Some(due);
        self.sent = 0;
        self.reply = Reply::default();
        if self.stream.is_some() {
            return self.send(request).map_or_else(|error| self.fail(&error), |()| Step::Waits);
        }
        match TcpStream::connect(self.target).and_then(|stream| self.keep(stream, poll, token)) {
            Ok(()) => Step::Waits, // it is told when it can send
            Err(error) => self.fail(&error),
        }
    }

    /// Something has happened to the connection. `ends`: its end has been announced, and will not be again.
    pub fn go_on(&mut self, request: &[u8], ends: bool, piece: &mut [u8]) -> Step {
        if self.due.is_some()
            && let Err(error) = self.send(request)
        {
            return self.fail(&error);
        }
        self.read(ends, piece)
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

    fn read(&mut self, ends: bool, piece: &mut [u8]) -> Step {
        loop {
            let Some(stream) = &mut self.stream else { return Step::Waits };
            let n = match stream.read(piece) {
                Ok(0) => return self.ended(),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waits,
                Err(error) => return self.fail(&error),
            };
            match self.reply.take_in(&piece[..n]) {
                Ok(true) => return self.whole(),
                Ok(false) if n < piece.len() && !ends => return Step::Waits, // what comes later is announced
                Ok(false) => {}
                Err(broken) => return self.give_up(broken.word()),
            }
        }
    }

    fn whole(&mut self) -> Step {
        if !(self.keep_alive && self.reply.keeps) {
            self.stream = None;
        }
        match self.due.take() {
            Some(due) => Step::Whole { due, status: self.reply.status, body: self.reply.body },
            None => self.give_up("unasked"),
        }
    }

    /// The other side has said all.
    fn ended(&mut self) -> Step {
        match self.reply.end() {
            Ok(true) => self.whole(),
            Ok(false) => self.give_up("closed"),
            Err(broken) => self.give_up(broken.word()),
        }
    }

    fn fail(&mut self, error: &io::Error) -> Step {
        self.give_up(match error.kind() {
            ErrorKind::ConnectionRefused => "refused",
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
            ErrorKind::TimedOut => "timeout",
            ErrorKind::AddrNotAvailable => "no-port",
            _ => "other",
        })
    }

    fn give_up(&mut self, word: &'static str) -> Step {
        self.stream = None;
        // A connection that ends while nothing is asked is no failure.
        self.due.take().map_or(Step::Waits, |due| Step::Failed { due, word })
    }
}

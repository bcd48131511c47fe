//! One client's connection: a request, its reply, and again while both sides like.

use crate::message::{Refusal, Reply, Request};
use crate::relay::{Broken, Buffer, NoHead, PIECE, relay};
use crate::upstream::{Upstream, Upstreams};
use std::io::{self, ErrorKind, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a client may take for its next bytes, in a request or between two.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take nothing of its reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client that has been refused may go on sending before it is cut.
const LINGER: Duration = Duration::from_secs(1);

/// The longest head of a request.
const LONGEST_HEAD: usize = 16 << 10;

const BAD_GATEWAY: Refusal = Refusal::new("502 Bad Gateway", "no backend gave a usable reply");
const TOO_SLOW: Refusal = Refusal::new("504 Gateway Timeout", "the backend took too long");
const CLIENT_TOO_SLOW: Refusal = Refusal::new("408 Request Timeout", "the request took too long to arrive");

/// A connection while its thread serves it.
pub struct Connection<'a> {
    upstreams: &'a Upstreams,
    client: TcpStream,
    peer: String,
    /// What has come from the client.
    received: Buffer,
    /// What has come from the backend.
    answered: Buffer,
    /// What goes out next, to either side: a head, and the first of a body.
    out: Vec<u8>,
}

/// What becomes of the client's connection.
enum Next {
    /// The next request may come.
    Request,
    /// Nothing more.
    Close,
    /// Nothing more, but the client may still be sending: it must get to read what it was told.
    Linger,
}

/// Why there is no reply.
enum Lost {
    /// The backend closed the connection without a word. If it was a pooled one, it may have been closed before.
    Unanswered,
    /// The client is told so.
    Refused(Refusal),
    /// The client has gone.
    ClientGone,
}

/// A reply that has begun: its head waits in `out`.
struct Begun {
    reply: Reply,
    link: TcpStream,
    /// The backend took the whole request.
    sent: bool,
}

impl<'a> Connection<'a> {
    /// Takes an accepted connection over.
    ///
    /// # Errors
    /// When the socket cannot be set up.
    pub fn new(client: TcpStream, peer: SocketAddr, upstreams: &'a Upstreams) -> io::Result<Self> {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(IDLE_TIMEOUT))?;
        client.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let peer = peer.ip().to_canonical().to_string();
        let (received, answered) = (Buffer::new(), Buffer::new());
        Ok(Connection { upstreams, client, peer, received, answered, out: Vec::new() })
    }

    /// Serves one request after the other.
    pub fn serve(mut self) {
        loop {
            match self.turn() {
                Next::Request => {}
                Next::Close => return,
                Next::Linger => return self.linger(),
            }
        }
    }

    fn turn(&mut self) -> Next {
        let mut request = match self.request() {
            Ok(Some(request)) => request,
            Ok(None) => return Next::Close,
            Err(refusal) => return self.refuse(refusal, None),
        };
        match self.forward(&mut request) {
            Ok((upstream, begun)) => self.deliver(upstream, begun, &request),
            Err(Lost::ClientGone) => Next::Close,
            Err(Lost::Unanswered) => self.refuse(BAD_GATEWAY, Some(&request)),
            Err(Lost::Refused(refusal)) => self.refuse(refusal, Some(&request)),
        }
    }

    /// Waits for a request's head. Nothing if none will come.
    fn request(&mut self) -> Result<Option<Request>, Refusal> {
        // Some clients send an empty line after a body (RFC 9112 §2.2).
        while self.received.bytes().starts_with(b"\r\n") {
            self.received.consume(2);
        }
        let length = match self.received.head(&self.client, LONGEST_HEAD) {
            Ok(length) => length,
            Err(NoHead::TimedOut) if !self.received.bytes().is_empty() => return Err(CLIENT_TOO_SLOW),
            Err(NoHead::Ended | NoHead::TimedOut) => return Ok(None),
            Err(NoHead::Malformed) => return Err(Refusal::bad("a header line is malformed")),
            Err(NoHead::TooLong) => {
                let text = "the request's head is too long";
                return Err(Refusal::new("431 Request Header Fields Too Large", text));
            }
        };
        let request = Request::parse(&self.received.bytes()[..length], &self.peer)?;
        self.received.consume(length);
        Ok(Some(request))
    }

    /// Tries backends until one has begun a reply. One that cannot be connected to has seen nothing: the next
    /// one is tried, whatever the request.
    fn forward(&mut self, request: &mut Request) -> Result<(&'a Upstream, Begun), Lost> {
        for upstream in self.upstreams.tour() {
            // One that was kept has most likely been closed if nothing comes: then once more, over a fresh one.
            let fresh = iter::once_with(|| upstream.connect().ok()).flatten();
            for link in upstream.take().into_iter().chain(fresh) {
                match self.ask(link, upstream, request) {
                    Err(Lost::Unanswered) if request.repeatable => {}
                    outcome => return outcome.map(|begun| (upstream, begun)),
                }
            }
        }
        Err(Lost::Refused(BAD_GATEWAY))
    }

    /// Sends the request over this connection and waits for the reply's head.
    fn ask(&mut self, link: TcpStream, upstream: &Upstream, request: &mut Request) -> Result<Begun, Lost> {
        let Connection { client, received, answered, out, .. } = self;
        if request.expects && !request.body.is_over() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Lost::ClientGone)?;
        }
        out.clear();
        request.write(upstream.authority(), out);
        let sent = match relay(&mut request.body, request.chunked, (&*client, received), (&link, out)) {
            Ok(()) => true,
            // It may have said why before it closed: read on.
            Err(Broken::Sink) => false,
            Err(Broken::Source(error)) => return Err(upload_failed(&error)),
        };
        answered.clear(); // of an earlier try
        let mut interim = false;
        loop {
            let length = match answered.head(&link, PIECE) {
                Ok(length) => length,
                Err(NoHead::Ended) if answered.bytes().is_empty() && !interim => {
                    return Err(Lost::Unanswered);
                }
                Err(NoHead::TimedOut) => return Err(Lost::Refused(TOO_SLOW)),
                Err(_) => return Err(Lost::Refused(BAD_GATEWAY)),
            };
            let reply = Reply::parse(&answered.bytes()[..length], request, request.body.is_over(), out);
            answered.consume(length);
            match reply {
                Ok(Some(reply)) => return Ok(Begun { reply, link, sent }),
                Ok(None) => interim = true,
                Err(()) => return Err(Lost::Refused(BAD_GATEWAY)),
            }
        }
    }

    /// Sends the reply on as it arrives.
    fn deliver(&mut self, upstream: &Upstream, begun: Begun, request: &Request) -> Next {
        let Begun { mut reply, link, sent } = begun;
        let Connection { client, answered, out, .. } = self;
        let delivered = relay(&mut reply.body, reply.chunked, (&link, answered), (&*client, out));
        // Whoever has said more than its reply cannot be believed the next time.
        if delivered.is_ok()
            && reply.reusable
            && sent
            && request.body.is_over()
            && answered.bytes().is_empty()
        {
            upstream.put(link);
        }
        match delivered {
            Ok(()) if reply.keep => Next::Request,
            Ok(()) if !request.body.is_over() => Next::Linger,
            Ok(()) | Err(_) => Next::Close,
        }
    }

    /// Tells the client why there is no reply. `request` is nothing if it could not be understood.
    fn refuse(&mut self, refusal: Refusal, request: Option<&Request>) -> Next {
        self.out.clear();
        let keep = request.is_some_and(|request| request.keep && request.body.is_over());
        refusal.write(request, keep, &mut self.out);
        match self.client.write_all(&self.out) {
            Ok(()) if keep => Next::Request,
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// Closing a connection on which bytes are unread resets it, and a reset can overtake the reply: so they
    /// are read, for a moment.
    fn linger(mut self) {
        let began = Instant::now();
        let _ = self.client.shutdown(Shutdown::Write);
        let _ = self.client.set_read_timeout(Some(LINGER));
        while began.elapsed() < LINGER {
            self.received.clear();
            if !matches!(self.received.fill(&self.client), Ok(1..)) {
                return;
            }
        }
    }
}

/// What the client's failure in its own upload means to it.
fn upload_failed(error: &io::Error) -> Lost {
    match error.kind() {
        ErrorKind::InvalidData => Lost::Refused(Refusal::bad("the body's chunks are malformed")),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::Refused(CLIENT_TOO_SLOW),
        _ => Lost::ClientGone,
    }
}

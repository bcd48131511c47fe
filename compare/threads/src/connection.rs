//! A client's connection: requests and replies, until either side closes.

use crate::relay::{BUFFER_SIZE, Buffer, HeadError, RelayError, relay};
use crate::reply::Reply;
use crate::request::{Refusal, Request};
use crate::upstream::{Upstream, Upstreams};
use std::io::{self, ErrorKind, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Timeout for the client's next bytes, within a request or between two.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for a write to the client.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for which a refused client's bytes are read before its connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Longest accepted head of a request in bytes.
const MAX_REQUEST_HEAD: usize = 16 << 10;

const BAD_GATEWAY: Refusal = Refusal::new("502 Bad Gateway", "no backend gave a usable reply");
const BACKEND_TIMEOUT: Refusal = Refusal::new("504 Gateway Timeout", "the backend took too long");
const CLIENT_TIMEOUT: Refusal = Refusal::new("408 Request Timeout", "the request took too long to arrive");

/// A connection served by its thread.
pub struct Connection<'a> {
    upstreams: &'a Upstreams,
    client: TcpStream,
    peer: String,
    /// Bytes received from the client.
    received: Buffer,
    /// Bytes received from the backend.
    answered: Buffer,
    /// Bytes to send next, to either side: a head and the start of a body.
    out: Vec<u8>,
}

/// The next action on the client's connection.
enum Next {
    /// Wait for the next request.
    Request,
    /// Close it.
    Close,
    /// Close it after reading for a while, because the client may still be sending.
    Linger,
}

/// The reason why a request has no reply.
enum ForwardError {
    /// The backend closed the connection without a reply. A pooled connection may have been closed earlier.
    Unanswered,
    /// The client receives this refusal.
    Refused(Refusal),
    /// The client has disconnected.
    ClientGone,
}

/// A reply whose head is in `out`.
struct StartedReply {
    reply: Reply,
    stream: TcpStream,
    /// Whether the backend has received the whole request.
    sent: bool,
}

impl<'a> Connection<'a> {
    /// Wraps an accepted connection.
    ///
    /// # Errors
    /// Returns an error if a socket option cannot be set.
    pub fn new(client: TcpStream, peer: SocketAddr, upstreams: &'a Upstreams) -> io::Result<Self> {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(IDLE_TIMEOUT))?;
        client.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let peer = peer.ip().to_canonical().to_string();
        let (received, answered) = (Buffer::new(), Buffer::new());
        Ok(Connection { upstreams, client, peer, received, answered, out: Vec::new() })
    }

    /// Serves requests until the connection closes.
    pub fn serve(mut self) {
        loop {
            match self.serve_one() {
                Next::Request => {}
                Next::Close => return,
                Next::Linger => return self.linger(),
            }
        }
    }

    fn serve_one(&mut self) -> Next {
        let mut request = match self.request() {
            Ok(Some(request)) => request,
            Ok(None) => return Next::Close,
            Err(refusal) => return self.refuse(refusal, None),
        };
        match self.forward(&mut request) {
            Ok((upstream, started)) => self.deliver(upstream, started, &request),
            Err(ForwardError::ClientGone) => Next::Close,
            Err(ForwardError::Unanswered) => self.refuse(BAD_GATEWAY, Some(&request)),
            Err(ForwardError::Refused(refusal)) => self.refuse(refusal, Some(&request)),
        }
    }

    /// Reads a request's head. Returns `None` if the client has closed or timed out between requests.
    fn request(&mut self) -> Result<Option<Request>, Refusal> {
        // Some clients send an empty line after a body (RFC 9112 §2.2).
        while self.received.bytes().starts_with(b"\r\n") {
            self.received.consume(2);
        }
        let length = match self.received.head(&self.client, MAX_REQUEST_HEAD) {
            Ok(length) => length,
            Err(HeadError::TimedOut) if !self.received.bytes().is_empty() => return Err(CLIENT_TIMEOUT),
            Err(HeadError::Ended | HeadError::TimedOut) => return Ok(None),
            Err(HeadError::Malformed) => return Err(Refusal::bad("a header line is malformed")),
            Err(HeadError::TooLong) => {
                let text = "the request's head is too long";
                return Err(Refusal::new("431 Request Header Fields Too Large", text));
            }
        };
        let request = Request::parse(&self.received.bytes()[..length], &self.peer)?;
        self.received.consume(length);
        Ok(Some(request))
    }

    /// Tries backends until one starts a reply. A failed connection has sent nothing, so the next backend is tried
    /// whatever the request.
    fn forward(&mut self, request: &mut Request) -> Result<(&'a Upstream, StartedReply), ForwardError> {
        for upstream in self.upstreams.attempts() {
            // A pooled connection without a reply was most likely closed: try again over a new one.
            let fresh = iter::once_with(|| upstream.connect().ok()).flatten();
            for stream in upstream.take().into_iter().chain(fresh) {
                match self.send(stream, upstream, request) {
                    Err(ForwardError::Unanswered) if request.retryable => {}
                    outcome => return outcome.map(|started| (upstream, started)),
                }
            }
        }
        Err(ForwardError::Refused(BAD_GATEWAY))
    }

    /// Sends the request over a connection and reads the reply's head.
    fn send(
        &mut self,
        stream: TcpStream,
        upstream: &Upstream,
        request: &mut Request,
    ) -> Result<StartedReply, ForwardError> {
        let Connection { client, received, answered, out, .. } = self;
        if request.expects_continue && !request.body.is_done() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| ForwardError::ClientGone)?;
        }
        out.clear();
        request.write(upstream.authority(), out);
        let sent = match relay(&mut request.body, request.chunked, (&*client, received), (&stream, out)) {
            Ok(()) => true,
            // The backend may have replied before it closed.
            Err(RelayError::Sink) => false,
            Err(RelayError::Source(error)) => return Err(upload_failed(&error)),
        };
        answered.clear(); // of an earlier attempt
        let mut interim = false;
        loop {
            let length = match answered.head(&stream, BUFFER_SIZE) {
                Ok(length) => length,
                Err(HeadError::Ended) if answered.bytes().is_empty() && !interim => {
                    return Err(ForwardError::Unanswered);
                }
                Err(HeadError::TimedOut) => return Err(ForwardError::Refused(BACKEND_TIMEOUT)),
                Err(_) => return Err(ForwardError::Refused(BAD_GATEWAY)),
            };
            let reply = Reply::parse(&answered.bytes()[..length], request, request.body.is_done(), out);
            answered.consume(length);
            match reply {
                Ok(Some(reply)) => return Ok(StartedReply { reply, stream, sent }),
                Ok(None) => interim = true,
                Err(()) => return Err(ForwardError::Refused(BAD_GATEWAY)),
            }
        }
    }

    /// Relays the reply as it arrives.
    fn deliver(&mut self, upstream: &Upstream, started: StartedReply, request: &Request) -> Next {
        let StartedReply { mut reply, stream, sent } = started;
        let Connection { client, answered, out, .. } = self;
        let delivered = relay(&mut reply.body, reply.chunked, (&stream, answered), (&*client, out));
        // A backend that has sent more than its reply cannot be trusted with another request.
        if delivered.is_ok()
            && reply.reusable
            && sent
            && request.body.is_done()
            && answered.bytes().is_empty()
        {
            upstream.append(stream);
        }
        match delivered {
            Ok(()) if reply.keep_alive => Next::Request,
            Ok(()) if !request.body.is_done() => Next::Linger,
            Ok(()) | Err(_) => Next::Close,
        }
    }

    /// Sends a refusal. `request` is `None` if the request could not be parsed.
    fn refuse(&mut self, refusal: Refusal, request: Option<&Request>) -> Next {
        self.out.clear();
        let keep_alive = request.is_some_and(|request| request.keep_alive && request.body.is_done());
        refusal.write(request, keep_alive, &mut self.out);
        match self.client.write_all(&self.out) {
            Ok(()) if keep_alive => Next::Request,
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// Reads for a while before closing: closing with unread bytes resets the connection, and the reset can
    /// overtake the reply.
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

/// Maps a failed upload to its consequence for the client.
fn upload_failed(error: &io::Error) -> ForwardError {
    match error.kind() {
        ErrorKind::InvalidData => ForwardError::Refused(Refusal::bad("the body's chunks are malformed")),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ForwardError::Refused(CLIENT_TIMEOUT),
        _ => ForwardError::ClientGone,
    }
}

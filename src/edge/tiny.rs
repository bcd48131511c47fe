//! Step 1a: the tiny_http edge, the one to read first.
//!
//! tiny_http accepts, gives each connection a thread, and reads heads. [`Dispatch`] takes each request
//! from it, checks it, and offers it at the queue's door; what workers read and write afterwards goes
//! through a [`TinyLine`]. The rest answers for what tiny_http leaves open: it cannot close a
//! connection, reads unread bodies into memory, and stops accepting after one error.

use super::head::{self, Body, RawHead};
use super::pulse::{Nerve, Patient, Pulse};
use super::severed::Severed;
use super::socket::{self, Hold, Inherited};
use super::wire::{self, End};
use super::{Exchange, Line, Options};
use crate::access_log::Outcome;
use crate::error::{Refusal, StartError};
use crate::queue::Door;
use crate::threads::Crew;
use crossbeam_channel::{Sender, bounded};
use http::{Version, request};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Request, Response, Server, StatusCode};

/// Threads that answer refusals. A refusal may have to wait for its turn on a pipelined connection,
/// or for a client that is still sending, and neither the edge nor a worker should.
const REFUSERS: usize = 8;

/// How often the edge looks for a request before it falls asleep.
const GLANCES: usize = 10;

/// How long a refused client that is still sending may take to notice.
const LINGER: Duration = Duration::from_secs(1);

/// The largest unread rest of a body that may be dropped: tiny_http makes a buffer of that size to
/// read it into. The pages are never touched, but an impossible size would end the process.
const DROPPABLE: u64 = 1 << 30;

/// A bound listener, not yet serving.
pub struct TinyEdge {
    listener: TcpListener,
    local: SocketAddr,
    options: Options,
    read_timeout: Duration,
}

impl TinyEdge {
    /// Binds an address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, options: &Options) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind { address, source };
        // One timeout for every read: tiny_http's connections know no other.
        let read_timeout = options.client_body_timeout.min(options.idle_timeout);
        let inherited = Inherited { read: read_timeout, write: options.client_write_timeout };
        let listener = socket::listen(address, inherited).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(TinyEdge { listener, local, options: *options, read_timeout })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Starts serving: every request that comes is offered at the door.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, door: Door) -> Result<Running, StartError> {
        let (refusals, chores) = bounded::<Chore>(door.capacity());
        let crew = Crew::default();
        for number in 0..REFUSERS {
            let chores = chores.clone();
            crew.start(
                format!("refuse-{number}"),
                move || while chores.recv().is_ok_and(Chore::carry_out) {},
            )?;
        }
        let (nerve, signals) = Nerve::new();
        let nerve = Arc::new(nerve);
        let dispatch = Arc::new(Dispatch {
            listener: self.listener,
            shared: Arc::new(Shared {
                local: self.local,
                open: AtomicUsize::new(0),
                lost: AtomicUsize::new(0),
                stopping: AtomicBool::new(false),
                finished: AtomicBool::new(false),
                severed: Severed::default(),
                chores: refusals,
            }),
            limits: self.options.limits,
            quiet: self.read_timeout + LINGER,
            servers: Mutex::default(),
            nerve: Arc::clone(&nerve),
            crew,
        });
        Dispatch::serve(&dispatch, door.clone())?;
        let reviving = Arc::clone(&dispatch);
        let patient = Patient {
            address: self.local,
            read_timeout: self.read_timeout,
            revive: move || Dispatch::serve(&reviving, door.clone()).is_ok(),
            nerve,
            signals,
        };
        let pulse = Pulse::start(patient, &dispatch.crew)?;
        Ok(Running { dispatch, pulse: Some(pulse) })
    }
}

/// A serving edge.
pub struct Running {
    dispatch: Arc<Dispatch>,
    pulse: Option<Pulse>,
}

impl Running {
    /// From now on, replies say `Connection: close`.
    pub fn announce_stop(&self) {
        self.dispatch.shared.stopping.store(true, SeqCst);
    }

    /// Accepts no further connection. Requests on those that are open are still served.
    pub fn stop_accepting(&mut self) {
        self.announce_stop();
        self.pulse = None;
        socket::stop_listening(&self.dispatch.listener);
    }

    /// Is no request waiting for its reply?
    pub fn is_idle(&self) -> bool {
        self.dispatch.shared.open.load(SeqCst) == 0
    }

    /// Ends the edge's threads, and returns how many were still at work at the deadline.
    pub fn finish(self, deadline: Instant) -> usize {
        let Running { dispatch, pulse } = self;
        drop(pulse);
        dispatch.shared.finished.store(true, SeqCst);
        for server in dispatch.servers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            server.unblock();
        }
        for _ in 0..REFUSERS {
            let _ = dispatch.shared.chores.send_deadline(Chore::GoHome, deadline); // late: they are left behind
        }
        dispatch.crew.join(deadline)
    }
}

/// What the requests of one listener share.
struct Shared {
    local: SocketAddr,
    /// Requests that wait for their reply.
    open: AtomicUsize,
    /// Connections given up together with their thread: to drop them would end the process.
    lost: AtomicUsize,
    stopping: AtomicBool,
    finished: AtomicBool,
    severed: Severed,
    chores: Sender<Chore>,
}

/// Takes requests from tiny_http and offers them at the door.
struct Dispatch {
    listener: TcpListener,
    shared: Arc<Shared>,
    limits: head::Limits,
    /// So long after its last byte, no connection of an old server is open any more.
    quiet: Duration,
    servers: Mutex<Vec<Arc<Server>>>,
    nerve: Arc<Nerve>,
    crew: Crew,
}

impl Dispatch {
    /// Starts a server on the listener, and the thread that takes its requests. When accepting has
    /// failed this is called again: the old server's connections are still served by their thread.
    fn serve(dispatch: &Arc<Self>, door: Door) -> Result<(), StartError> {
        let failed = |source| StartError::Bind { address: dispatch.shared.local, source };
        if !socket::has_descriptors(&dispatch.listener) {
            return Err(failed(io::Error::other("there are no file descriptors left")));
        }
        let listener = dispatch.listener.try_clone().map_err(failed)?;
        let server = Server::from_listener(listener, None).map_err(|e| failed(io::Error::other(e)))?;
        let server = Arc::new(server);
        dispatch.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&server));
        let this = Arc::clone(dispatch);
        dispatch.crew.start("edge", move || this.run(&server, &door))
    }

    fn run(&self, server: &Arc<Server>, door: &Door) {
        let alive = Arc::new(()); // a copy with each request: is any of this server's still open?
        let mut retired = false;
        while !self.shared.finished.load(SeqCst) {
            match self.receive(server) {
                Ok(Some(request)) => self.admit(request, &alive, door),
                Ok(None) if retired && Arc::strong_count(&alive) == 1 => break,
                Ok(None) => {}
                Err(error) => {
                    retired = true; // tiny_http accepts no more after any error
                    if !self.shared.stopping.load(SeqCst) {
                        tracing::error!("cannot accept connections: {error}");
                        self.nerve.accept_failed();
                    }
                }
            }
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|other| !Arc::ptr_eq(other, server));
    }

    /// The next request. Asking a few times before falling asleep spares tiny_http's threads most of
    /// the wake-ups under load, and this one most of its context switches.
    fn receive(&self, server: &Server) -> io::Result<Option<Request>> {
        for _ in 0..GLANCES {
            if let found @ (Ok(Some(_)) | Err(_)) = server.try_recv() {
                return found;
            }
            thread::yield_now();
        }
        server.recv_timeout(self.quiet)
    }

    /// One request: checked, then offered at the door or refused.
    fn admit(&self, request: Request, alive: &Arc<()>, door: &Door) {
        self.nerve.request();
        let Some(peer) = request.remote_addr().copied() else { return }; // a TCP client has one
        let arrived = Instant::now();
        let checked = head::check(raw_head(&request), &self.limits);
        let line = Box::new(TinyLine::new(request, peer, &self.shared, alive));
        if self.shared.severed.has(peer, arrived) {
            return line.chore(Chore::Discard);
        }
        match checked {
            Ok((_, Body::Chunked)) if line.raw => line.refuse(Refusal::NotImplemented, None),
            Ok(checked) => door.offer(Exchange::new(checked, peer, self.limits.body, line)),
            Err(refusal) => {
                door.log().record(&Outcome::refused(None, peer, arrived, refusal));
                line.refuse(refusal, None);
            }
        }
    }
}

fn raw_head(request: &Request) -> RawHead<'_, impl Iterator<Item = (&[u8], &[u8])>> {
    let version = match request.http_version() {
        HTTPVersion(1, 1) => Version::HTTP_11,
        HTTPVersion(1, 0) => Version::HTTP_10,
        _ => Version::HTTP_09,
    };
    let fields = request.headers().iter();
    let fields = fields.map(|h| (h.field.as_str().as_str().as_bytes(), h.value.as_str().as_bytes()));
    RawHead {
        method: request.method().as_str().as_bytes(),
        target: request.url().as_bytes(),
        version,
        fields,
    }
}

/// What is unread of a request body.
#[derive(Clone, Copy, PartialEq)]
enum Unread {
    Nothing,
    Bytes(u64),
    Chunks,
}

/// One request's hold on its connection.
struct TinyLine {
    request: Option<Request>,
    writer: Option<Box<dyn Write + Send>>,
    unread: Unread,
    peer: SocketAddr,
    /// tiny_http ends this connection by itself after the reply.
    last: bool,
    /// `Connection: upgrade` makes tiny_http hand out the connection instead of the body.
    raw: bool,
    shared: Arc<Shared>,
    _alive: Arc<()>,
}

impl TinyLine {
    fn new(request: Request, peer: SocketAddr, shared: &Arc<Shared>, alive: &Arc<()>) -> Self {
        let header = |name: &'static str| {
            request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str())
        };
        // The same questions that tiny_http asks of these headers, and so the same answers.
        let connection = header("Connection").map(str::to_ascii_lowercase);
        let says = |option| connection.as_ref().is_some_and(|value| value.contains(option));
        let old = *request.http_version() <= HTTPVersion(1, 0);
        let unread = match (header("Transfer-Encoding"), header("Content-Length")) {
            (Some(_), _) => Unread::Chunks,
            (None, Some(length)) => length.parse().map_or(Unread::Nothing, Unread::Bytes),
            (None, None) => Unread::Nothing,
        };
        shared.open.fetch_add(1, SeqCst);
        TinyLine {
            unread: if unread == Unread::Bytes(0) { Unread::Nothing } else { unread },
            last: says("close") || says("upgrade") || (old && !says("keep-alive")),
            raw: says("upgrade"),
            request: Some(request),
            writer: None,
            peer,
            shared: Arc::clone(shared),
            _alive: Arc::clone(alive),
        }
    }

    /// Gives up the request without a word, and in such a way that the process survives it.
    fn discard(&mut self) {
        let Some(request) = self.request.take() else { return };
        match self.unread {
            Unread::Bytes(left) if left > DROPPABLE => self.lose(request),
            _ => drop(request.into_writer()), // which has no last words, unlike the request
        }
    }

    /// Forgets something that must not be dropped. It costs a thread and two descriptors.
    fn lose<T>(&self, request: T) {
        std::mem::forget(request);
        let lost = self.shared.lost.fetch_add(1, Relaxed) + 1;
        tracing::warn!(client = %self.peer, lost, "a thread is lost to an upload too large to drop");
    }

    fn chore(self: Box<Self>, chore: fn(Box<Self>) -> Chore) {
        let chores = self.shared.chores.clone();
        // The lane is as long as the queue. Only when all of its threads wait for pipelined replies
        // or slow uploads, and it is full, does the edge wait too.
        let _ = chores.send(chore(self)); // closed: then the line is dropped, and discards itself
    }

    /// Reads the rest of the body, which tiny_http would otherwise read into memory, and takes the
    /// writer.
    fn open_writer(&mut self) -> io::Result<&mut Box<dyn Write + Send>> {
        let mut scratch = [0; 16 << 10];
        while self.unread != Unread::Nothing && self.read(&mut scratch).is_ok() {}
        if matches!(self.unread, Unread::Bytes(left) if left > DROPPABLE) {
            self.discard();
        }
        let request = self.request.take().ok_or(ErrorKind::NotConnected)?;
        Ok(self.writer.insert(request.into_writer()))
    }

    /// The connection, for ending it.
    fn hold(&self) -> Option<Hold> {
        Hold::find(self.shared.local.port(), self.peer)
    }

    /// Answers while body bytes are unread. `into_writer` would wait for them, `respond` drops our
    /// headers: `upgrade` is the one call that writes a head and hands the connection over as it is.
    /// Hence the odd, but valid, `Upgrade` header, and the others in its wake.
    fn refuse_unread(&mut self, refusal: Refusal) -> io::Result<()> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let mut fields = b"HTTP/1.1\r\nConnection: close\r\n".to_vec();
        wire::refusal_fields(refusal, &mut fields);
        let fields = String::from_utf8_lossy(fields.trim_ascii_end()).into_owned();
        let head = Response::empty(StatusCode(refusal.status().as_u16()));
        let mut stream = request.upgrade(&fields, head);
        let written = stream.write_all(wire::refusal_text(refusal).as_bytes()).and_then(|()| stream.flush());
        let hold = self.hold();
        if let Some(hold) = &hold {
            hold.finish_writing();
            hold.limit_reads(LINGER);
            let deadline = Instant::now() + LINGER;
            let mut scratch = [0; 16 << 10];
            while Instant::now() < deadline && stream.read(&mut scratch).is_ok_and(|n| n > 0) {}
            hold.shut();
        }
        // Unless the connection is shut by now, what is left of the body would be the next request.
        match self.unread {
            Unread::Bytes(left) if left > DROPPABLE => self.lose(stream),
            _ if hold.is_none() && !self.last => self.lose(stream),
            _ => drop(stream),
        }
        written
    }
}

impl Line for TinyLine {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(request) = &mut self.request else { return Ok(0) };
        let room = match self.unread {
            Unread::Nothing => return Ok(0),
            Unread::Bytes(left) => buf.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            Unread::Chunks => buf.len(),
        };
        let n = request.as_reader().read(&mut buf[..room]).map_err(|error| {
            io::Error::other(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::ClientTooSlow,
                _ => Refusal::ClientGone,
            })
        })?;
        self.unread = match self.unread {
            Unread::Bytes(_) if n == 0 => return Err(io::Error::other(Refusal::ClientGone)),
            Unread::Bytes(left) if left > n as u64 => Unread::Bytes(left - n as u64),
            Unread::Chunks if n > 0 => Unread::Chunks,
            _ => Unread::Nothing,
        };
        Ok(n)
    }

    fn may_keep(&self) -> bool {
        self.unread == Unread::Nothing && !self.shared.stopping.load(Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.open_writer()?,
        };
        writer.write_all(bytes)?;
        writer.flush()
    }

    fn end(self: Box<Self>, end: End) {
        match end {
            End::Keep => {}
            End::Close if self.last => {}
            End::Close => {
                self.shared.severed.add(self.peer, Instant::now());
                if let Some(hold) = self.hold() {
                    hold.finish_writing();
                }
            }
            End::Abort => {
                if let Some(hold) = self.hold() {
                    hold.reset();
                }
            }
        }
    }

    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        if request.is_none() || self.unread != Unread::Nothing {
            // Now, and not when it is answered: what follows on this connection may be on its way.
            self.shared.severed.add(self.peer, Instant::now());
        }
        let (bytes, end) = wire::refusal(refusal, request, self.may_keep());
        let chores = self.shared.chores.clone();
        let _ = chores.send(Chore::Answer { line: self, refusal, bytes, end });
    }
}

impl Drop for TinyLine {
    fn drop(&mut self) {
        self.discard();
        self.writer = None; // the reply is out before the request counts as done
        self.shared.open.fetch_sub(1, SeqCst);
    }
}

/// Work that may have to wait for a client.
enum Chore {
    Answer { line: Box<TinyLine>, refusal: Refusal, bytes: Vec<u8>, end: End },
    Discard(Box<TinyLine>),
    GoHome,
}

impl Chore {
    /// Does it. False when there is nothing more to do.
    fn carry_out(self) -> bool {
        match self {
            Chore::Answer { mut line, refusal, bytes, end } => {
                if line.unread == Unread::Nothing {
                    let end = if line.write(&bytes).is_ok() { end } else { End::Abort };
                    line.end(end);
                } else {
                    let _ = line.refuse_unread(refusal); // a client that is gone needs no answer
                }
            }
            Chore::Discard(line) => drop(line),
            Chore::GoHome => return false,
        }
        true
    }
}

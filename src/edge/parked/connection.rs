//! One client's connection: its phase, its deadline, and the parsing of its bytes.

use crate::edge::parked::body::decoder::BodyDecoder;
use crate::edge::parked::buffer_budget::MAX_BUFFERED_BODY;
use crate::edge::parked::parser::head;
use crate::edge::parked::parser::head_scanner::HeadScanner;
use crate::edge::parked::per_address::AddressGuard;
use crate::edge::parked::semaphore::Permit;
use crate::edge::parked::slab::Slab;
use crate::edge::parked::slow_client::ClientWait;
use crate::edge::parked::state::ParkedState;
use crate::edge::request_head::Body;
use crate::edge::socket;
use crate::error::Refusal;
use http::{Version, header, request};
use std::borrow::Cow;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Longest time for which a chunked body is buffered: the backend may need its chunks as they arrive.
const CHUNKED_BUFFER_TIME: Duration = Duration::from_secs(1);

/// Time for a client to read its last reply and close.
const LINGER: Duration = Duration::from_secs(1);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The slab of all connections.
pub type Connections = Slab<Box<Connection>>;

/// A checked head, and how its body is delimited.
pub type CheckedHead = (request::Parts, Body);

/// The phase of a connection.
pub enum ConnectionPhase {
    /// No byte of a request has arrived.
    Idle,
    /// Part of a head has arrived.
    ReadingHead,
    /// The head has arrived, and the body is buffered before a worker gets the request, since that time.
    BufferingBody(Box<CheckedHead>, Instant),
    /// A worker has the request.
    InWorker,
    /// The last reply has been sent. Further input is discarded.
    Lingering,
}

/// The next action on a connection.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is moved on at once")]
pub enum NextAction {
    /// Wait for more bytes.
    ReadMore,
    /// Hand the request to a worker.
    Dispatch(CheckedHead),
    /// Refuse the request and end the connection.
    Refuse(Refusal, Option<Box<CheckedHead>>),
}

/// The body of the current request.
#[derive(Default)]
pub struct RequestBody {
    /// Decodes what is still to come.
    pub decoder: BodyDecoder,
    /// Decoded bytes that were read before a worker asked for them.
    pub buffered: Vec<u8>,
    /// The number of buffered bytes that the worker has read.
    pub consumed: usize,
    /// The bytes of `100 Continue` still to be sent, if the client waits for it.
    pub pending_continue: &'static [u8],
    reservation: Option<Permit>,
}

/// A connection. Its drop closes it and releases its slot.
pub struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) state: Arc<ParkedState>,
    pub(super) slab: Arc<Connections>,
    pub(super) phase: ConnectionPhase,
    /// Bytes that have been read and not been parsed yet.
    pub(super) input: Vec<u8>,
    pub(super) body: RequestBody,
    pub(super) client_wait: ClientWait,
    pub(super) replying: bool,
    /// Whether readiness is not reported to the poller, because a worker waits for bytes.
    pub(super) unwatched: bool,
    /// Requests that have been served.
    pub(super) served: u64,
    /// Whether there may be input that will not be reported again: bytes left unread, or the end.
    pub(super) unreported_input: bool,
    pub(super) slot: usize,
    /// The deadline of the current phase.
    pub(super) deadline: Instant,
    scanner: HeadScanner,
    counted_as_request: bool,
    _permit: Permit,
    _address_guard: Option<AddressGuard>,
}

impl Connection {
    /// Makes a new connection in `slot`. `permit` and `address_guard` count it against the limits.
    pub fn new(
        (stream, peer): (TcpStream, SocketAddr),
        slot: usize,
        (state, slab): (Arc<ParkedState>, Arc<Connections>),
        permit: Permit,
        address_guard: Option<AddressGuard>,
    ) -> Box<Self> {
        let deadline = Instant::now() + state.options.idle_timeout;
        Box::new(Connection {
            stream,
            peer,
            state,
            slab,
            phase: ConnectionPhase::Idle,
            input: Vec::new(),
            body: RequestBody::default(),
            client_wait: ClientWait::default(),
            replying: false,
            unwatched: false,
            served: 0,
            unreported_input: false,
            slot,
            deadline,
            scanner: HeadScanner::default(),
            counted_as_request: false,
            _permit: permit,
            _address_guard: address_guard,
        })
    }

    /// Processes bytes that have arrived after the ones in `input`.
    pub fn process(&mut self, arrived: &[u8]) -> NextAction {
        let mut input = mem::take(&mut self.input);
        let bytes = if input.is_empty() {
            Cow::Borrowed(arrived)
        } else {
            input.extend_from_slice(arrived);
            Cow::Owned(input)
        };
        match self.phase {
            ConnectionPhase::Idle | ConnectionPhase::ReadingHead => self.read_head(bytes),
            ConnectionPhase::BufferingBody(..) => self.buffer_body(&bytes),
            ConnectionPhase::InWorker | ConnectionPhase::Lingering => NextAction::ReadMore,
        }
    }

    fn read_head(&mut self, bytes: Cow<'_, [u8]>) -> NextAction {
        let limits = &self.state.options.limits;
        match self.scanner.scan(&bytes, limits) {
            Ok(Some(range)) => match head::parse(&bytes[range.clone()], limits) {
                Ok(checked) => self.start_request(checked, &bytes[range.end..]),
                Err(refusal) => NextAction::Refuse(refusal, None),
            },
            Ok(None) => {
                if matches!(self.phase, ConnectionPhase::Idle) && !self.scanner.is_blank(&bytes) {
                    self.phase = ConnectionPhase::ReadingHead;
                    self.deadline = Instant::now() + self.state.options.client_head_timeout;
                }
                self.input = bytes.into_owned();
                NextAction::ReadMore
            }
            Err(refusal) => NextAction::Refuse(refusal, None),
        }
    }

    /// Starts a request, and decides whether to buffer its body. `rest` is what follows the head.
    fn start_request(&mut self, checked: CheckedHead, rest: &[u8]) -> NextAction {
        let (head, body) = &checked;
        let size = match *body {
            Body::None => 0,
            Body::Sized(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Body::Chunked => MAX_BUFFERED_BODY,
        };
        let expects = head.version == Version::HTTP_11 && head.headers.contains_key(header::EXPECT);
        let pending_continue = if expects && rest.is_empty() { CONTINUE } else { b"" };
        self.scanner = HeadScanner::default();
        self.body =
            RequestBody { decoder: BodyDecoder::new(*body), pending_continue, ..RequestBody::default() };
        self.count_request();
        if (1..=MAX_BUFFERED_BODY).contains(&size) && self.send_continue() {
            self.body.reservation = self.state.buffer_budget.try_reserve(size);
        }
        if self.body.reservation.is_none() {
            self.input = rest.to_vec();
            self.phase = ConnectionPhase::InWorker;
            return NextAction::Dispatch(checked);
        }
        self.phase = ConnectionPhase::BufferingBody(Box::new(checked), Instant::now());
        self.buffer_body(rest)
    }

    /// Sends a pending `100 Continue` as far as that does not block. Returns whether none of it is
    /// pending any more; otherwise a worker sends the rest.
    fn send_continue(&mut self) -> bool {
        let pending = &mut self.body.pending_continue;
        if !pending.is_empty() {
            *pending = &pending[socket::send_now(&self.stream, pending).unwrap_or(0)..];
        }
        pending.is_empty()
    }

    fn buffer_body(&mut self, bytes: &[u8]) -> NextAction {
        let RequestBody { decoder, buffered, .. } = &mut self.body;
        let before = buffered.len();
        buffered.resize(before + bytes.len().min(MAX_BUFFERED_BODY - before), 0);
        let (taken, written) = match decoder.decode(bytes, &mut buffered[before..]) {
            Ok(counts) => counts,
            Err(refusal) => return self.abandon(refusal),
        };
        buffered.truncate(before + written);
        self.input = bytes[taken..].to_vec();
        if buffered.len() as u64 > self.state.options.limits.body {
            return self.abandon(Refusal::BodyTooLarge);
        }
        if decoder.is_over() || buffered.len() == MAX_BUFFERED_BODY {
            return self.dispatch_buffered();
        }
        let moved = buffered.len() as u64;
        if let ConnectionPhase::BufferingBody(checked, began) = &self.phase {
            self.deadline = match checked.1 {
                Body::Chunked => *began + CHUNKED_BUFFER_TIME,
                _ => self.state.upload_policy.deadline(*began, Instant::now(), moved),
            };
        }
        NextAction::ReadMore
    }

    /// Ends the buffering of a body: a worker gets the request.
    fn dispatch_buffered(&mut self) -> NextAction {
        match mem::replace(&mut self.phase, ConnectionPhase::InWorker) {
            ConnectionPhase::BufferingBody(checked, _) => NextAction::Dispatch(*checked),
            _ => NextAction::ReadMore,
        }
    }

    /// Ends the buffering of a body: the request is refused.
    pub fn abandon(&mut self, refusal: Refusal) -> NextAction {
        match mem::replace(&mut self.phase, ConnectionPhase::InWorker) {
            ConnectionPhase::BufferingBody(checked, _) => NextAction::Refuse(refusal, Some(checked)),
            _ => NextAction::Refuse(refusal, None),
        }
    }

    /// Returns what to do once the deadline has passed, or `None` to close without a reply.
    pub fn on_deadline(&mut self) -> Option<NextAction> {
        use ConnectionPhase::*;
        match &self.phase {
            Idle | InWorker | Lingering => None,
            ReadingHead => Some(NextAction::Refuse(Refusal::HeadTooSlow, None)),
            BufferingBody(checked, _) if checked.1 == Body::Chunked => Some(self.dispatch_buffered()),
            BufferingBody(..) => Some(self.abandon(Refusal::ClientTooSlow)),
        }
    }

    /// Returns what to do once the client sends nothing more, or `None` to close without a reply.
    pub fn on_end_of_stream(&mut self) -> Option<NextAction> {
        match &self.phase {
            ConnectionPhase::BufferingBody(..) => Some(self.abandon(Refusal::ClientGone)),
            _ => None,
        }
    }

    /// Ends a request after which another one may follow.
    pub fn become_idle(&mut self) {
        self.served += 1;
        self.finish_request();
        self.phase = ConnectionPhase::Idle;
        self.deadline = Instant::now() + self.state.options.idle_timeout;
    }

    /// Ends the last request: the client gets some time to read its reply.
    pub fn start_lingering(&mut self) {
        self.finish_request();
        self.input = Vec::new();
        self.phase = ConnectionPhase::Lingering;
        self.deadline = Instant::now() + LINGER;
    }

    fn count_request(&mut self) {
        self.counted_as_request = true;
        self.state.requests.fetch_add(1, SeqCst);
    }

    fn finish_request(&mut self) {
        self.body = RequestBody::default();
        self.client_wait = ClientWait::default();
        self.replying = false;
        if mem::take(&mut self.counted_as_request) {
            self.state.requests.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.finish_request();
        self.slab.release(self.slot);
    }
}

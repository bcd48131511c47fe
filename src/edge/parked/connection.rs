//! One client's connection, and what its bytes mean.

use super::EdgeState;
use super::body::Incoming;
use super::parser::{self, Scan};
use super::per_address::AddressGuard;
use super::semaphore::Permit;
use super::slow_client::ClientWait;
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

/// A request body up to this size is wait for here, and costs no worker meanwhile.
pub const GATHERED: usize = 64 << 10;

/// Who sends chunks may mean them to be read as they come: so long they are gathered, and not longer.
const CHUNKS_GATHERED_FOR: Duration = Duration::from_secs(1);

/// How long a client may take to read its last reply and close.
const LINGER: Duration = Duration::from_secs(1);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A checked head.
pub type Checked = (request::Parts, Body);

/// What a connection is doing.
pub enum Phase {
    /// No byte of a request has come.
    Idle,
    /// Some bytes of a head have.
    Head,
    /// The head has, and the body is to be had before a worker is asked.
    Gathering(Box<Checked>, Instant),
    /// A worker has it.
    AtWork,
    /// The last reply is out. What still comes is thrown away.
    Lingering,
}

/// What there is to do next.
#[allow(clippy::large_enum_variant, reason = "there is one of it at a time, and it is moved on at once")]
pub enum Step {
    /// More bytes are needed.
    More,
    /// A request is ready for a worker.
    Ready(Checked),
    /// The connection ends with this.
    Refuse(Refusal, Option<Box<Checked>>),
}

/// What has come of one request's body.
#[derive(Default)]
pub struct Upload {
    /// What is still to come.
    pub incoming: Incoming,
    /// What has been gathered.
    pub gathered: Vec<u8>,
    /// So much of that has been handed on.
    pub given: usize,
    /// What is to be sent before the body comes: `100 Continue`, if the client waits for it.
    pub go_ahead: &'static [u8],
    buffer_budget: Option<Permit>,
}

/// A connection. Dropped, it is closed, and its slot is free.
pub struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) edge: Arc<EdgeState>,
    pub(super) phase: Phase,
    /// Bytes that have been read and not understood yet.
    pub(super) input: Vec<u8>,
    pub(super) upload: Upload,
    pub(super) wait: ClientWait,
    pub(super) replying: bool,
    /// The poller does not hear of it: a worker waits for its bytes.
    pub(super) ignored: bool,
    /// Requests that have been served.
    pub(super) served: u64,
    /// There may be more to read than will be announced: bytes that were left, or the end.
    pub(super) unread: bool,
    slot: usize,
    until: Instant,
    scan: Scan,
    under_way: bool,
    _allowed: Permit,
    _ticket: Option<AddressGuard>,
}

impl Connection {
    /// A new connection, in this slot. `allowed` and `ticket` are what it holds of the limits.
    pub fn new(
        (stream, peer): (TcpStream, SocketAddr),
        slot: usize,
        edge: Arc<EdgeState>,
        allowed: Permit,
        ticket: Option<AddressGuard>,
    ) -> Box<Self> {
        let until = Instant::now() + edge.options.idle_timeout;
        Box::new(Connection {
            stream,
            peer,
            edge,
            phase: Phase::Idle,
            input: Vec::new(),
            upload: Upload::default(),
            wait: ClientWait::default(),
            replying: false,
            ignored: false,
            served: 0,
            unread: false,
            slot,
            until,
            scan: Scan::default(),
            under_way: false,
            _allowed: allowed,
            _ticket: ticket,
        })
    }

    /// The slot in the slab that is its own.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// How long it may go on waiting for its client.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Takes in bytes that have come, behind those that it holds.
    pub fn take_in(&mut self, fresh: &[u8]) -> Step {
        let mut held = mem::take(&mut self.input);
        let bytes = if held.is_empty() {
            Cow::Borrowed(fresh)
        } else {
            held.extend_from_slice(fresh);
            Cow::Owned(held)
        };
        match self.phase {
            Phase::Idle | Phase::Head => self.read_head(bytes),
            Phase::Gathering(..) => self.gather(&bytes),
            Phase::AtWork | Phase::Lingering => Step::More,
        }
    }

    fn read_head(&mut self, bytes: Cow<'_, [u8]>) -> Step {
        let limits = &self.edge.options.limits;
        match self.scan.head(&bytes, limits) {
            Ok(Some(span)) => match parser::head(&bytes[span.clone()], limits) {
                Ok(checked) => self.begin(checked, &bytes[span.end..]),
                Err(refusal) => Step::Refuse(refusal, None),
            },
            Ok(None) => {
                if matches!(self.phase, Phase::Idle) && !self.scan.is_blank(&bytes) {
                    self.phase = Phase::Head;
                    self.until = Instant::now() + self.edge.options.client_head_timeout;
                }
                self.input = bytes.into_owned();
                Step::More
            }
            Err(refusal) => Step::Refuse(refusal, None),
        }
    }

    /// A request has begun. Is its body to be gathered?
    fn begin(&mut self, checked: Checked, rest: &[u8]) -> Step {
        let (head, body) = &checked;
        let size = match *body {
            Body::None => 0,
            Body::Sized(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Body::Chunked => GATHERED,
        };
        let waits = head.version == Version::HTTP_11 && head.headers.contains_key(header::EXPECT);
        let go_ahead = if waits && rest.is_empty() { CONTINUE } else { b"" };
        self.scan = Scan::default();
        self.upload = Upload { incoming: Incoming::of(*body), go_ahead, ..Upload::default() };
        self.start_work();
        if (1..=GATHERED).contains(&size) && self.has_gone_ahead() {
            self.upload.buffer_budget = self.edge.buffer_budget.take(size);
        }
        if self.upload.buffer_budget.is_none() {
            self.input = rest.to_vec();
            self.phase = Phase::AtWork;
            return Step::Ready(checked);
        }
        self.phase = Phase::Gathering(Box::new(checked), Instant::now());
        self.gather(rest)
    }

    /// Tells the client to send its body, if it waits for that. False if it takes nothing just now: then
    /// a worker tells it.
    fn has_gone_ahead(&mut self) -> bool {
        let left = &mut self.upload.go_ahead;
        if !left.is_empty() {
            *left = &left[socket::send_now(&self.stream, left).unwrap_or(0)..];
        }
        left.is_empty()
    }

    fn gather(&mut self, bytes: &[u8]) -> Step {
        let Upload { incoming, gathered, .. } = &mut self.upload;
        let before = gathered.len();
        gathered.resize(before + bytes.len().min(GATHERED - before), 0);
        let (taken, put) = match incoming.decode(bytes, &mut gathered[before..]) {
            Ok(moved) => moved,
            Err(refusal) => return self.give_up(refusal),
        };
        gathered.truncate(before + put);
        self.input = bytes[taken..].to_vec();
        if gathered.len() as u64 > self.edge.options.limits.body {
            return self.give_up(Refusal::BodyTooLarge);
        }
        if incoming.is_over() || gathered.len() == GATHERED {
            return self.hand_over();
        }
        let moved = gathered.len() as u64;
        if let Phase::Gathering(checked, began) = &self.phase {
            self.until = match checked.1 {
                Body::Chunked => *began + CHUNKS_GATHERED_FOR,
                _ => self.edge.upload_policy.deadline(*began, Instant::now(), moved),
            };
        }
        Step::More
    }

    /// What has been gathered is for a worker.
    fn hand_over(&mut self) -> Step {
        match mem::replace(&mut self.phase, Phase::AtWork) {
            Phase::Gathering(checked, _) => Step::Ready(*checked),
            _ => Step::More,
        }
    }

    /// What has been gathered is for nobody.
    pub fn give_up(&mut self, refusal: Refusal) -> Step {
        match mem::replace(&mut self.phase, Phase::AtWork) {
            Phase::Gathering(checked, _) => Step::Refuse(refusal, Some(checked)),
            _ => Step::Refuse(refusal, None),
        }
    }

    /// Its time is over. `None`: nobody expects a word.
    pub fn expire(&mut self) -> Option<Step> {
        match &self.phase {
            Phase::Idle | Phase::AtWork | Phase::Lingering => None,
            Phase::Head => Some(Step::Refuse(Refusal::HeadTooSlow, None)),
            Phase::Gathering(checked, _) if checked.1 == Body::Chunked => Some(self.hand_over()),
            Phase::Gathering(..) => Some(self.give_up(Refusal::ClientTooSlow)),
        }
    }

    /// The client sends nothing more. `None`: nobody expects a word.
    pub fn cut_short(&mut self) -> Option<Step> {
        match &self.phase {
            Phase::Gathering(..) => Some(self.give_up(Refusal::ClientGone)),
            _ => None,
        }
    }

    /// The request is over, and the next one may come.
    pub fn rest(&mut self) {
        self.served += 1;
        self.finish_work();
        self.phase = Phase::Idle;
        self.until = Instant::now() + self.edge.options.idle_timeout;
    }

    /// The last reply is out.
    pub fn linger(&mut self) {
        self.finish_work();
        self.input = Vec::new();
        self.phase = Phase::Lingering;
        self.until = Instant::now() + LINGER;
    }

    fn start_work(&mut self) {
        self.under_way = true;
        self.edge.under_way.fetch_add(1, SeqCst);
    }

    fn finish_work(&mut self) {
        self.upload = Upload::default();
        self.wait = ClientWait::default();
        self.replying = false;
        if mem::take(&mut self.under_way) {
            self.edge.under_way.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.finish_work();
        self.edge.slab.release(self.slot);
    }
}

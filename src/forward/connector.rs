//! The connector that ureq opens and uses backend connections through.
//!
//! ureq's own connector would do, but for what a gateway must know: were any bytes sent, were any
//! seen, was the connection a pooled one ([`Trace`])? Only that says whether a request may be tried
//! again. While we are here: a pooled connection is probed with one system call, head and first body
//! bytes leave together, and a reply that comes while the upload is still going on is not lost.

use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use ureq::Timeout;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

/// Input buffer of each connection, and the least output buffer. Larger ones do not make small
/// replies faster, and there is one pair for each worker and backend.
pub const BUFFER: usize = 16 << 10;

/// What the input buffer grows to for a reply whose head does not fit, or whose body fills it with one
/// read: each further read then moves as much as the backend has sent.
const GROWN: usize = 128 << 10;

/// How long a reply is waited for once sending has failed: a backend that stopped listening has said
/// why by then, or never will.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What has happened in the call that is under way. A worker makes one call at a time, so one trace
/// for each worker is enough; it is reset before each call.
#[derive(Debug, Default)]
pub struct Trace {
    /// There is a connection.
    pub connected: AtomicBool,
    /// It was opened for this call.
    pub fresh: AtomicBool,
    /// A byte of the reply has been seen.
    pub received: AtomicBool,
    /// Sending has failed: nothing more is sent, but a reply may be there to be read.
    pub send_failed: AtomicBool,
    /// This connection must not go back into the pool.
    pub spoiled: AtomicBool,
}

impl Trace {
    /// Forgets the call before.
    pub fn reset(&self) {
        for flag in [&self.connected, &self.fresh, &self.received, &self.send_failed, &self.spoiled] {
            flag.store(false, Relaxed);
        }
    }
}

/// Opens connections, each with its own timeout, and tells the trace.
#[derive(Clone, Debug)]
pub struct TracingConnector {
    /// Shared with the worker that makes the calls.
    pub trace: Arc<Trace>,
    /// For one connection attempt.
    pub connect_timeout: Duration,
    /// For taking the next bytes of a request.
    pub write_timeout: Duration,
    /// Bytes of the output buffer: a request line must fit.
    pub output_buffer: usize,
}

impl Connector<()> for TracingConnector {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Link>, ureq::Error> {
        let mut failure = ErrorKind::AddrNotAvailable.into();
        for address in &details.addrs {
            match self.open(*address) {
                Ok(stream) => {
                    let stream = Arc::new(stream);
                    // Lets `Agent::shutdown` end this call when the balancer's grace is over.
                    let handle: Weak<dyn ShutdownHandle> = Arc::<TcpStream>::downgrade(&stream);
                    (details.register_shutdown)(handle)?;
                    self.trace.fresh.store(true, Relaxed);
                    self.trace.connected.store(true, Relaxed);
                    return Ok(Some(Link::new(stream, Arc::clone(&self.trace), self.output_buffer)));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }
}

impl TracingConnector {
    fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, self.connect_timeout)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(self.write_timeout))?;
        Ok(stream)
    }
}

/// One connection to a backend.
#[derive(Debug)]
pub struct Link {
    stream: Arc<TcpStream>,
    trace: Arc<Trace>,
    buffers: LazyBuffers,
    output_buffer: usize,
    /// The read timeout that the socket has now.
    read_timeout: Duration,
    /// Output that has not been sent: the head, until the first body bytes or the first read.
    held: Vec<u8>,
    /// The last read left no room in the input buffer.
    filled: bool,
    grown: bool,
    head_pending: bool,
    pooled: bool,
    dead: bool,
}

impl Link {
    fn new(stream: Arc<TcpStream>, trace: Arc<Trace>, output_buffer: usize) -> Self {
        Link {
            stream,
            trace,
            buffers: LazyBuffers::new(BUFFER, output_buffer),
            output_buffer,
            read_timeout: Duration::ZERO,
            held: Vec::new(),
            filled: false,
            grown: false,
            head_pending: true,
            pooled: false,
            dead: false,
        }
    }

    /// Sends what is held. A failure is kept for later: the backend may have said why it stopped
    /// listening, and that reply is worth more than the error.
    fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        if !self.dead && (&*self.stream).write_all(&self.held).is_err() {
            self.dead = true;
            self.trace.send_failed.store(true, Relaxed);
        }
        self.held.clear();
    }

    /// Sets the socket's read timeout, unless the one it has is nearly the same: that saves a system
    /// call for each read.
    fn wait_at_most(&mut self, wanted: Duration) -> io::Result<()> {
        let slack = wanted / 16;
        if self.read_timeout < wanted - slack || self.read_timeout > wanted + slack {
            self.stream.set_read_timeout(Some(wanted))?;
            self.read_timeout = wanted;
        }
        Ok(())
    }

    /// Makes room where the buffer has turned out to be small.
    fn grow_input(&mut self) {
        self.grown = true;
        let mut larger = LazyBuffers::new(GROWN, self.output_buffer);
        let filled = self.buffers.input().len();
        larger.input_append_buf()[..filled].copy_from_slice(self.buffers.input());
        larger.input_appended(filled);
        self.buffers = larger;
    }

    /// Is an idle connection still one? Silence is right; an end, an error or bytes that nobody has
    /// asked for are not.
    fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let peeked = SockRef::from(&*self.stream).recv_with_flags(&mut byte, flags);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        if amount == 0 {
            // A sized body that ended early; ureq would ask for more for ever.
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        self.held.extend_from_slice(&self.buffers.output()[..amount]);
        if self.head_pending {
            self.head_pending = !self.held.ends_with(b"\r\n\r\n");
            return Ok(());
        }
        self.flush();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush();
        let wait = timeout.for_read();
        let patience = *wait.after;
        self.wait_at_most(if self.dead { patience.min(LAST_WORDS) } else { patience })?;
        if !self.grown && (self.filled || self.buffers.input_append_buf().is_empty()) {
            self.grow_input();
        }
        let room = self.buffers.input_append_buf();
        match (&*self.stream).read(room) {
            Ok(n) => {
                self.filled = n == room.len();
                self.buffers.input_appended(n);
                if n > 0 {
                    self.trace.received.store(true, Relaxed);
                }
                Ok(n > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(ureq::Error::Timeout(wait.reason))
            }
            // A process that was stopped and goes on finds its reads interrupted. Nothing is wrong with them.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.await_input(timeout),
            // ureq takes some kinds of error for the orderly end of a body that ends with its
            // connection. A reset is none.
            Err(error) => Err(io::Error::new(ErrorKind::BrokenPipe, error).into()),
        }
    }

    /// ureq asks on the way into its pool and on the way out.
    fn is_open(&mut self) -> bool {
        self.pooled = !self.pooled;
        if self.pooled {
            self.head_pending = true;
            return !self.dead && self.held.is_empty() && !self.trace.spoiled.load(Relaxed);
        }
        let quiet = self.is_quiet();
        if quiet {
            self.trace.fresh.store(false, Relaxed);
            self.trace.connected.store(true, Relaxed);
        }
        quiet
    }
}

/// The reason that ureq gives for a timeout of ours, wherever it is wrapped.
pub fn timeout_in(error: &ureq::Error) -> Option<Timeout> {
    match error {
        ureq::Error::Timeout(reason) => Some(*reason),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref().and_then(timeout_in),
        _ => None,
    }
}

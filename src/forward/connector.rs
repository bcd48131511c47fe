//! The connector through which ureq opens and uses connections to backends.
//!
//! It adds to ureq's own connector what decides whether a request may be sent again: whether there was a connection,
//! whether it came from the pool, and whether any byte of a reply arrived ([`CallTrace`]). It also probes a pooled
//! connection with one system call, sends the head together with the first bytes of the body, and keeps a reply that
//! comes during the upload.

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

/// The input buffer of each connection, and the least output buffer, in bytes. Larger ones do not make small replies
/// faster, and there is one pair for each worker and backend.
pub const BUFFER: usize = 16 << 10;

/// The input buffer for a reply whose head does not fit, or whose body fills the small one with one read, in bytes.
const LARGE_BUFFER: usize = 128 << 10;

/// The wait for a reply after sending has failed: a backend that stopped reading may have replied with the reason.
const REPLY_AFTER_FAILED_SEND: Duration = Duration::from_secs(1);

/// The progress of the call under way. A worker makes one call at a time, so it has one trace, reset before each call.
#[derive(Debug, Default)]
pub struct CallTrace {
    /// A connection is open.
    pub connected: AtomicBool,
    /// It was opened for this call.
    pub fresh: AtomicBool,
    /// A byte of the reply has arrived.
    pub received: AtomicBool,
    /// Sending has failed: nothing more is sent, but a reply may have arrived.
    pub send_failed: AtomicBool,
    /// The connection must not return to the pool.
    pub not_reusable: AtomicBool,
}

impl CallTrace {
    /// Clears the flags before a call.
    pub fn reset(&self) {
        for flag in [&self.connected, &self.fresh, &self.received, &self.send_failed, &self.not_reusable] {
            flag.store(false, Relaxed);
        }
    }
}

/// Opens connections, each with its own timeout, and updates the trace.
#[derive(Clone, Debug)]
pub struct TracingConnector {
    /// Shared with the worker that makes the calls.
    pub trace: Arc<CallTrace>,
    /// The timeout of one connection attempt.
    pub connect_timeout: Duration,
    /// How long the backend may take to accept the next bytes of a request.
    pub write_timeout: Duration,
    /// The output buffer, in bytes: a request line must fit.
    pub output_buffer: usize,
}

impl Connector<()> for TracingConnector {
    type Out = BackendConnection;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<BackendConnection>, ureq::Error> {
        let mut failure = ErrorKind::AddrNotAvailable.into();
        for address in &details.addrs {
            match self.open(*address) {
                Ok(stream) => {
                    let stream = Arc::new(stream);
                    // Lets `Agent::shutdown` end this call when the grace period is over.
                    let handle: Weak<dyn ShutdownHandle> = Arc::<TcpStream>::downgrade(&stream);
                    (details.register_shutdown)(handle)?;
                    self.trace.fresh.store(true, Relaxed);
                    self.trace.connected.store(true, Relaxed);
                    return Ok(Some(BackendConnection::new(
                        stream,
                        Arc::clone(&self.trace),
                        self.output_buffer,
                    )));
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

/// A connection to a backend.
#[derive(Debug)]
pub struct BackendConnection {
    stream: Arc<TcpStream>,
    trace: Arc<CallTrace>,
    buffers: LazyBuffers,
    output_buffer: usize,
    /// The current read timeout of the socket.
    read_timeout: Duration,
    /// Output not sent yet: the head, until the first bytes of the body or the first read.
    held: Vec<u8>,
    /// Whether the last read filled the input buffer.
    filled: bool,
    grown: bool,
    head_pending: bool,
    pooled: bool,
    /// Whether sending has failed.
    broken: bool,
}

impl BackendConnection {
    fn new(stream: Arc<TcpStream>, trace: Arc<CallTrace>, output_buffer: usize) -> Self {
        BackendConnection {
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
            broken: false,
        }
    }

    /// Sends the held output. A failure is not reported here: the backend may have replied with the reason, which says
    /// more than the error.
    fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        if !self.broken && (&*self.stream).write_all(&self.held).is_err() {
            self.broken = true;
            self.trace.send_failed.store(true, Relaxed);
        }
        self.held.clear();
    }

    /// Sets the socket's read timeout unless the current one is nearly equal, which saves a system call per read.
    fn set_read_timeout(&mut self, wanted: Duration) -> io::Result<()> {
        let slack = wanted / 16;
        if self.read_timeout < wanted - slack || self.read_timeout > wanted + slack {
            self.stream.set_read_timeout(Some(wanted))?;
            self.read_timeout = wanted;
        }
        Ok(())
    }

    /// Replaces the input buffer by the large one.
    fn grow_input(&mut self) {
        self.grown = true;
        let mut larger = LazyBuffers::new(LARGE_BUFFER, self.output_buffer);
        let filled = self.buffers.input().len();
        larger.input_append_buf()[..filled].copy_from_slice(self.buffers.input());
        larger.input_appended(filled);
        self.buffers = larger;
    }

    /// Returns whether an idle connection is still usable: no end, no error and no unsolicited bytes.
    fn is_idle(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let peeked = SockRef::from(&*self.stream).recv_with_flags(&mut byte, flags);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl Transport for BackendConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        if amount == 0 {
            // A sized body ended early; ureq would read again without end.
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

    fn await_input(&mut self, next: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush();
        let wait = next.for_read();
        let timeout = *wait.after;
        self.set_read_timeout(if self.broken { timeout.min(REPLY_AFTER_FAILED_SEND) } else { timeout })?;
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
            // Reads are interrupted when a stopped process is continued.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.await_input(next),
            // ureq takes some kinds of error for the orderly end of a body that ends with its connection. A reset must
            // not be.
            Err(error) => Err(io::Error::new(ErrorKind::BrokenPipe, error).into()),
        }
    }

    /// ureq calls this alternately: before it returns the connection to its pool, and before it takes it out.
    fn is_open(&mut self) -> bool {
        self.pooled = !self.pooled;
        if self.pooled {
            self.head_pending = true;
            return !self.broken && self.held.is_empty() && !self.trace.not_reusable.load(Relaxed);
        }
        let idle = self.is_idle();
        if idle {
            self.trace.fresh.store(false, Relaxed);
            self.trace.connected.store(true, Relaxed);
        }
        idle
    }
}

/// Returns ureq's reason for a timeout, also from inside an I/O error, or `None` for other errors.
pub fn timeout_in(error: &ureq::Error) -> Option<Timeout> {
    match error {
        ureq::Error::Timeout(reason) => Some(*reason),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref().and_then(timeout_in),
        _ => None,
    }
}

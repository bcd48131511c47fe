//! The heartbeat of a tiny_http listener: connections to ourselves, for three reasons.
//!
//! * tiny_http's accept thread can die without a word (it panics when descriptors run out). A
//!   connection that nobody accepts within a second says so, and the listener is revived.
//! * The read timeout that connections inherit from the listener would make `accept` itself give up
//!   after that time without a client. There is never so long a time without one.
//! * tiny_http hands a burst of connections to idle threads it has counted wrongly, and some wait for
//!   a thread until another connection ends. Its idle threads are kept occupied, and while there is
//!   traffic many short connections each set one waiting connection free.

use crate::error::StartError;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Threads that tiny_http keeps idle from the start.
const IDLE_THREADS: usize = 4;

/// Between beats, while requests come. Each sets one waiting connection free.
const BUSY: Duration = Duration::from_millis(10);

/// Between beats otherwise. Each puts off the end of one of tiny_http's idle threads by five seconds.
const CALM: Duration = Duration::from_secs(1);

/// Beats in a row when requests begin to come: most connections of a burst come at its beginning.
const VOLLEY: usize = 16;

/// tiny_http's idle threads end after five seconds; so long after the last request the burst that
/// they could mislead has been dealt with.
const CALMS_AFTER: Duration = Duration::from_secs(6);

/// A beat that takes this long has found no one to accept it.
const DEAD: Duration = Duration::from_secs(1);

/// What an edge tells the heartbeat.
pub struct Nerve {
    signals: Sender<Signal>,
    /// Requests that have come so far.
    requests: AtomicUsize,
    /// The heartbeat is calm, and wants to know of the next request.
    calm: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Signal {
    Traffic,
    AcceptFailed,
}

impl Nerve {
    /// A nerve, and its other end for [`AcceptWatchdog::start`].
    pub fn new() -> (Self, Signals) {
        let (signals, received) = bounded(2);
        (Nerve { signals, requests: AtomicUsize::new(0), calm: AtomicBool::new(true) }, Signals(received))
    }

    /// A request has come.
    pub fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
        if self.calm.load(Relaxed) && self.calm.swap(false, Relaxed) {
            let _ = self.signals.try_send(Signal::Traffic); // full: it has other reasons to beat
        }
    }

    /// tiny_http has stopped accepting.
    pub fn accept_failed(&self) {
        let _ = self.signals.try_send(Signal::AcceptFailed); // full: a beat will find out
    }
}

/// What the heartbeat is told.
pub struct Signals(Receiver<Signal>);

/// A running heartbeat. It ends when this is dropped.
pub struct AcceptWatchdog {
    _stop: Sender<()>,
}

/// Whose heart is to beat.
pub struct Patient<R> {
    /// The listener's address.
    pub address: SocketAddr,
    /// Its read timeout: beats come more often.
    pub read_timeout: Duration,
    /// Starts a new accept thread. False if that cannot be done now.
    pub revive: R,
    /// What the edge tells.
    pub nerve: Arc<Nerve>,
    /// Its other end.
    pub signals: Signals,
}

impl AcceptWatchdog {
    /// Starts the heartbeat thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start<R>(patient: Patient<R>, threads: &ThreadGroup) -> Result<Self, StartError>
    where
        R: Fn() -> bool + Send + 'static,
    {
        let (_stop, stopped) = bounded(0);
        threads.start("accept-watchdog", move || patient.keep_alive(&stopped))?;
        Ok(AcceptWatchdog { _stop })
    }
}

impl<R: Fn() -> bool> Patient<R> {
    fn keep_alive(self, stopped: &Receiver<()>) {
        let address = reachable(self.address);
        let calm = CALM.min(self.read_timeout / 3);
        let mut occupied = Occupied::new(address, self.read_timeout / 2);
        // The first connections come while those that occupy idle threads are still on their way.
        let mut traffic = Traffic { seen: 0, last: Some(Instant::now()) };
        let mut beats = Beats::new(address);
        loop {
            occupied.hold();
            let busy = traffic.flows(self.nerve.requests.load(Relaxed), Instant::now());
            let soon = busy || !beats.pending.is_empty();
            if !busy {
                self.nerve.calm.store(true, Relaxed);
            }
            let signal = select! {
                recv(self.signals.0) -> signal => signal.ok(),
                recv(stopped) -> _ => return,
                default(if soon { BUSY.min(calm) } else { calm }) => None,
            };
            let answered = beats.look();
            beats.send(match signal {
                Some(Signal::Traffic) => VOLLEY,
                _ if soon && !busy => 0, // this round was for the answers only
                _ => 1,
            });
            if signal == Some(Signal::AcceptFailed) || !answered {
                drop(beats); // descriptors may be what is missing
                if !self.revive_listener(stopped) {
                    return;
                }
                beats = Beats::new(address);
            }
        }
    }

    /// Tries until it has worked. False if it is time to stop.
    fn revive_listener(&self, stopped: &Receiver<()>) -> bool {
        tracing::error!(address = %self.address, "the listener has stopped accepting; it is being revived");
        let mut pause = Duration::from_millis(50);
        while !(self.revive)() {
            if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return false;
            }
            pause = (pause * 2).min(CALM);
        }
        tracing::info!(address = %self.address, "the listener accepts connections again");
        true
    }
}

/// Have requests come lately?
struct Traffic {
    seen: usize,
    last: Option<Instant>,
}

impl Traffic {
    fn flows(&mut self, requests: usize, now: Instant) -> bool {
        if requests != self.seen {
            self.seen = requests;
            self.last = Some(now);
        }
        self.last.is_some_and(|last| now.duration_since(last) < CALMS_AFTER)
    }
}

/// Connections that occupy tiny_http's idle threads. Now and then each sends a byte of a head that
/// never ends, so that it is not taken for dead.
struct Occupied {
    address: SocketAddr,
    interval: Duration,
    streams: Vec<TcpStream>,
    due: Instant,
}

impl Occupied {
    fn new(address: SocketAddr, interval: Duration) -> Self {
        Occupied { address, interval, streams: Vec::new(), due: Instant::now() }
    }

    fn hold(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + self.interval;
        self.streams.retain_mut(|stream| stream.write_all(b"-").is_ok());
        while self.streams.len() < IDLE_THREADS {
            match TcpStream::connect_timeout(&self.address, DEAD) {
                Ok(stream) => self.streams.push(stream),
                Err(_) => return, // out of descriptors, say: the next round may have more luck
            }
        }
    }
}

/// Short connections to ourselves: each has been accepted and given a thread once the other side ends
/// it. That one is not answered at once need mean no more than that it waits for a thread, like the
/// connections that it is to set free; so none is waited for before the next.
struct Beats {
    address: SocketAddr,
    pending: Vec<(TcpStream, Instant)>,
    answered: Instant,
}

impl Beats {
    fn new(address: SocketAddr) -> Self {
        Beats { address, pending: Vec::new(), answered: Instant::now() }
    }

    /// Sends so many, and some more while earlier ones are waiting: others may be waiting like them. Only
    /// a further beat sets them free, so there is always one; but each takes descriptors.
    fn send(&mut self, count: usize) {
        let waiting = self.pending.len();
        let count = if waiting < VOLLEY { count + waiting.min(4) } else { 1 };
        for _ in 0..count {
            // Out of descriptors, say: the next round may have more luck.
            let Ok(stream) = TcpStream::connect_timeout(&self.address, DEAD) else { return };
            if stream.shutdown(Shutdown::Write).is_ok() && stream.set_nonblocking(true).is_ok() {
                self.pending.push((stream, Instant::now()));
            }
        }
    }

    /// Looks for answers. False if there has been none for too long.
    fn look(&mut self) -> bool {
        let before = self.pending.len();
        // One that is late beyond doubt is given up, so that there are never very many.
        self.pending.retain_mut(|(stream, sent)| is_pending(stream) && sent.elapsed() < 2 * DEAD);
        if self.pending.len() < before || before == 0 {
            self.answered = Instant::now();
        }
        let late = self.pending.first().is_some_and(|(_, sent)| sent.elapsed() > DEAD);
        !late || self.answered.elapsed() <= DEAD
    }
}

fn is_pending(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// An address of this machine that reaches a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

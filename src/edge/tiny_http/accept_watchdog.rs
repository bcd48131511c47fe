//! A watchdog for a tiny_http listener. It makes connections to the listener itself, for three reasons.
//!
//! * tiny_http's accept thread can end silently (it panics when descriptors run out). A connection that
//!   is not accepted within a second shows that, and the listener is restarted.
//! * The read timeout that connections inherit from the listener would make `accept` fail after that time
//!   without a client. The probes are more frequent.
//! * tiny_http miscounts its idle threads: in a burst, some connections wait for a thread until another
//!   connection ends. So its idle threads are kept busy, and while requests come, many short probes each
//!   free one waiting connection.

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

/// Time between probes while requests come. Each probe frees one waiting connection.
const ACTIVE_INTERVAL: Duration = Duration::from_millis(10);

/// Time between probes otherwise. Each delays the end of one of tiny_http's idle threads by five seconds.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Probes at once when requests begin to come: most connections of a burst come at its beginning.
const PROBE_BURST: usize = 16;

/// Time after the last request during which the edge counts as active. tiny_http's idle threads end after
/// five seconds, and then its count is right again.
const ACTIVE_PERIOD: Duration = Duration::from_secs(6);

/// Time after which a probe counts as not accepted.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The edge's side of the watchdog: it reports requests and failures.
pub struct WatchdogNotifier {
    events: Sender<WatchdogEvent>,
    /// Requests so far.
    requests: AtomicUsize,
    /// Whether no requests come, so that the next one has to be reported.
    idle: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum WatchdogEvent {
    RequestsBegan,
    AcceptFailed,
}

impl WatchdogNotifier {
    /// Makes a notifier, and the receiver of its events for [`AcceptWatchdog::start`].
    pub fn new() -> (Self, WatchdogEvents) {
        let (events, receiver) = bounded(2);
        let notifier =
            WatchdogNotifier { events, requests: AtomicUsize::new(0), idle: AtomicBool::new(true) };
        (notifier, WatchdogEvents(receiver))
    }

    /// Reports a request.
    pub fn request_arrived(&self) {
        self.requests.fetch_add(1, Relaxed);
        if self.idle.load(Relaxed) && self.idle.swap(false, Relaxed) {
            let _ = self.events.try_send(WatchdogEvent::RequestsBegan); // full: other events cause probes too
        }
    }

    /// Reports that tiny_http has stopped accepting.
    pub fn accept_failed(&self) {
        let _ = self.events.try_send(WatchdogEvent::AcceptFailed); // full: a probe will detect it
    }
}

/// The receiver of a notifier's events.
pub struct WatchdogEvents(Receiver<WatchdogEvent>);

/// A running watchdog. It stops when this is dropped.
pub struct AcceptWatchdog {
    _stop: Sender<()>,
}

/// The listener that is watched.
pub struct WatchedListener<R> {
    /// The listener's address.
    pub address: SocketAddr,
    /// The listener's read timeout: probes come more often.
    pub read_timeout: Duration,
    /// Starts a new accept thread. Returns false if that is not possible now.
    pub restart: R,
    /// The edge's side.
    pub notifier: Arc<WatchdogNotifier>,
    /// The events that the edge reports.
    pub events: WatchdogEvents,
}

impl AcceptWatchdog {
    /// Starts the watchdog's thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start<R>(listener: WatchedListener<R>, threads: &ThreadGroup) -> Result<Self, StartError>
    where
        R: Fn() -> bool + Send + 'static,
    {
        let (_stop, stopped) = bounded(0);
        threads.start("accept-watchdog", move || listener.watch(&stopped))?;
        Ok(AcceptWatchdog { _stop })
    }
}

impl<R: Fn() -> bool> WatchedListener<R> {
    fn watch(self, stopped: &Receiver<()>) {
        let address = reachable(self.address);
        let idle_interval = IDLE_INTERVAL.min(self.read_timeout / 3);
        let mut busy_connections = BusyConnections::new(address, self.read_timeout / 2);
        // At first the edge counts as active: clients may connect before the busy connections do.
        let mut activity = RequestActivity { seen: 0, last: Some(Instant::now()) };
        let mut probes = Probes::new(address);
        loop {
            busy_connections.maintain();
            let active = activity.is_recent(self.notifier.requests.load(Relaxed), Instant::now());
            let soon = active || !probes.pending.is_empty();
            if !active {
                self.notifier.idle.store(true, Relaxed);
            }
            let event = select! {
                recv(self.events.0) -> event => event.ok(),
                recv(stopped) -> _ => return,
                default(if soon { ACTIVE_INTERVAL.min(idle_interval) } else { idle_interval }) => None,
            };
            let accepted = probes.check();
            probes.send(match event {
                Some(WatchdogEvent::RequestsBegan) => PROBE_BURST,
                _ if soon && !active => 0, // this round only checks pending probes
                _ => 1,
            });
            if event == Some(WatchdogEvent::AcceptFailed) || !accepted {
                drop(probes); // perhaps the process has run out of descriptors
                if !self.restart_listener(stopped) {
                    return;
                }
                probes = Probes::new(address);
            }
        }
    }

    /// Restarts the listener, with retries. Returns false if the watchdog has to stop.
    fn restart_listener(&self, stopped: &Receiver<()>) -> bool {
        tracing::error!(address = %self.address, "the listener has stopped accepting; restarting it");
        let mut pause = Duration::from_millis(50);
        while !(self.restart)() {
            if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return false;
            }
            pause = (pause * 2).min(IDLE_INTERVAL);
        }
        tracing::info!(address = %self.address, "the listener accepts connections again");
        true
    }
}

/// The time of the last request.
struct RequestActivity {
    seen: usize,
    last: Option<Instant>,
}

impl RequestActivity {
    /// Returns whether requests have come within the active period. `requests` is their number so far.
    fn is_recent(&mut self, requests: usize, now: Instant) -> bool {
        if requests != self.seen {
            self.seen = requests;
            self.last = Some(now);
        }
        self.last.is_some_and(|last| now.duration_since(last) < ACTIVE_PERIOD)
    }
}

/// Connections that keep tiny_http's idle threads busy. From time to time each sends a byte of a head that
/// never ends, so that it does not time out.
struct BusyConnections {
    address: SocketAddr,
    interval: Duration,
    streams: Vec<TcpStream>,
    due: Instant,
}

impl BusyConnections {
    fn new(address: SocketAddr, interval: Duration) -> Self {
        BusyConnections { address, interval, streams: Vec::new(), due: Instant::now() }
    }

    /// Sends a byte on each connection when one is due, and replaces connections that have ended.
    fn maintain(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + self.interval;
        self.streams.retain_mut(|stream| stream.write_all(b"-").is_ok());
        while self.streams.len() < IDLE_THREADS {
            match TcpStream::connect_timeout(&self.address, PROBE_TIMEOUT) {
                Ok(stream) => self.streams.push(stream),
                Err(_) => return, // the next round tries again
            }
        }
    }
}

/// Short connections to the listener. A probe has been accepted and given a thread once the other side
/// closes it. A probe that is still pending may only be waiting for a thread, like the connections that it
/// is to free; so the next one is sent without waiting for it.
struct Probes {
    address: SocketAddr,
    pending: Vec<(TcpStream, Instant)>,
    last_accepted: Instant,
}

impl Probes {
    fn new(address: SocketAddr) -> Self {
        Probes { address, pending: Vec::new(), last_accepted: Instant::now() }
    }

    /// Sends `count` probes, and up to four more while earlier ones are pending, because clients'
    /// connections may be waiting like them. Only a further probe frees those, so at least one is sent even
    /// when many are pending; no more than one then, because each takes descriptors.
    fn send(&mut self, count: usize) {
        let pending = self.pending.len();
        let count = if pending < PROBE_BURST { count + pending.min(4) } else { 1 };
        for _ in 0..count {
            let Ok(stream) = TcpStream::connect_timeout(&self.address, PROBE_TIMEOUT) else {
                return; // the next round tries again
            };
            if stream.shutdown(Shutdown::Write).is_ok() && stream.set_nonblocking(true).is_ok() {
                self.pending.push((stream, Instant::now()));
            }
        }
    }

    /// Removes the accepted probes. Returns false if no probe has been accepted for too long.
    fn check(&mut self) -> bool {
        let before = self.pending.len();
        // A probe that is far too late is given up, which limits their number.
        self.pending.retain_mut(|(stream, sent)| is_pending(stream) && sent.elapsed() < 2 * PROBE_TIMEOUT);
        if self.pending.len() < before || before == 0 {
            self.last_accepted = Instant::now();
        }
        let late = self.pending.first().is_some_and(|(_, sent)| sent.elapsed() > PROBE_TIMEOUT);
        !late || self.last_accepted.elapsed() <= PROBE_TIMEOUT
    }
}

fn is_pending(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Returns an address through which this machine reaches a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

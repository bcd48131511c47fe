//! Step 2: the bounded queue between the edges and the workers, and which worker wakes.
//!
//! The queue is a bounded crossbeam channel. [`JobSender`] is its entrance: an edge offers a request, and
//! where the queue is full the client is told so at once. [`JobReceiver`] is a worker's end of it.
//!
//! **Few workers stay hot.** Workers that wait on slow backends must be many; for fast backends a
//! few suffice, and each further one that takes part costs a wake-up, a cold stack and a cold
//! connection. So the first workers, four for each processor, always wait at the channel: the
//! *core*. The others are a *reserve* that stays at home, asleep, until the [`QueueMonitor`] calls: when
//! requests are waiting and none has been taken for a while, all of the core must be stuck behind
//! slow backends. A reserve worker then stays for as long as its requests are slow ones and there
//! are more of them.

mod monitor;
mod options;

use crate::edge::Exchange;
use crate::error::Refusal;
use crate::observe::Recorder;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
pub use monitor::{CongestionSignal, QueueMonitor};
pub use options::QueueOptions;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Core workers for each processor. Measured on two processors with 64 workers: see the changelog.
const CORE_PER_PROCESSOR: usize = 4;

/// A request that waits this long while none is taken has found the whole core stuck. Backends on
/// the same network answer within it; a person does not notice it.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long a reserve worker waits for its next request before it goes home.
const LINGER: Duration = Duration::from_millis(200);

/// What door, receivers and monitor know of each other.
struct QueueState {
    opened: Instant,
    timeout: Duration,
    /// Workers that wait at the channel.
    waiting: AtomicUsize,
    /// Requests put in and taken out, ever.
    pushed: Mutex<usize>,
    taken: AtomicUsize,
    /// When each waiting request was put in, in microseconds after `opened`; found by its number.
    stamps: Box<[AtomicU64]>,
    /// The monitor is watching and need not be rung for.
    watched: AtomicBool,
    /// Requests have to wait for long.
    congested: AtomicBool,
    bell: Sender<()>,
}

impl QueueState {
    /// Rings for the monitor if more requests wait than workers.
    fn look(&self, requests: usize) {
        if requests > self.waiting.load(SeqCst) && !self.watched.load(SeqCst) {
            let _ = self.bell.try_send(()); // full: it has been rung already
        }
    }

    /// Puts a request in and remembers when, or gives it back where there is no room. The edges take
    /// turns at it: the lock is theirs, and no worker's.
    fn put_in(&self, jobs: &Sender<Exchange>, exchange: Exchange) -> Option<Exchange> {
        let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.try_send(exchange);
        if sent.is_ok() {
            let stamp = self.opened.elapsed().as_micros() as u64;
            self.stamps[*pushed % self.stamps.len()].store(stamp, Relaxed);
            *pushed += 1;
        }
        sent.err().map(TrySendError::into_inner)
    }

    /// How long has the request at the head of the queue waited? The head may be taken, and another be
    /// the head, while one looks.
    fn head_waited(&self) -> Duration {
        let pushed = *self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.taken.load(Relaxed);
        let stamp = self.stamps[number % self.stamps.len()].load(Relaxed);
        let waited = self.opened.elapsed().saturating_sub(Duration::from_micros(stamp));
        if pushed > number { waited } else { Duration::ZERO }
    }
}

/// Opens a queue for so many workers, with a receiver for each.
pub fn open(
    workers: usize,
    options: QueueOptions,
    recorder: Arc<Recorder>,
) -> (JobSender, Vec<JobReceiver>, QueueMonitor) {
    let (sender, jobs) = bounded(options.capacity);
    let (bell, rung) = bounded(1);
    let (open, closed) = bounded(0);
    let (call, calls) = bounded(0);
    let state = Arc::new(QueueState {
        opened: Instant::now(),
        timeout: options.timeout,
        waiting: AtomicUsize::new(0),
        pushed: Mutex::new(0),
        taken: AtomicUsize::new(0),
        stamps: (0..options.capacity).map(|_| AtomicU64::new(0)).collect(),
        watched: AtomicBool::new(false),
        congested: AtomicBool::new(false),
        bell,
    });
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let core = workers.min(CORE_PER_PROCESSOR * processors);
    let receivers = (0..workers).map(|number| JobReceiver {
        jobs: jobs.clone(),
        state: Arc::clone(&state),
        calls: (number >= core).then(|| calls.clone()),
        on_duty: false,
        began: None,
    });
    let receivers = receivers.collect();
    let inlet = Inlet { jobs: sender, state: Arc::clone(&state), recorder: Arc::clone(&recorder) };
    let monitor = QueueMonitor { jobs, state, rung, closed, call, recorder, jobs_back: Some(inlet.clone()) };
    (JobSender { inlet, _open: open }, receivers, monitor)
}

/// The entrance: where an edge offers requests. The queue closes when the last copy is dropped.
#[derive(Clone)]
pub struct JobSender {
    inlet: Inlet,
    _open: Sender<()>,
}

impl JobSender {
    /// Puts a request into the queue, or answers 503 where there is no room. Never waits.
    pub fn offer(&self, exchange: Exchange) {
        self.inlet.offer(exchange);
    }

    /// A look at how many requests wait, and how long they have to.
    pub fn congestion(&self) -> CongestionSignal {
        CongestionSignal(Arc::clone(&self.inlet.state))
    }

    /// Where refusals at the door are recorded.
    pub fn recorder(&self) -> &Recorder {
        &self.inlet.recorder
    }
}

/// What it takes to put a request in.
#[derive(Clone)]
struct Inlet {
    jobs: Sender<Exchange>,
    state: Arc<QueueState>,
    recorder: Arc<Recorder>,
}

impl Inlet {
    fn offer(&self, exchange: Exchange) {
        match self.state.put_in(&self.jobs, exchange) {
            None => self.state.look(self.jobs.len()),
            Some(exchange) => self.recorder.turn_away(exchange, Refusal::QueueFull),
        }
    }
}

/// Waiting took too long: does something about that, and waits on.
fn after<T>(
    error: RecvTimeoutError,
    on_idle: &dyn Fn(),
    wait_on: impl FnOnce() -> Result<T, RecvTimeoutError>,
) -> Result<T, RecvTimeoutError> {
    match error {
        RecvTimeoutError::Disconnected => Err(error),
        RecvTimeoutError::Timeout => {
            on_idle();
            wait_on()
        }
    }
}

/// A worker's end of the queue.
pub struct JobReceiver {
    jobs: Receiver<Exchange>,
    state: Arc<QueueState>,
    /// Where a reserve worker waits to be called; a core worker has none.
    calls: Option<Receiver<()>>,
    on_duty: bool,
    began: Option<Instant>,
}

impl JobReceiver {
    /// The next request, or `None` once the queue is closed and empty. A worker that has waited for
    /// `idle` does `on_idle` first, once, and goes on waiting.
    pub fn take(&mut self, idle: Duration, on_idle: &dyn Fn()) -> Option<Exchange> {
        let Some(calls) = self.calls.clone() else {
            return self.wait(Some(idle)).or_else(|error| after(error, on_idle, || self.wait(None))).ok();
        };
        loop {
            // The request before was a fast one: the core can do without this worker.
            if self.began.take().is_some_and(|began| began.elapsed() < PATIENCE) {
                self.on_duty = false;
            }
            if !self.on_duty {
                let forever = || calls.recv().map_err(|_| RecvTimeoutError::Disconnected);
                calls.recv_timeout(idle).or_else(|error| after(error, on_idle, forever)).ok()?;
                self.on_duty = true;
            }
            match self.wait(Some(LINGER)) {
                Ok(job) => {
                    self.began = Some(Instant::now());
                    return Some(job);
                }
                Err(RecvTimeoutError::Timeout) => self.on_duty = false,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn wait(&self, patience: Option<Duration>) -> Result<Exchange, RecvTimeoutError> {
        let job = match self.jobs.try_recv() {
            Ok(job) => Ok(job),
            Err(_) => {
                self.state.waiting.fetch_add(1, SeqCst);
                let job = match patience {
                    None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(patience) => self.jobs.recv_timeout(patience),
                };
                self.state.waiting.fetch_sub(1, SeqCst);
                job
            }
        };
        if job.is_ok() {
            self.state.taken.fetch_add(1, Relaxed);
        }
        // The door may have counted on this worker for a further request. It is busy now.
        self.state.look(self.jobs.len());
        job
    }
}

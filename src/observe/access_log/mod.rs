//! The access log: a line for each request.
//!
//! A line is made by whoever ended the request and written by a thread of its own, so that no worker
//! ever waits for a terminal or a disk. If the sink is slower than the traffic, or takes nothing any more,
//! lines are dropped and counted; requests are not held.

mod line;

use crate::error::StartError;
use crate::observe::outcome::Outcome;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The combined log format, then what a balancer has to add.
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines that may wait to be written: a quarter of a second's at 30,000 a second.
const WAITING: usize = 8192;

/// How long the writer lets lines gather. A writer that wakes up for each of them costs more than the line.
const GATHERING: Duration = Duration::from_millis(10);

/// The access log, or its absence.
pub struct AccessLog {
    lines: Option<(Format, Sender<Vec<u8>>)>,
    dropped: Arc<Dropped>,
}

impl AccessLog {
    /// No access log: recording costs nothing.
    pub fn off() -> Self {
        AccessLog { lines: None, dropped: Arc::default() }
    }

    /// An access log, and the thread that writes it, which ends when the log is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(
        format: Format,
        sink: Box<dyn Write + Send>,
        threads: &ThreadGroup,
    ) -> Result<Self, StartError> {
        let (sender, lines) = bounded(WAITING);
        let log = AccessLog { lines: Some((format, sender)), dropped: Arc::default() };
        let dropped = Arc::clone(&log.dropped);
        threads.start("access-log", move || write_lines(&lines, sink, &dropped))?;
        Ok(log)
    }

    /// Is there one?
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// How many lines could not be written, or not in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.0.load(Relaxed)
    }

    /// Writes down how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        let Some((format, sender)) = &self.lines else { return };
        if sender.is_full() || sender.try_send(line::of(*format, outcome)).is_err() {
            self.dropped.one_more("is slower than the traffic");
        }
    }
}

/// Lines that nobody will read.
#[derive(Default)]
struct Dropped(AtomicU64);

impl Dropped {
    /// Counts one, and says so now and then.
    fn one_more(&self, why: &str) {
        let dropped = self.0.fetch_add(1, Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "the access log {why}: lines are dropped");
        }
    }
}

/// Writes what has gathered, and lets more gather, until the log is dropped. A log that cannot be written (a full disk, a
/// closed pipe) must not take the balancer down with it. What is in the buffer by then is tried again, so that no line is torn if
/// the disk has room again.
fn write_lines(lines: &Receiver<Vec<u8>>, sink: Box<dyn Write + Send>, dropped: &Dropped) {
    let mut sink = BufWriter::with_capacity(64 << 10, sink);
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            if sink.write_all(&line).is_err() {
                dropped.one_more("cannot be written");
            }
        }
        let flushed = sink.flush();
        if let (Err(error), false) = (&flushed, failing) {
            tracing::warn!("the access log cannot be written, trying again: {error}");
        }
        failing = flushed.is_err();
        thread::sleep(GATHERING);
    }
}

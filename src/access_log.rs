//! The access log: a line for each request.
//!
//! A line is made by whoever ended the request and written by a thread of its own, so that no worker
//! ever waits for a terminal or a disk. If the sink is slower than the traffic, lines are dropped
//! and counted; requests are not held.

mod line;

use crate::error::StartError;
use crate::record::Outcome;
use crate::threads::Crew;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::Write;
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
    dropped: AtomicU64,
}

impl AccessLog {
    /// No access log: recording costs nothing.
    pub fn off() -> Self {
        AccessLog { lines: None, dropped: AtomicU64::new(0) }
    }

    /// An access log, and the thread that writes it, which ends when the log is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(format: Format, sink: Box<dyn Write + Send>, crew: &Crew) -> Result<Self, StartError> {
        let (sender, lines) = bounded(WAITING);
        crew.start("access-log", move || write_lines(&lines, sink))?;
        Ok(AccessLog { lines: Some((format, sender)), dropped: AtomicU64::new(0) })
    }

    /// Is there one?
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// How many lines could not be written in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Writes down how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        let Some((format, sender)) = &self.lines else { return };
        if sender.is_full() || sender.try_send(line::of(*format, outcome)).is_err() {
            let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the access log is slower than the traffic: lines are dropped");
            }
        }
    }
}

/// Writes what has gathered, and lets more gather, until the log is dropped.
fn write_lines(lines: &Receiver<Vec<u8>>, sink: Box<dyn Write + Send>) {
    let mut sink = std::io::BufWriter::with_capacity(64 << 10, sink);
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            // A log that cannot be written (a closed pipe) must not take the balancer down with it.
            let _ = sink.write_all(&line);
        }
        let _ = sink.flush();
        thread::sleep(GATHERING);
    }
}

//! The thread that writes the access log, and the bounded queue in front of it.

use super::line::{self, AccessLogFormat};
use crate::error::StartError;
use crate::observe::outcome::Outcome;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// The most lines that wait to be written: a quarter of a second's lines at 30,000 requests a second.
const QUEUE: usize = 8192;

/// The pause between two batches. A writer that wakes up for each line costs more than the line.
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// The access log, which may be off.
pub struct AccessLog {
    lines: Option<(AccessLogFormat, Sender<Vec<u8>>)>,
    dropped: Arc<Dropped>,
}

impl AccessLog {
    /// Returns an access log that writes nothing.
    pub fn off() -> Self {
        AccessLog { lines: None, dropped: Arc::default() }
    }

    /// Returns an access log, and starts the thread that writes it. The thread ends when the log is dropped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(
        format: AccessLogFormat,
        sink: Box<dyn Write + Send>,
        threads: &ThreadGroup,
    ) -> Result<Self, StartError> {
        let (sender, lines) = bounded(QUEUE);
        let log = AccessLog { lines: Some((format, sender)), dropped: Arc::default() };
        let dropped = Arc::clone(&log.dropped);
        threads.start("access-log", move || write_lines(&lines, sink, &dropped))?;
        Ok(log)
    }

    /// Returns whether lines are written.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Returns the number of lines that were dropped because the sink failed or was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.0.load(Relaxed)
    }

    /// Queues the line of a request that has ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        let Some((format, sender)) = &self.lines else { return };
        if sender.is_full() || sender.try_send(line::format(*format, outcome)).is_err() {
            self.dropped.count("is slower than the traffic");
        }
    }
}

/// The number of lines that were dropped.
#[derive(Default)]
struct Dropped(AtomicU64);

impl Dropped {
    /// Counts a line, and logs a warning each time the number has doubled.
    fn count(&self, why: &str) {
        let dropped = self.0.fetch_add(1, Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "the access log {why}: lines are dropped");
        }
    }
}

/// Writes queued lines in batches until the log is dropped. A sink that fails (a full disk, a closed pipe) does not stop the
/// balancer. What the buffer still holds is retried with the next batch, so that no line is torn once the sink works again.
fn write_lines(lines: &Receiver<Vec<u8>>, sink: Box<dyn Write + Send>, dropped: &Dropped) {
    let mut sink = BufWriter::with_capacity(64 << 10, sink);
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            if sink.write_all(&line).is_err() {
                dropped.count("cannot be written");
            }
        }
        let flushed = sink.flush();
        if let (Err(error), false) = (&flushed, failing) {
            tracing::warn!("the access log cannot be written, trying again: {error}");
        }
        failing = flushed.is_err();
        thread::sleep(BATCH_INTERVAL);
    }
}

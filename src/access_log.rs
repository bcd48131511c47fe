//! The access log: a line for each request.
//!
//! A line is made by whoever ended the request and written by a thread of its own, so that no worker
//! ever waits for a terminal or a disk. If the sink is slower than the traffic, lines are dropped
//! and counted; requests are not held.

use crate::error::StartError;
use crate::record::Outcome;
use crate::threads::Crew;
use crossbeam_channel::{Receiver, Sender, bounded};
use http::{HeaderMap, header, request};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The combined log format, then backend, tries and times in seconds.
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines that may wait to be written.
const WAITING: usize = 8192;

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

    /// Writes down how a request ended.
    pub fn record(&self, outcome: &Outcome<'_>) {
        let Some((format, sender)) = &self.lines else { return };
        let line = match format {
            Format::Text => text(outcome),
            Format::Json => json(outcome),
        };
        if sender.try_send(line).is_err() {
            let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the access log is slower than the traffic: lines are dropped");
            }
        }
    }
}

fn write_lines(lines: &Receiver<Vec<u8>>, sink: Box<dyn Write + Send>) {
    let mut sink = std::io::BufWriter::with_capacity(64 << 10, sink);
    for line in lines {
        // A log that cannot be written (a closed pipe) must not take the balancer down with it.
        let _ = sink.write_all(&line);
        if lines.is_empty() {
            let _ = sink.flush();
        }
    }
}

/// Milliseconds are too coarse for a loopback backend: seconds with six digits.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

fn request_line(head: Option<&request::Parts>) -> String {
    match head {
        Some(head) => format!("{} {} {:?}", head.method, head.uri, head.version),
        None => "-".into(),
    }
}

/// A header's value as a log may hold it: printable ASCII, everything else as `\xNN`.
fn escaped(headers: Option<&HeaderMap>, name: header::HeaderName) -> String {
    match headers.and_then(|headers| headers.get(name)) {
        Some(value) => value.as_bytes().escape_ascii().to_string(),
        None => "-".into(),
    }
}

fn text(outcome: &Outcome<'_>) -> Vec<u8> {
    let headers = outcome.head.map(|head| &head.headers);
    let request = request_line(outcome.head);
    format!(
        "{} - - [{}] \"{}\" {} {} \"{}\" \"{}\" backend={} tries={} queue={:.6} upstream={:.6} total={:.6}\n",
        outcome.peer.ip(),
        jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000"),
        request.as_bytes().escape_ascii(),
        outcome.status.as_u16(),
        outcome.bytes,
        escaped(headers, header::REFERER),
        escaped(headers, header::USER_AGENT),
        outcome.backend.map_or("-", |backend| backend.authority().as_str()),
        outcome.tries,
        seconds(outcome.queued.unwrap_or_default()),
        seconds(outcome.upstream),
        seconds(outcome.arrived.elapsed()),
    )
    .into_bytes()
}

fn json(outcome: &Outcome<'_>) -> Vec<u8> {
    let headers = outcome.head.map(|head| &head.headers);
    let mut line = serde_json::json!({
        "time": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        "client": outcome.peer.ip().to_string(),
        "method": outcome.head.map(|head| head.method.as_str()),
        "target": outcome.head.map(|head| head.uri.to_string()),
        "version": outcome.head.map(|head| format!("{:?}", head.version)),
        "host": headers.map(|_| escaped(headers, header::HOST)),
        "status": outcome.status.as_u16(),
        "bytes": outcome.bytes,
        "referer": escaped(headers, header::REFERER),
        "user_agent": escaped(headers, header::USER_AGENT),
        "backend": outcome.backend.map(|backend| backend.authority().as_str()),
        "tries": outcome.tries,
        "queue_seconds": seconds(outcome.queued.unwrap_or_default()),
        "upstream_seconds": seconds(outcome.upstream),
        "total_seconds": seconds(outcome.arrived.elapsed()),
    })
    .to_string()
    .into_bytes();
    line.push(b'\n');
    line
}

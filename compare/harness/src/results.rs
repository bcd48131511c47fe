//! What is measured, as it is kept: one JSON object a line, the first for the run, one for each
//! measurement after it.
//!
//! A run that was stopped goes on behind its last whole line.

use crate::variant::Variant;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// The first line: under what conditions the rest was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// When it was begun, as RFC 3339 in UTC.
    pub begun: String,
    /// The version of the sources, as git names it.
    pub commit: String,
    /// Of this project's own programs, the one that measures among them: whether they are the same.
    #[serde(default)]
    pub fingerprint: String,
    /// Where.
    pub machine: Machine,
    /// How.
    pub settings: Settings,
    /// What was there to be measured, and in which version.
    pub variants: BTreeMap<Variant, String>,
    /// What was there and was not measured, and why.
    #[serde(default)]
    pub left_out: BTreeMap<Variant, String>,
    /// What system calls were counted with, if they were.
    #[serde(default)]
    pub calls_counted_with: Option<String>,
    /// What wrk says of the load, if it was there.
    #[serde(default)]
    pub second_opinion: Option<SecondOpinion>,
}

/// Replies a second of one balancer in the base cell, by two load generators in turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondOpinion {
    /// By our own.
    pub own: Vec<f64>,
    /// By wrk.
    pub wrk: Vec<f64>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many the system counts.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's name and version.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// The system's load average over a minute when the run began.
    pub load_average: f32,
}

/// How long, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The shorter choice of cells.
    pub quick: bool,
    /// How often each variant has its turn in each cell.
    pub rounds: u32,
    /// Load before it counts, in milliseconds.
    pub warm_up_ms: u64,
    /// How long it counts, in milliseconds.
    pub window_ms: u64,
}

/// One variant, in one cell, in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The cell's name.
    pub cell: String,
    /// Who.
    pub variant: Variant,
    /// Which round, from 1. In round 0 system calls are counted, and nothing of it counts but those.
    pub round: u32,
    /// What the clients saw.
    pub load: Load,
    /// What it took. Nothing for `direct`, where there is no proxy.
    pub usage: Option<Usage>,
}

/// What the clients saw in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The window's length in seconds.
    pub seconds: f64,
    /// Whole replies with a status of 2xx, and no others.
    pub good: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Their latencies.
    pub latency: Latency,
    /// What else came of requests: a word for each kind, and how often.
    pub errors: BTreeMap<String, u64>,
    /// How many connections asked.
    pub connections: u64,
    /// The fewest good replies that any of them got.
    pub fewest: u64,
    /// The most.
    pub most: u64,
    /// How many got nothing good at all.
    pub nothing: u64,
    /// Requests under way by Little's law (rate times mean latency) over those that really were, which
    /// is one for each connection. Only where that is so: with closed loops.
    pub little: Option<f64>,
    /// Requests a second that were due in the window, in an open loop.
    pub offered: Option<f64>,
    /// Requests that were due and had no reply when the window ended, in an open loop. They are in no other
    /// figure.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Whole replies with any status since the first connection was opened.
    pub replies_ever: u64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What the proxy took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in seconds, within the window.
    pub processor: f64,
    /// Context switches, from the first connection of the load to the window's end; to the program's end where
    /// connections carry one request.
    pub switches: u64,
    /// Memory as the window ended, in KiB: what is shared between its processes is counted once.
    pub memory_kib: u64,
    /// Threads as the window ended.
    pub threads: u64,
    /// System calls, from the first request to the window's end. Only in round 0.
    pub calls: Option<u64>,
}

/// A run: its conditions and what has been measured so far.
#[derive(Clone, Debug)]
pub struct Run {
    /// The conditions.
    pub header: Header,
    /// In the order in which they were taken.
    pub measurements: Vec<Measurement>,
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// When there is none, or it is none. A last line that was cut off is no error.
    pub fn read(file: &Path) -> Result<Run> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let header = serde_json::from_str(lines.next().unwrap_or_default())
            .with_context(|| format!("{} does not begin like a run", file.display()))?;
        let measurements = lines
            .enumerate()
            .map(|(n, line)| serde_json::from_str(line).with_context(|| format!("line {}", n + 2)))
            .collect::<Result<_>>()
            .with_context(|| format!("{} is not a run", file.display()))?;
        Ok(Run { header, measurements })
    }

    /// Writes it anew, without what was cut off, and says where further lines go.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<File> {
        // Never without a whole copy, whatever happens in between.
        let fresh = file.with_extension("new");
        let mut out = File::create(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
        append(&mut out, &self.header)?;
        self.measurements.iter().try_for_each(|measurement| append(&mut out, measurement))?;
        fs::rename(&fresh, file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(out)
    }
}

/// Writes a line.
///
/// # Errors
/// When it cannot be written.
pub fn append(out: &mut File, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text).context("cannot write what was measured")
}

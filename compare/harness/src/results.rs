//! The raw data of a run: JSON Lines, first a header, then one measurement per line.
//!
//! An interrupted run resumes after its last complete line.

use crate::variant::Variant;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// The first line: the conditions of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Start time in UTC as RFC 3339.
    pub begun: String,
    /// Version of the sources, as `git describe` prints it.
    pub commit: String,
    /// Hash of this project's own programs, including the harness.
    #[serde(default)]
    pub fingerprint: String,
    /// The machine.
    pub machine: Machine,
    /// Durations and rounds.
    pub settings: Settings,
    /// Version of each measured variant.
    pub variants: BTreeMap<Variant, String>,
    /// Variants that were not measured, and why.
    #[serde(default)]
    pub left_out: BTreeMap<Variant, String>,
    /// The tool that counted system calls, if any.
    #[serde(default)]
    pub calls_counted_with: Option<String>,
    /// Rates measured by wrk for comparison, if it was installed.
    #[serde(default, rename = "second_opinion")]
    pub cross_check: Option<CrossCheck>,
}

/// Replies per second of one balancer in the base cell, by two load generators in turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossCheck {
    /// By the harness's own load generator.
    pub own: Vec<f64>,
    /// By wrk.
    pub wrk: Vec<f64>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Number of logical processors.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// Version of the compiler.
    pub rustc: String,
    /// One-minute load average at the start of the run.
    pub load_average: f32,
}

/// Durations and number of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether this is the quick selection of cells.
    pub quick: bool,
    /// Measurements per variant and cell.
    pub rounds: u32,
    /// Duration of the load before the window in milliseconds.
    pub warm_up_ms: u64,
    /// Duration of the window in milliseconds.
    pub window_ms: u64,
}

/// One variant in one cell in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the cell.
    pub cell: String,
    /// The variant.
    pub variant: Variant,
    /// The round, from 1. Round 0 counts system calls and is used for nothing else.
    pub round: u32,
    /// The clients' observations.
    pub load: Load,
    /// The balancer's resource usage; `None` for `direct`.
    pub usage: Option<Usage>,
}

/// The clients' observations in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Complete replies with a 2xx status.
    pub good: u64,
    /// Sum of their body sizes in bytes.
    pub bytes: u64,
    /// Their latencies.
    pub latency: Latency,
    /// Failed requests by kind.
    pub errors: BTreeMap<String, u64>,
    /// Number of connections.
    pub connections: u64,
    /// Fewest good replies of any connection.
    pub fewest: u64,
    /// Most good replies of any connection.
    pub most: u64,
    /// Number of connections without a good reply.
    pub nothing: u64,
    /// Requests in flight by Little's law (rate times mean latency) divided by the true number, which is one
    /// per connection. Closed loops only.
    pub little: Option<f64>,
    /// Requests per second due in the window. Open loops only.
    pub offered: Option<f64>,
    /// Requests due without a reply at the end of the window. They are in no other figure. Open loops only.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Complete replies with any status since the first connection was opened.
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

/// Resources used by the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time within the window in seconds.
    pub processor: f64,
    /// Context switches from the first connection of the load to the end of the window, or to the program's
    /// exit if a connection carries one request.
    pub switches: u64,
    /// Proportional set size at the end of the window in KiB, summed over the processes.
    pub memory_kib: u64,
    /// Number of threads at the end of the window.
    pub threads: u64,
    /// System calls from the first request to the end of the window. Only in round 0.
    pub calls: Option<u64>,
}

/// A run: its conditions and its measurements so far.
#[derive(Clone, Debug)]
pub struct Run {
    /// The conditions.
    pub header: Header,
    /// In the order in which they were taken.
    pub measurements: Vec<Measurement>,
}

impl Run {
    /// Reads a run from its raw data.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or parsed. An incomplete last line is ignored.
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

    /// Writes the run without an incomplete last line, and returns the file to append further lines to.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<File> {
        // Written to a new file and renamed, so that a complete copy exists at any time.
        let fresh = file.with_extension("new");
        let mut out = File::create(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
        append(&mut out, &self.header)?;
        self.measurements.iter().try_for_each(|measurement| append(&mut out, measurement))?;
        fs::rename(&fresh, file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(out)
    }
}

/// Appends one line.
///
/// # Errors
/// Returns an error if the line cannot be written.
pub fn append(out: &mut File, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text).context("cannot write the measurement")
}

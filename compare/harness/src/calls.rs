//! Counts a program's system calls from outside: with perf, which hardly slows it down, or with strace, which
//! does. Without either, system calls are not counted.

use crate::program::installed;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const EVENT: &str = "raw_syscalls:sys_enter";

/// Time for a counter to attach.
const ATTACH_TIME: Duration = Duration::from_millis(300);

/// A tool that counts system calls.
#[derive(Clone, Debug)]
pub enum Counter {
    /// `perf stat`.
    Perf(PathBuf),
    /// `strace -c`.
    Strace(PathBuf),
}

/// A count in progress.
pub struct Count {
    counter: Counter,
    child: Child,
}

impl Counter {
    /// Returns the best tool that works here, or `None`.
    pub fn find() -> Option<Counter> {
        let works = |counter: &Counter| {
            let trial = match counter {
                Counter::Perf(perf) => Command::new(perf).args(["stat", "-x,", "-e", EVENT, "true"]).output(),
                Counter::Strace(strace) => Command::new(strace).args(["-c", "-q", "true"]).output(),
            };
            trial.is_ok_and(|output| counter.quantity(&String::from_utf8_lossy(&output.stderr)).is_some())
        };
        let perf = installed("perf").map(Counter::Perf).filter(works);
        perf.or_else(|| installed("strace").map(Counter::Strace).filter(works))
    }

    fn quantity(&self, text: &str) -> Option<u64> {
        match self {
            Counter::Perf(_) => counted_by_perf(text),
            Counter::Strace(_) => counted_by_strace(text),
        }
    }

    /// Returns the tool's name.
    pub fn name(&self) -> &'static str {
        match self {
            Counter::Perf(_) => "perf",
            Counter::Strace(_) => "strace",
        }
    }

    /// Starts counting the system calls of these processes and all their threads.
    ///
    /// # Errors
    /// Returns an error if the tool does not start.
    pub fn begin(&self, pids: &[i32]) -> Result<Count> {
        let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
        let mut command = match self {
            Counter::Perf(program) => Command::new(program),
            Counter::Strace(program) => Command::new(program),
        };
        match self {
            Counter::Perf(_) => command.args(["stat", "-x,", "-e", EVENT, "-p"]).arg(pids.join(",")),
            Counter::Strace(_) => {
                command.args(["-f", "-c", "-q"]).args(pids.iter().flat_map(|pid| ["-p", pid.as_str()]))
            }
        };
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the system call counter")?;
        thread::sleep(ATTACH_TIME); // neither tool reports when it has attached
        Ok(Count { counter: self.clone(), child })
    }
}

impl Count {
    /// Stops counting and returns the number of calls.
    ///
    /// # Errors
    /// Returns an error if the tool printed no count.
    pub fn end(self) -> Result<u64> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT)?;
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        self.counter.quantity(&text).with_context(|| format!("system calls were not counted: {text}"))
    }
}

fn counted_by_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

/// Returns the fourth column of the `total` line.
fn counted_by_strace(text: &str) -> Option<u64> {
    let total = text.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_output_of_perf_and_strace() {
        let perf = "12345,,raw_syscalls:sys_enter,49000,100.00,,\n";
        assert_eq!(counted_by_perf(perf), Some(12345));
        assert_eq!(counted_by_perf("<not supported>,,raw_syscalls:sys_enter,0,100.00,,"), None);
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n \
                      60.00    0.000001           0         3         1 read\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.000001           0        23         6 total\n";
        assert_eq!(counted_by_strace(strace), Some(23));
    }
}

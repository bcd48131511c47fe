//! Counting a program's system calls from outside: with perf, which hardly slows it down, or else with strace,
//! which does. Where neither is to be had, they are not counted.

use crate::program::installed;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const EVENT: &str = "raw_syscalls:sys_enter";

/// How long a counter needs until it counts.
const GET_READY: Duration = Duration::from_millis(300);

/// What counts.
#[derive(Clone, Debug)]
pub enum Counter {
    /// `perf stat`.
    Perf(PathBuf),
    /// `strace -c`.
    Strace(PathBuf),
}

/// A count under way.
pub struct Count {
    counter: Counter,
    child: Child,
}

impl Counter {
    /// The best that there is.
    pub fn find() -> Option<Counter> {
        let works = |counter: &Counter| {
            let trial = match counter {
                Counter::Perf(perf) => Command::new(perf).args(["stat", "-x,", "-e", EVENT, "true"]).output(),
                Counter::Strace(strace) => Command::new(strace).args(["-c", "-q", "true"]).output(),
            };
            trial.is_ok_and(|output| counter.counted(&String::from_utf8_lossy(&output.stderr)).is_some())
        };
        let perf = installed("perf").map(Counter::Perf).filter(works);
        perf.or_else(|| installed("strace").map(Counter::Strace).filter(works))
    }

    fn counted(&self, text: &str) -> Option<u64> {
        match self {
            Counter::Perf(_) => counted_by_perf(text),
            Counter::Strace(_) => counted_by_strace(text),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Counter::Perf(_) => "perf",
            Counter::Strace(_) => "strace",
        }
    }

    /// Begins to count those of these processes, with all their threads.
    ///
    /// # Errors
    /// When the counter does not start.
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
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot count")?;
        thread::sleep(GET_READY); // neither says when it has begun
        Ok(Count { counter: self.clone(), child })
    }
}

impl Count {
    /// Ends it: so many.
    ///
    /// # Errors
    /// When it has not counted.
    pub fn end(self) -> Result<u64> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT)?;
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        self.counter.counted(&text).with_context(|| format!("system calls were not counted: {text}"))
    }
}

fn counted_by_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

/// The fourth column of the last line, which is the sum.
fn counted_by_strace(text: &str) -> Option<u64> {
    let total = text.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_counters_print_is_understood() {
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

//! Resource usage of a program, read from the kernel.

use crate::program::Program;
use crate::results::Usage;
use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::Process;

/// The processes of a measured program, and their context switches before the load.
///
/// The processes are looked up once, before the load: the lookup opens a file per thread, as counting switches
/// does, and would disturb the load in proportion to the program's threads.
pub struct Meter {
    pids: Vec<i32>,
    clocks: Vec<ClockId>,
    switches: u64,
}

impl Meter {
    /// Looks up the program's processes. To be called before the load starts.
    ///
    /// # Errors
    /// Returns an error if the program has exited.
    pub fn new(program: &Program) -> Result<Meter> {
        let pid = program.pid();
        let tasks = Process::new(pid)?.tasks()?.flatten();
        let children = tasks.filter_map(|task| task.children().ok()).flatten().map(u32::cast_signed);
        let pids: Vec<_> = [pid].into_iter().chain(children).collect();
        let clock = |pid: &i32| ClockId::pid_cpu_clock_id(Pid::from_raw(*pid));
        let clocks =
            pids.iter().map(clock).collect::<Result<_, _>>().context("its processor time cannot be read")?;
        let switches = switches(&pids);
        Ok(Meter { pids, clocks, switches })
    }

    /// Returns the process IDs.
    pub fn pids(&self) -> &[i32] {
        &self.pids
    }

    /// Returns the processor time so far in seconds, including threads that have ended. Cheap.
    pub fn processor(&self) -> f64 {
        let times = self.clocks.iter().filter_map(|clock| clock.now().ok());
        times.map(|time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9).sum()
    }

    /// Returns the usage since the processor time was `processor` seconds. To be called after the load, while
    /// its connections are still open.
    pub fn read(&self, processor: f64) -> Usage {
        Usage {
            processor: self.processor() - processor,
            switches: switches(&self.pids).saturating_sub(self.switches),
            memory_kib: self.processes().filter_map(memory).sum::<u64>() / 1024,
            threads: self
                .processes()
                .filter_map(|process| Some(process.stat().ok()?.num_threads.unsigned_abs()))
                .sum(),
            calls: None,
        }
    }

    /// Ends the program and returns its context switches since [`Meter::new`]. Unlike [`Meter::read`] this
    /// includes threads that ended during the load, and the program's shutdown.
    ///
    /// # Errors
    /// Returns an error if the kernel does not report the usage of children.
    pub fn switches_to_the_end(&self, mut program: Program) -> Result<u64> {
        // No other child is reaped between the two readings.
        let before = switches_of_reaped_children()?;
        program.end();
        Ok((switches_of_reaped_children()? - before).saturating_sub(self.switches))
    }

    fn processes(&self) -> impl Iterator<Item = Process> {
        self.pids.iter().filter_map(|pid| Process::new(*pid).ok())
    }
}

/// Returns the proportional set size (PSS) in bytes: shared pages are divided among the processes.
fn memory(process: Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.iter().find_map(|map| map.extension.map.get("Pss").copied())
}

/// Returns the context switches so far of threads that still exist.
fn switches(pids: &[i32]) -> u64 {
    let processes = pids.iter().filter_map(|pid| Process::new(*pid).ok());
    let tasks = processes.filter_map(|process| process.tasks().ok()).flatten().flatten();
    let switches = tasks.filter_map(|task| task.status().ok()).map(|status| {
        status.voluntary_ctxt_switches.unwrap_or_default()
            + status.nonvoluntary_ctxt_switches.unwrap_or_default()
    });
    switches.sum()
}

/// Returns the context switches of all children that have been reaped.
fn switches_of_reaped_children() -> Result<u64> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel does not report the usage of children")?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()).unsigned_abs())
}

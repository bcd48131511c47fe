//! What a program takes, from the kernel's accounts.

use crate::program::Program;
use crate::results::Usage;
use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::Process;

/// A program that is measured: its processes, and how often they had been switched when it was looked at
/// first.
///
/// They are looked for once. That opens a file for each thread, as counting switches does: done while the load
/// is on, it would hold up the load in proportion to the threads of whoever is measured.
pub struct Meter {
    pids: Vec<i32>,
    clocks: Vec<ClockId>,
    switches: u64,
}

impl Meter {
    /// Looks at a program before the load begins.
    ///
    /// # Errors
    /// When it has ended.
    pub fn new(program: &Program) -> Result<Meter> {
        let pid = program.pid();
        let tasks = Process::new(pid)?.tasks()?.flatten();
        let children = tasks.filter_map(|task| task.children().ok()).flatten().map(u32::cast_signed);
        let pids: Vec<_> = [pid].into_iter().chain(children).collect();
        let clock = |pid: &i32| ClockId::pid_cpu_clock_id(Pid::from_raw(*pid));
        let clocks = pids.iter().map(clock).collect::<Result<_, _>>().context("its time cannot be read")?;
        let switches = switches(&pids);
        Ok(Meter { pids, clocks, switches })
    }

    /// Its processes.
    pub fn pids(&self) -> &[i32] {
        &self.pids
    }

    /// Processor seconds so far, of threads that have ended, too. Costs next to nothing.
    pub fn processor(&self) -> f64 {
        let times = self.clocks.iter().filter_map(|clock| clock.now().ok());
        times.map(|time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9).sum()
    }

    /// What it has taken since `processor`. To be asked when the load is over, and while its connections are
    /// still open.
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

    /// How often it was switched since it was looked at first, when it has ended. Unlike [`Meter::read`] this
    /// knows of threads that ended under the load, and it counts its end, too.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn switches_to_the_end(&self, mut program: Program) -> Result<u64> {
        // Nobody else is waited for meanwhile.
        let before = switches_of_the_ended()?;
        program.end();
        Ok((switches_of_the_ended()? - before).saturating_sub(self.switches))
    }

    fn processes(&self) -> impl Iterator<Item = Process> {
        self.pids.iter().filter_map(|pid| Process::new(*pid).ok())
    }
}

/// Memory in bytes. What several processes share is shared out between them.
fn memory(process: Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.iter().find_map(|map| map.extension.map.get("Pss").copied())
}

/// Context switches so far, of threads that still are.
fn switches(pids: &[i32]) -> u64 {
    let processes = pids.iter().filter_map(|pid| Process::new(*pid).ok());
    let tasks = processes.filter_map(|process| process.tasks().ok()).flatten().flatten();
    let switches = tasks.filter_map(|task| task.status().ok()).map(|status| {
        status.voluntary_ctxt_switches.unwrap_or_default()
            + status.nonvoluntary_ctxt_switches.unwrap_or_default()
    });
    switches.sum()
}

/// Context switches of all children that have ended and been waited for.
fn switches_of_the_ended() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel does not say what children used")?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()).unsigned_abs())
}

//! What a program takes: read from /proc while it runs, and from the kernel's sums when it has ended.

use crate::program::Program;
use crate::results::Usage;
use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use procfs::process::{Process, Stat};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// How often memory and threads are looked at.
const GLANCE: Duration = Duration::from_millis(400);

/// The processes that a process has started.
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = Process::new(pid).and_then(|process| process.tasks()).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.children().ok()).flatten().map(u32::cast_signed).collect()
}

fn family(pid: i32) -> impl Iterator<Item = Process> {
    [pid].into_iter().chain(children(pid)).filter_map(|pid| Process::new(pid).ok())
}

fn stats(pid: i32) -> impl Iterator<Item = Stat> {
    family(pid).filter_map(|process| process.stat().ok())
}

/// Processor seconds so far, of threads that have ended, too.
pub fn processor(pid: i32) -> f64 {
    let ticks: u64 = stats(pid).map(|stat| stat.utime + stat.stime).sum();
    ticks as f64 / procfs::ticks_per_second() as f64
}

fn threads(pid: i32) -> u64 {
    stats(pid).map(|stat| stat.num_threads.unsigned_abs()).sum()
}

/// Memory in KiB. What several processes share is shared out between them.
fn memory(pid: i32) -> u64 {
    let pss = |process: Process| {
        let rollup = process.smaps_rollup().ok()?;
        rollup.memory_map_rollup.iter().find_map(|map| map.extension.map.get("Pss").copied())
    };
    family(pid).filter_map(pss).sum::<u64>() / 1024
}

/// Context switches so far, of threads that still are.
fn switches(pid: i32) -> u64 {
    let tasks = family(pid).filter_map(|process| process.tasks().ok()).flatten().flatten();
    tasks
        .filter_map(|task| task.status().ok())
        .map(|status| {
            status.voluntary_ctxt_switches.unwrap_or_default()
                + status.nonvoluntary_ctxt_switches.unwrap_or_default()
        })
        .sum()
}

/// Context switches of all children that have ended and been waited for.
fn switches_of_the_ended() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel does not say what children used")?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()).unsigned_abs())
}

/// The most memory and threads that a program had while it was watched.
#[derive(Default)]
struct Most {
    memory: AtomicU64,
    threads: AtomicU64,
    over: AtomicBool,
}

/// Watches a program while `work` is done. `work` is given a function that says how much processor time it has
/// taken so far.
///
/// # Errors
/// Whatever `work` says.
pub fn watched<T>(mut program: Program, work: impl FnOnce(i32) -> Result<(T, f64)>) -> Result<(T, Usage)> {
    let (pid, most) = (program.pid(), Most::default());
    let before = switches(pid);
    let (outcome, processor) = thread::scope(|scope| {
        let watcher: ScopedJoinHandle<'_, ()> = scope.spawn(|| {
            while !most.over.load(Relaxed) {
                most.memory.fetch_max(memory(pid), Relaxed);
                most.threads.fetch_max(threads(pid), Relaxed);
                thread::park_timeout(GLANCE);
            }
        });
        let outcome = work(pid);
        most.over.store(true, Relaxed);
        watcher.thread().unpark();
        outcome
    })?;
    // Threads that have ended are in the sums of the ended only. Nobody else is waited for meanwhile.
    let ended_before = switches_of_the_ended()?;
    program.end();
    let switches = (switches_of_the_ended()? - ended_before).saturating_sub(before);
    let usage = Usage {
        processor,
        switches,
        memory_kib: most.memory.into_inner(),
        threads: most.threads.into_inner(),
        calls: None,
    };
    Ok((outcome, usage))
}

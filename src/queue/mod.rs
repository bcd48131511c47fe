//! Step 2: the bounded queue between the edges and the workers, and which worker wakes.
//!
//! The queue is a bounded crossbeam channel. An edge offers each request through a [`JobSender`]; where the
//! queue is full, the client gets 503 at once. A worker takes requests through its own [`JobReceiver`].
//!
//! **Few workers stay hot.** Slow backends need many workers, because each one blocks. Fast backends need
//! few: each further worker that takes part costs a wake-up, a cold stack and a cold connection. So the first
//! workers, four for each processor, always wait at the channel: the *core*. The others are a *reserve* that
//! sleeps until the [`QueueMonitor`] wakes one: when requests wait and none has been taken for a while, every
//! core worker must be blocked on a slow backend. A reserve worker stays active while its requests are slow
//! and more of them wait.

pub mod monitor;
pub mod options;
pub mod receiver;
pub mod sender;
pub mod state;

use crate::observe::recorder::Recorder;
use crate::queue::monitor::QueueMonitor;
use crate::queue::options::QueueOptions;
use crate::queue::receiver::JobReceiver;
use crate::queue::sender::JobSender;
use crate::queue::state::QueueState;
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::thread;

/// Core workers for each processor, measured on two processors with 64 workers.
const CORE_PER_PROCESSOR: usize = 4;

/// Opens a queue with one receiver for each worker, and the monitor that has to run beside them.
pub fn open(
    workers: usize,
    options: QueueOptions,
    recorder: Arc<Recorder>,
) -> (JobSender, Vec<JobReceiver>, QueueMonitor) {
    let (jobs, waiting) = bounded(options.capacity);
    let (monitor_wake_up, woken) = bounded(1);
    let (reserve_wake_up, reserve) = bounded(0);
    let (open, closed) = bounded(0);
    let state = Arc::new(QueueState::new(options, monitor_wake_up));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let core = workers.min(CORE_PER_PROCESSOR * processors);
    let receivers = (0..workers)
        .map(|number| {
            JobReceiver::new(waiting.clone(), Arc::clone(&state), (number >= core).then(|| reserve.clone()))
        })
        .collect();
    let monitor = QueueMonitor {
        waiting,
        state: Arc::clone(&state),
        recorder: Arc::clone(&recorder),
        woken,
        closed,
        reserve_wake_up,
        keep_open: Some(jobs.clone()),
    };
    (JobSender::new(jobs, state, recorder, open), receivers, monitor)
}

#[cfg(test)]
mod tests;

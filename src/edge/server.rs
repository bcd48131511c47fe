//! A server at work: edges, the queue behind them, and the threads that take requests from it.
//!
//! The balancer, the admin listener and the demo's backends each run one. It starts its parts in the order in which
//! they need each other, and stops the edges before it joins the threads behind them, so that no part can be forgotten.

use crate::edge::lifecycle::{Counter, Edge, RunningEdge};
use crate::error::StartError;
use crate::observe::recorder::Recorder;
use crate::queue;
use crate::queue::options::QueueOptions;
use crate::queue::receiver::JobReceiver;
use crate::queue::sender::CongestionSignal;
use crate::sys::threads::ThreadGroup;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The interval at which a stopping server checks whether the last reply has been sent.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Edges that accept requests, and the threads that serve them.
pub struct Server {
    edges: Vec<Box<dyn RunningEdge>>,
    threads: ThreadGroup,
    congestion: CongestionSignal,
}

impl Server {
    /// Opens a queue, starts one thread for each worker, called `name-0` and so on, and the queue's monitor, and then
    /// the edges.
    ///
    /// # Errors
    /// When a thread or an edge cannot be started. The parts that were started are stopped again.
    pub fn start<W: FnOnce(JobReceiver) + Send + 'static>(
        name: &str,
        edges: Vec<Box<dyn Edge>>,
        options: QueueOptions,
        recorder: Arc<Recorder>,
        workers: Vec<W>,
    ) -> Result<Self, StartError> {
        let (jobs, receivers, monitor) = queue::open(workers.len(), options, recorder);
        let threads = ThreadGroup::default();
        for (number, (worker, receiver)) in workers.into_iter().zip(receivers).enumerate() {
            threads.start(format!("{name}-{number}"), move || worker(receiver))?;
        }
        threads.start("queue-monitor", move || monitor.run())?;
        let mut server = Server { edges: Vec::new(), threads, congestion: jobs.congestion() };
        for edge in edges {
            match edge.start(jobs.clone()) {
                Ok(running) => server.edges.push(running),
                Err(error) => {
                    server.stop_accepting();
                    server.end_edges(Instant::now());
                    return Err(error);
                }
            }
        }
        Ok(server)
    }

    /// Returns a view of the queue's length and congestion.
    pub fn congestion(&self) -> CongestionSignal {
        self.congestion.clone()
    }

    /// Returns a function that counts the open connections, or `None` if no edge can count them.
    pub fn connections(&self) -> Option<Counter> {
        self.edges.iter().find_map(|edge| edge.connections())
    }

    /// Makes replies say `Connection: close` from now on.
    pub fn announce_stop(&self) {
        self.edges.iter().for_each(|edge| edge.announce_stop());
    }

    /// Stops accepting connections. Requests on open connections are still served.
    pub fn stop_accepting(&mut self) {
        self.edges.iter_mut().for_each(|edge| edge.stop_accepting());
    }

    /// Waits until the server has been idle for the time `settled`. Returns false if the deadline passes first.
    pub fn wait_until_idle(&self, settled: Duration, deadline: Instant) -> bool {
        let mut idle_since = None;
        loop {
            if !self.edges.iter().all(|edge| edge.is_idle()) {
                idle_since = None;
            } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= settled {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(IDLE_CHECK_INTERVAL);
        }
    }

    /// Ends the edges, and so closes the queue. Returns how many of their threads had not ended at the deadline.
    pub fn end_edges(&mut self, deadline: Instant) -> usize {
        self.edges.drain(..).map(|edge| edge.finish(deadline)).sum()
    }

    /// Joins the workers and the queue's monitor, which end once the queue is closed and empty. Returns how many had
    /// not ended at the deadline.
    pub fn join(self, deadline: Instant) -> usize {
        self.threads.join(deadline)
    }

    /// Stops accepting, finishes the requests in flight until `idle_by` at most, and ends all threads. Returns how many
    /// had not ended at the deadline.
    pub fn stop(mut self, idle_by: Instant, deadline: Instant) -> usize {
        self.stop_accepting();
        self.wait_until_idle(Duration::ZERO, idle_by);
        self.end_edges(deadline) + self.join(deadline)
    }
}

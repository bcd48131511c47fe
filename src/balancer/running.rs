//! A balancer at work: its threads, and the order in which they start and end.

use crate::admin::control::DemoControls;
use crate::admin::listener::{Admin, RunningAdmin};
use crate::admin::overview::Overview;
use crate::balancer::config::Config;
use crate::cluster::health::prober::Prober;
use crate::cluster::membership::Membership;
use crate::edge::lifecycle::Edge;
use crate::edge::server::Server;
use crate::error::StartError;
use crate::forward::agent::AgentHandle;
use crate::forward::forwarder::Forwarder;
use crate::observe::access_log::writer::AccessLog;
use crate::observe::metrics::history::History;
use crate::observe::metrics::registry::Metrics;
use crate::observe::recorder::Recorder;
use crate::queue::receiver::JobReceiver;
use crate::sys::threads::ThreadGroup;
use crate::worker::{Worker, WorkerContext};
use crossbeam_channel::{Sender, bounded};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// When no request has been under way for this long, the last one has been served: a request that a client sent just
/// before it read `Connection: close` arrives within it.
const SETTLED: Duration = Duration::from_millis(100);

/// How long threads may take to end once their connections have been cut off.
const CUT_OFF: Duration = Duration::from_millis(500);

/// What a balancer is made of before it serves.
pub struct Parts {
    /// How it is configured; what has gone into the other parts is taken out.
    pub config: Config,
    /// The edges, with their addresses.
    pub edges: Vec<Box<dyn Edge>>,
    /// The admin listener, with its address.
    pub admin: Option<Admin>,
    /// The backends.
    pub members: Arc<Membership>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the admin listener can change in a demo.
    pub demo_controls: Option<Arc<dyn DemoControls>>,
}

/// A balancer at work.
pub struct RunningBalancer {
    server: Server,
    /// The admin listener, and what keeps its history going.
    admin: Option<(RunningAdmin, Sender<()>)>,
    members: Arc<Membership>,
    demo_controls: Option<Arc<dyn DemoControls>>,
    forwarders: Vec<AgentHandle>,
    threads: ThreadGroup,
    checks: Arc<ThreadGroup>,
}

impl RunningBalancer {
    /// Starts all threads.
    ///
    /// # Errors
    /// When a thread cannot be started. The threads started so far are stopped.
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let members = Arc::clone(&parts.members);
        RunningBalancer::start_threads(parts).inspect_err(|_| members.close())
    }

    fn start_threads(parts: Parts) -> Result<Self, StartError> {
        let Parts { mut config, edges, admin, members, metrics, demo_controls } = parts;
        let threads = ThreadGroup::default();
        let log = match config.access_log.take() {
            Some((format, sink)) => AccessLog::to(format, sink, &threads)?,
            None => AccessLog::off(),
        };
        let recorder = Recorder::new(log, Arc::clone(&metrics), config.workers);
        let recorder = Arc::new(if admin.is_some() { recorder.with_recent() } else { recorder });
        let listen = edges.iter().flat_map(|edge| edge.local_addrs()).collect();
        let checks = Arc::new(ThreadGroup::default());
        let prober = Prober::new(Arc::clone(&members), Arc::clone(&checks));
        threads.start("health", move || prober.run())?;
        let (workers, forwarders) = workers(&config, &members, &recorder);
        let server = Server::start("worker", edges, config.queue, Arc::clone(&recorder), workers)?;
        members.set_serving(true);
        let mut running =
            RunningBalancer { server, admin: None, members, demo_controls, forwarders, threads, checks };
        if let Some(admin) = admin {
            let began = Instant::now();
            let overview = Overview {
                began,
                metrics,
                history: History::new(began),
                recorder,
                workers: config.workers,
                congestion: running.server.congestion(),
                queue_capacity: config.queue.capacity,
                edge: config.edge_kind,
                listen,
                demo: running.demo_controls.is_some(),
                connections: running.server.connections(),
                members: Arc::clone(&running.members),
            };
            if let Err(error) = running.start_admin(admin, overview) {
                let now = Instant::now();
                running.server.stop(now, now);
                return Err(error);
            }
        }
        Ok(running)
    }

    /// Starts the admin listener, and the thread that keeps the history that it shows.
    fn start_admin(&mut self, admin: Admin, overview: Overview) -> Result<(), StartError> {
        let (overview, (open, closed)) = (Arc::new(overview), bounded(0));
        let historian = Arc::clone(&overview);
        self.threads.start("history", move || historian.keep_history(&closed))?;
        let running = admin.start(Arc::clone(&self.members) as _, overview, self.demo_controls.clone())?;
        self.admin = Some((running, open));
        Ok(())
    }

    /// Logs the reason for the stop, stops accepting after the delay, finishes what is queued and under way until the deadline at most, and ends
    /// the threads.
    pub fn drain(mut self, reason: Option<&str>, delay: Duration, deadline: Instant) {
        self.members.set_serving(false);
        self.server.announce_stop();
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        tracing::info!("stopping{reason}: finishing the requests under way");
        if let Some(demo_controls) = &self.demo_controls {
            demo_controls.clear(); // first, so that no further requests come
        }
        thread::sleep(delay);
        self.server.stop_accepting();
        if !self.server.wait_until_idle(SETTLED, deadline) {
            tracing::warn!("the grace period is over: requests still under way are cut off");
            self.forwarders.iter().for_each(AgentHandle::shutdown);
        }
        let deadline = Instant::now() + CUT_OFF;
        self.members.close();
        let mut left = self.server.end_edges(deadline);
        left += self.admin.take().map_or(0, |(admin, _)| admin.finish(deadline));
        left += self.server.join(deadline);
        left += self.threads.join(deadline);
        if left > 0 {
            tracing::warn!(threads = left, "some threads still wait for a client and are left behind");
        }
        // A check that waits for its connection ends by itself, and its result is not used.
        self.checks.join(deadline);
        tracing::info!("stopped");
    }
}

/// Returns the workers, each with the function that its thread runs, and what ends their calls to backends.
fn workers(
    config: &Config,
    members: &Membership,
    recorder: &Arc<Recorder>,
) -> (Vec<impl FnOnce(JobReceiver) + Send + 'static>, Vec<AgentHandle>) {
    let (recorder, queue_timeout) = (Arc::clone(recorder), config.queue.timeout);
    let context = Arc::new(WorkerContext { recorder, queue_timeout });
    let worker = |number| {
        let mut snapshot = members.snapshot().reader();
        let forwarder = Forwarder::new(&snapshot.get().forward, config.edge.limits.head);
        let handle = forwarder.handle();
        let worker = Worker::new(number, Arc::clone(&context), snapshot, forwarder);
        (move |jobs: JobReceiver| worker.run(jobs), handle)
    };
    (0..config.workers).map(worker).unzip()
}

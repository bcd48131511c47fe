//! Builds everything, starts the threads, and ends them in the right order.

pub mod config;

use crate::admin::{Admin, DemoControls, Overview, RunningAdmin};
use crate::balancer::config::Config;
use crate::cluster::health::prober::Prober;
use crate::cluster::membership::Membership;
use crate::cluster::names::{Lookup, System};
use crate::edge;
use crate::edge::lifecycle::{Edge, RunningEdge};
use crate::error::StartError;
use crate::forward::{self, Forwarder};
use crate::observe::Recorder;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::{History, Metrics};
use crate::queue::{self, CongestionSignal};
use crate::sys::shutdown::Stop;
use crate::sys::threads::ThreadGroup;
use crate::worker::{self, Worker};
use crossbeam_channel::{Sender, bounded};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How often a balancer that is stopping looks whether the last reply is out.
const GLANCE: Duration = Duration::from_millis(5);

/// No request for so long, and none under way: the last one has been served. A request that a client
/// sent just before it read `Connection: close` arrives within it.
const QUIET: Duration = Duration::from_millis(100);

/// How long threads may take to end once they have been cut off.
const CUT_OFF: Duration = Duration::from_millis(500);

/// A balancer that has its addresses, and is not serving yet.
pub struct Balancer {
    config: Config,
    edges: Vec<Box<dyn Edge>>,
    admin: Option<Admin>,
    members: Arc<Membership>,
    metrics: Arc<Metrics>,
    demo_controls: Option<Arc<dyn DemoControls>>,
}

impl Balancer {
    /// Resolves the backends and binds the addresses. Nothing is left half-started if that fails.
    ///
    /// # Errors
    /// When a backend has no address, or an address cannot be bound.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Balancer::with_lookup(config, Arc::new(System))
    }

    /// The same, with names looked up in another way than the system's.
    ///
    /// # Errors
    /// When a backend has no address, or an address cannot be bound.
    pub fn with_lookup(mut config: Config, lookup: Arc<dyn Lookup>) -> Result<Self, StartError> {
        let upstream = std::mem::take(&mut config.upstream);
        let metrics = Arc::new(Metrics::new()?);
        let of_backends = Arc::clone(&metrics);
        let counters = Box::new(move |backend: &str| of_backends.counters(backend));
        let members = Membership::new(upstream, config.workers, lookup, config.reread.take(), counters)?;
        let waiting = (config.workers / 2).max(1); // workers that may wait for slow clients
        let edges = edge::bind(config.edge_kind, &config.listen, &config.edge, waiting)?;
        let admin = config.admin.take().map(Admin::bind).transpose()?;
        Ok(Balancer { config, edges, admin, members: Arc::new(members), metrics, demo_controls: None })
    }

    /// The same with demo_controls: the admin listener hands them to whoever asks, and they are cleared away before the
    /// balancer stops. Only the demo has any.
    #[must_use]
    pub fn with_demo_controls(self, demo_controls: Arc<dyn DemoControls>) -> Self {
        Balancer { demo_controls: Some(demo_controls), ..self }
    }

    /// The addresses that were bound, in the order of the configuration.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.edges.iter().flat_map(|edge| edge.local_addrs()).collect()
    }

    /// The first address that was bound.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().first().copied()
    }

    /// The admin listener's address, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::local_addr)
    }

    /// Serves until the signal to stop, then finishes what is under way and returns.
    ///
    /// # Errors
    /// When a thread cannot be started; those that had been are ended again.
    pub fn run(self, stop: &Stop) -> Result<(), StartError> {
        let (grace, drain_delay) = (self.config.grace, self.config.drain_delay);
        let serving = self.start()?;
        tracing::info!("ready");
        stop.wait();
        serving.drain(drain_delay, Instant::now() + drain_delay + grace);
        Ok(())
    }

    fn start(self) -> Result<Serving, StartError> {
        let listen = self.local_addrs();
        let Balancer { mut config, edges, admin, members, metrics, demo_controls } = self;
        let threads = ThreadGroup::default();
        let log = match config.access_log.take() {
            Some((format, sink)) => AccessLog::to(format, sink, &threads)?,
            None => AccessLog::off(),
        };
        let recorder = Recorder::new(log, Arc::clone(&metrics), config.workers);
        let recorder = Arc::new(if admin.is_some() { recorder.watched() } else { recorder });
        let (jobs, receivers, monitor) = queue::open(config.workers, config.queue, Arc::clone(&recorder));
        let queue_timeout = config.queue.timeout;
        let shared = Arc::new(worker::Shared { recorder: Arc::clone(&recorder), queue_timeout });
        let mut agents = Vec::with_capacity(receivers.len());
        for (number, receiver) in receivers.into_iter().enumerate() {
            let mut snapshot = members.snapshot().reader();
            let forwarder = Forwarder::new(&snapshot.get().forward, config.edge.limits.head);
            agents.push(forwarder.handle());
            let worker = Worker::new(number, Arc::clone(&shared), snapshot, forwarder);
            threads.start(format!("worker-{number}"), move || worker.run(receiver))?;
        }
        threads.start("queue-monitor", move || monitor.run())?;
        let checks = Arc::new(ThreadGroup::default());
        let prober = Prober::new(Arc::clone(&members), Arc::clone(&checks));
        threads.start("health", move || prober.run())?;
        let mut serving =
            Serving { edges: Vec::new(), admin: None, members, demo_controls, agents, threads, checks };
        for edge in edges {
            serving.edges.push(edge.start(jobs.clone())?);
        }
        serving.members.set_serving(true);
        if let Some(admin) = admin {
            let overview = serving.overview(&config, listen, metrics, recorder, jobs.congestion());
            serving.start_admin(admin, overview)?;
        }
        Ok(serving)
    }
}

/// A balancer at work.
struct Serving {
    edges: Vec<Box<dyn RunningEdge>>,
    /// The listener, and what keeps its history going.
    admin: Option<(RunningAdmin, Sender<()>)>,
    members: Arc<Membership>,
    demo_controls: Option<Arc<dyn DemoControls>>,
    agents: Vec<forward::AgentHandle>,
    threads: ThreadGroup,
    checks: Arc<ThreadGroup>,
}

impl Serving {
    /// What there is to be seen of it.
    fn overview(
        &self,
        config: &Config,
        listen: Vec<SocketAddr>,
        metrics: Arc<Metrics>,
        recorder: Arc<Recorder>,
        congestion: CongestionSignal,
    ) -> Overview {
        let began = Instant::now();
        Overview {
            began,
            metrics,
            history: History::new(began),
            recorder,
            workers: config.workers,
            congestion,
            queue_capacity: config.queue.capacity,
            edge: config.edge_kind,
            listen,
            demo: self.demo_controls.is_some(),
            connections: self.edges.iter().find_map(|edge| edge.connections()),
            members: Arc::clone(&self.members),
        }
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

    /// Stops accepting after the delay, finishes what is queued and under way until the deadline at
    /// most, and ends the threads.
    fn drain(mut self, delay: Duration, deadline: Instant) {
        self.members.set_serving(false);
        self.edges.iter().for_each(|edge| edge.announce_stop());
        tracing::info!("stopping: finishing the requests under way");
        if let Some(demo_controls) = &self.demo_controls {
            demo_controls.clear(); // first: then there is an end to the requests
        }
        thread::sleep(delay);
        self.edges.iter_mut().for_each(|edge| edge.stop_accepting());
        let drained = self.wait_until_quiet(deadline);
        if !drained {
            tracing::warn!("grace is over: requests still under way are cut off");
            self.agents.iter().for_each(forward::AgentHandle::shutdown);
        }
        let deadline = Instant::now() + CUT_OFF;
        self.members.close();
        let mut left: usize = self.edges.drain(..).map(|edge| edge.finish(deadline)).sum();
        left += self.admin.take().map_or(0, |(admin, _)| admin.finish(deadline));
        left += self.threads.join(deadline);
        if left > 0 {
            tracing::warn!(threads = left, "threads that wait for a client are left behind");
        }
        // A check that waits for its connection ends by itself, and nobody hears what it says.
        self.checks.join(deadline);
        tracing::info!("stopped");
    }

    /// False if the deadline came first.
    fn wait_until_quiet(&self, deadline: Instant) -> bool {
        let mut quiet_since = None;
        while Instant::now() < deadline {
            if !self.edges.iter().all(|edge| edge.is_idle()) {
                quiet_since = None;
            } else if quiet_since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
                return true;
            }
            thread::sleep(GLANCE);
        }
        false
    }
}

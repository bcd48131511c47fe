//! Step 1b: the edge for real traffic.
//!
//! A connection that waits for its client needs no thread: it is *parked* in a `slab`, and one
//! thread, the `poller`, waits for all of them. It reads what has come, and only a whole, valid head
//! (with its body, if that is small) becomes an [`Exchange`](super::Exchange). A worker then does what
//! may block, and parks the connection again. So idle clients cost some hundred bytes each, slow ones
//! hold no worker, and however many there are, the number of threads is fixed.
//!
//! Read `acceptor` (accepting), `poller` (waiting), `connection` with [`parser`] and [`body`] (what the
//! bytes mean), `client_stream` (the worker's side) with `slow_client` (how long it waits).

mod acceptor;
pub mod body;
mod buffer_budget;
mod client_stream;
mod connection;
pub mod parser;
mod per_address;
mod poller;
mod semaphore;
mod slab;
mod slow_client;

use super::EdgeOptions;
use super::lifecycle::{Counter, Edge, RunningEdge};
use super::socket::{self, Inherited};
use crate::error::StartError;
use crate::queue::{CongestionSignal, JobSender};
use crate::sys::threads::ThreadGroup;
use acceptor::Acceptor;
use buffer_budget::BufferBudget;
use crossbeam_channel::{Sender, bounded};
use mio::Poll;
use per_address::PerAddressLimit;
use poller::Poller;
use semaphore::Semaphore;
use slab::ConnectionSlab;
use slow_client::{SlowClientPolicy, WAKE_INTERVAL};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Connections beyond the limit that can be told so at a time.
const TURNED_AWAY: usize = 64;

/// The edge's listeners, not yet serving.
pub struct ParkedEdge {
    listeners: Vec<(TcpListener, SocketAddr)>,
    options: EdgeOptions,
    permits: usize,
}

impl ParkedEdge {
    /// Binds all addresses: they share one poller and one set of limits. So many workers may wait for
    /// slow clients at a time.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(addresses: &[SocketAddr], options: &EdgeOptions, permits: usize) -> Result<Self, StartError> {
        let inherited = Inherited { read: None, write: WAKE_INTERVAL };
        let bind = |address: &SocketAddr| {
            let failed = |cause| StartError::Bind { address: *address, cause };
            let listener = socket::listen(*address, inherited).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            Ok((listener, local))
        };
        let listeners = addresses.iter().map(bind).collect::<Result<_, StartError>>()?;
        Ok(ParkedEdge { listeners, options: *options, permits })
    }

    fn shared(&self, slab: ConnectionSlab, congestion: CongestionSignal) -> EdgeState {
        let EdgeOptions { client_body_timeout, client_write_timeout, min_body_rate: rate, .. } = self.options;
        EdgeState {
            options: self.options,
            slab,
            connections: Semaphore::of(self.options.max_connections),
            refusals: Semaphore::of(TURNED_AWAY),
            buffer_budget: BufferBudget::new(),
            permits: Semaphore::of(self.permits),
            congestion,
            upload_policy: SlowClientPolicy { pause: client_body_timeout, rate },
            reply_policy: SlowClientPolicy { pause: client_write_timeout, rate },
            ended: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }

    /// A quarter of the shortest time that is watched.
    fn tick(&self) -> Duration {
        let EdgeOptions { client_head_timeout, client_body_timeout, idle_timeout, .. } = self.options;
        let shortest = client_head_timeout.min(client_body_timeout).min(idle_timeout);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_millis(250))
    }
}

impl Edge for ParkedEdge {
    fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, local)| *local).collect()
    }

    fn start(self: Box<Self>, jobs: JobSender) -> Result<Box<dyn RunningEdge>, StartError> {
        let address = self.listeners.first().map_or(crate::balancer::config::LISTEN, |(_, local)| *local);
        let failed = |cause: io::Error| StartError::Bind { address, cause };
        let poll = Poll::new().map_err(failed)?;
        let places = self.options.max_connections + TURNED_AWAY;
        let (slab, wake_ups) = ConnectionSlab::new(places, poll.registry()).map_err(failed)?;
        let shared = Arc::new(self.shared(slab, jobs.congestion()));
        let tick = self.tick();
        let (stop, stopped) = bounded(0);
        let most = self.options.max_connections_per_client;
        let clients = (most > 0).then(|| PerAddressLimit::with_at_most(most));
        let mut serving = RunningParkedEdge {
            shared,
            listeners: Vec::new(),
            stop: Some(stop),
            threads: ThreadGroup::default(),
        };
        for (listener, _) in self.listeners {
            let listener = Arc::new(listener);
            let keeper = Acceptor {
                listener: Arc::clone(&listener),
                shared: Arc::clone(&serving.shared),
                clients: clients.clone(),
                jobs: jobs.clone(),
                stop: stopped.clone(),
            };
            serving.listeners.push(listener);
            serving.threads.start("acceptor", move || keeper.run())?;
        }
        let poller = Poller { poll, wake_ups, jobs, shared: Arc::clone(&serving.shared), tick };
        serving.threads.start("poller", move || poller.run())?;
        Ok(Box::new(serving))
    }
}

/// What the edge's threads and its connections share.
struct EdgeState {
    options: EdgeOptions,
    slab: ConnectionSlab,
    /// Connections that may still be opened.
    connections: Semaphore,
    /// Connections beyond those that may still be told so.
    refusals: Semaphore,
    /// Bytes that may still be gathered.
    buffer_budget: BufferBudget,
    /// Workers that may still wait for a client.
    permits: Semaphore,
    /// Whether requests have to wait for one.
    congestion: CongestionSignal,
    upload_policy: SlowClientPolicy,
    reply_policy: SlowClientPolicy,
    /// PerAddressLimit that were cut off because others were being wait for.
    ended: AtomicUsize,
    /// Requests whose head has come and whose reply is not out.
    under_way: AtomicUsize,
    /// Replies say that they are the last.
    stopping: AtomicBool,
    /// Nothing more is accepted, and idle connections are closed.
    draining: AtomicBool,
    /// The end: nobody waits for anything.
    finished: AtomicBool,
}

/// The edge at work.
struct RunningParkedEdge {
    shared: Arc<EdgeState>,
    listeners: Vec<Arc<TcpListener>>,
    stop: Option<Sender<()>>,
    threads: ThreadGroup,
}

impl RunningEdge for RunningParkedEdge {
    fn announce_stop(&self) {
        self.shared.stopping.store(true, SeqCst);
    }

    fn stop_accepting(&mut self) {
        self.announce_stop();
        self.shared.draining.store(true, SeqCst);
        self.stop = None;
        self.listeners.iter().for_each(|listener| socket::stop_listening(listener));
        self.shared.slab.wake();
    }

    fn connections(&self) -> Option<Counter> {
        let (most, free) = (self.shared.options.max_connections, self.shared.connections.clone());
        Some(Box::new(move || most - free.left()))
    }

    fn is_idle(&self) -> bool {
        self.shared.under_way.load(SeqCst) == 0
    }

    fn finish(mut self: Box<Self>, deadline: Instant) -> usize {
        self.end();
        self.threads.join(deadline)
    }
}

impl RunningParkedEdge {
    fn end(&mut self) {
        self.stop_accepting();
        self.shared.finished.store(true, SeqCst);
        self.shared.slab.wake();
    }
}

impl Drop for RunningParkedEdge {
    /// Ends one that was never quite started, too.
    fn drop(&mut self) {
        self.end();
    }
}

//! The lifecycle of the parked edge: bound, started, stopped.

use crate::edge::lifecycle::{Counter, Edge, RunningEdge};
use crate::edge::options::EdgeOptions;
use crate::edge::parked::acceptor::Acceptor;
use crate::edge::parked::connection::Connections;
use crate::edge::parked::per_address::PerAddressLimit;
use crate::edge::parked::poller::Poller;
use crate::edge::parked::slow_client::WAKE_INTERVAL;
use crate::edge::parked::state::{ParkedState, REFUSED_CONNECTIONS};
use crate::edge::socket::{self, InheritedTimeouts};
use crate::error::StartError;
use crate::queue::sender::JobSender;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Poll;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// The edge's listeners, not serving yet.
pub struct ParkedEdge {
    listeners: Vec<(TcpListener, SocketAddr)>,
    options: EdgeOptions,
    slow_client_permits: usize,
}

impl ParkedEdge {
    /// Binds all addresses: they share one poller and one set of limits. At most `slow_client_permits`
    /// workers wait for slow clients at a time.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        options: &EdgeOptions,
        slow_client_permits: usize,
    ) -> Result<Self, StartError> {
        let inherited = InheritedTimeouts { read: None, write: WAKE_INTERVAL };
        let bind = |address: &SocketAddr| {
            let failed = |cause| StartError::Bind { address: *address, cause };
            let listener = socket::listen(*address, inherited).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            Ok((listener, local))
        };
        let listeners = addresses.iter().map(bind).collect::<Result<_, StartError>>()?;
        Ok(ParkedEdge { listeners, options: *options, slow_client_permits })
    }

    /// Returns how often deadlines are checked: a quarter of the shortest timeout, within bounds.
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
        let address = self.listeners.first().map_or(SocketAddr::from(([0; 4], 0)), |(_, local)| *local);
        let failed = |cause: io::Error| StartError::Bind { address, cause };
        let poll = Poll::new().map_err(failed)?;
        let slots = self.options.max_connections + REFUSED_CONNECTIONS;
        let (slab, wake_ups) = Connections::new(slots, poll.registry()).map_err(failed)?;
        let state = Arc::new(ParkedState::new(self.options, self.slow_client_permits, jobs.congestion()));
        let slab = Arc::new(slab);
        let tick = self.tick();
        let (stop, stopped) = bounded(0);
        let mut running = RunningParkedEdge {
            state: Arc::clone(&state),
            slab: Arc::clone(&slab),
            listeners: Vec::new(),
            stop: Some(stop),
            threads: ThreadGroup::default(),
        };
        running.start_acceptors(self.listeners, &jobs, &stopped)?;
        let poller = Poller { poll, wake_ups, jobs, state, slab, tick };
        running.threads.start("poller", move || poller.run())?;
        Ok(Box::new(running))
    }
}

/// A running parked edge.
struct RunningParkedEdge {
    state: Arc<ParkedState>,
    slab: Arc<Connections>,
    listeners: Vec<Arc<TcpListener>>,
    stop: Option<Sender<()>>,
    threads: ThreadGroup,
}

impl RunningEdge for RunningParkedEdge {
    fn announce_stop(&self) {
        self.state.stopping.store(true, SeqCst);
    }

    fn stop_accepting(&mut self) {
        self.announce_stop();
        self.state.draining.store(true, SeqCst);
        self.stop = None;
        self.listeners.iter().for_each(|listener| socket::stop_listening(listener));
        self.slab.wake();
    }

    fn connections(&self) -> Option<Counter> {
        let (limit, permits) = (self.state.options.max_connections, self.state.connections.clone());
        Some(Box::new(move || limit - permits.available()))
    }

    fn is_idle(&self) -> bool {
        self.state.requests.load(SeqCst) == 0
    }

    fn finish(mut self: Box<Self>, deadline: Instant) -> usize {
        self.stop_threads();
        self.threads.join(deadline)
    }
}

impl RunningParkedEdge {
    fn start_acceptors(
        &mut self,
        listeners: Vec<(TcpListener, SocketAddr)>,
        jobs: &JobSender,
        stop: &Receiver<()>,
    ) -> Result<(), StartError> {
        let limit = self.state.options.max_connections_per_client;
        let per_address = (limit > 0).then(|| PerAddressLimit::new(limit));
        for (listener, _) in listeners {
            let listener = Arc::new(listener);
            self.listeners.push(Arc::clone(&listener));
            let acceptor = Acceptor {
                listener,
                state: Arc::clone(&self.state),
                slab: Arc::clone(&self.slab),
                per_address: per_address.clone(),
                jobs: jobs.clone(),
                stop: stop.clone(),
            };
            self.threads.start("acceptor", move || acceptor.run())?;
        }
        Ok(())
    }

    fn stop_threads(&mut self) {
        self.stop_accepting();
        self.state.finished.store(true, SeqCst);
        self.slab.wake();
    }
}

impl Drop for RunningParkedEdge {
    /// Also stops an edge that could be started only in part.
    fn drop(&mut self) {
        self.stop_threads();
    }
}

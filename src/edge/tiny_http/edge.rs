//! The lifecycle of the tiny_http edge: bound, started, stopped.

use crate::edge::lifecycle::{Counter, Edge, RunningEdge};
use crate::edge::options::EdgeOptions;
use crate::edge::socket::{self, InheritedTimeouts};
use crate::edge::tiny_http::accept_watchdog::{AcceptWatchdog, WatchdogNotifier, WatchedListener};
use crate::edge::tiny_http::client_stream::RefusalTask;
use crate::edge::tiny_http::connection_handle::ConnectionHandle;
use crate::edge::tiny_http::dispatch::Dispatch;
use crate::edge::tiny_http::state::TinyHttpState;
use crate::error::StartError;
use crate::queue::sender::JobSender;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::bounded;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Threads that send refusals. A refusal may have to wait for its turn on a pipelined connection, or for a
/// client that is still sending, and neither the edge nor a worker may wait for that.
const REFUSAL_THREADS: usize = 32;

/// Refusals that may wait for a refusal thread.
const PENDING_REFUSALS: usize = 1024;

/// A bound listener, not serving yet.
pub struct TinyHttpEdge {
    listener: TcpListener,
    local: SocketAddr,
    options: EdgeOptions,
    read_timeout: Duration,
}

impl TinyHttpEdge {
    /// Binds an address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, options: &EdgeOptions) -> Result<Self, StartError> {
        let failed = |cause| StartError::Bind { address, cause };
        // tiny_http's connections have one timeout for all reads.
        let read_timeout = options.client_body_timeout.min(options.idle_timeout);
        let inherited = InheritedTimeouts { read: Some(read_timeout), write: options.client_write_timeout };
        let listener = socket::listen(address, inherited).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(TinyHttpEdge { listener, local, options: *options, read_timeout })
    }

    /// Returns the address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Edge for TinyHttpEdge {
    fn local_addrs(&self) -> Vec<SocketAddr> {
        vec![self.local]
    }

    fn start(self: Box<Self>, jobs: JobSender) -> Result<Box<dyn RunningEdge>, StartError> {
        let (tasks, pending) = bounded::<RefusalTask>(PENDING_REFUSALS);
        let threads = ThreadGroup::default();
        for number in 0..REFUSAL_THREADS {
            let pending = pending.clone();
            threads.start(
                format!("refuse-{number}"),
                move || while pending.recv().is_ok_and(RefusalTask::run) {},
            )?;
        }
        let (notifier, events) = WatchdogNotifier::new();
        let notifier = Arc::new(notifier);
        let dispatch = Arc::new(Dispatch {
            listener: self.listener,
            state: Arc::new(TinyHttpState::new(self.local)),
            tasks,
            limits: self.options.limits,
            quiet_period: self.read_timeout + Duration::from_secs(1),
            servers: Mutex::default(),
            notifier: Arc::clone(&notifier),
            threads,
        });
        Dispatch::serve(&dispatch, jobs.clone())?;
        let restarted = Arc::clone(&dispatch);
        let listener = WatchedListener {
            address: self.local,
            read_timeout: self.read_timeout,
            restart: move || Dispatch::serve(&restarted, jobs.clone()).is_ok(),
            notifier,
            events,
        };
        let watchdog = AcceptWatchdog::start(listener, &dispatch.threads);
        let mut running = Box::new(RunningTinyHttpEdge { dispatch, watchdog: None });
        match watchdog {
            Ok(watchdog) => running.watchdog = Some(watchdog),
            Err(error) => {
                running.stop_accepting();
                running.finish(Instant::now());
                return Err(error);
            }
        }
        Ok(running)
    }
}

/// A running tiny_http edge.
struct RunningTinyHttpEdge {
    dispatch: Arc<Dispatch>,
    watchdog: Option<AcceptWatchdog>,
}

impl RunningEdge for RunningTinyHttpEdge {
    fn announce_stop(&self) {
        self.dispatch.state.stopping.store(true, SeqCst);
    }

    fn stop_accepting(&mut self) {
        self.announce_stop();
        self.watchdog = None;
        socket::stop_listening(&self.dispatch.listener);
    }

    fn connections(&self) -> Option<Counter> {
        None
    }

    fn is_idle(&self) -> bool {
        self.dispatch.state.requests.load(SeqCst) == 0
    }

    fn finish(self: Box<Self>, deadline: Instant) -> usize {
        let RunningTinyHttpEdge { dispatch, watchdog } = *self;
        drop(watchdog);
        dispatch.state.finished.store(true, SeqCst);
        for server in dispatch.servers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            server.unblock();
        }
        // tiny_http's own threads would go on reading from connected clients that get no reply any more.
        ConnectionHandle::all(dispatch.state.local).for_each(|connection| connection.shutdown());
        for _ in 0..REFUSAL_THREADS {
            let _ = dispatch.tasks.send_deadline(RefusalTask::Stop, deadline); // late: the thread is left running
        }
        dispatch.threads.join(deadline)
    }
}

//! How the tiny_http edge is bound, started and ended.

use super::accept_watchdog::{AcceptWatchdog, Nerve, Patient};
use super::client_stream::Chore;
use super::severed::Severed;
use super::{Dispatch, EdgeState};
use crate::edge::EdgeOptions;
use crate::edge::lifecycle::{Counter, Edge, RunningEdge};
use crate::edge::socket::{self, Hold, Inherited};
use crate::error::StartError;
use crate::queue::JobSender;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::bounded;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Threads that answer refusals. A refusal may have to wait for its turn on a pipelined connection,
/// or for a client that is still sending, and neither the edge nor a worker should.
const REFUSERS: usize = 32;

/// Refusals that may wait for one of those threads.
const REFUSALS: usize = 1024;

/// A bound listener, not yet serving.
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
        // One timeout for every read: tiny_http's connections know no other.
        let read_timeout = options.client_body_timeout.min(options.idle_timeout);
        let inherited = Inherited { read: Some(read_timeout), write: options.client_write_timeout };
        let listener = socket::listen(address, inherited).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(TinyHttpEdge { listener, local, options: *options, read_timeout })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Edge for TinyHttpEdge {
    fn local_addrs(&self) -> Vec<SocketAddr> {
        vec![self.local]
    }

    fn start(self: Box<Self>, jobs: JobSender) -> Result<Box<dyn RunningEdge>, StartError> {
        let (refusals, chores) = bounded::<Chore>(REFUSALS);
        let threads = ThreadGroup::default();
        for number in 0..REFUSERS {
            let chores = chores.clone();
            threads.start(
                format!("refuse-{number}"),
                move || while chores.recv().is_ok_and(Chore::carry_out) {},
            )?;
        }
        let (nerve, signals) = Nerve::new();
        let nerve = Arc::new(nerve);
        let dispatch = Arc::new(Dispatch {
            listener: self.listener,
            shared: Arc::new(EdgeState {
                local: self.local,
                open: AtomicUsize::new(0),
                lost: AtomicUsize::new(0),
                stopping: AtomicBool::new(false),
                finished: AtomicBool::new(false),
                severed: Severed::default(),
                chores: refusals,
            }),
            limits: self.options.limits,
            quiet: self.read_timeout + Duration::from_secs(1),
            servers: Mutex::default(),
            nerve: Arc::clone(&nerve),
            threads,
        });
        Dispatch::serve(&dispatch, jobs.clone())?;
        let reviving = Arc::clone(&dispatch);
        let patient = Patient {
            address: self.local,
            read_timeout: self.read_timeout,
            revive: move || Dispatch::serve(&reviving, jobs.clone()).is_ok(),
            nerve,
            signals,
        };
        let watchdog = AcceptWatchdog::start(patient, &dispatch.threads)?;
        Ok(Box::new(RunningTinyHttpEdge { dispatch, watchdog: Some(watchdog) }))
    }
}

/// A serving edge.
struct RunningTinyHttpEdge {
    dispatch: Arc<Dispatch>,
    watchdog: Option<AcceptWatchdog>,
}

impl RunningEdge for RunningTinyHttpEdge {
    fn announce_stop(&self) {
        self.dispatch.shared.stopping.store(true, SeqCst);
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
        self.dispatch.shared.open.load(SeqCst) == 0
    }

    fn finish(self: Box<Self>, deadline: Instant) -> usize {
        let RunningTinyHttpEdge { dispatch, watchdog } = *self;
        drop(watchdog);
        dispatch.shared.finished.store(true, SeqCst);
        for server in dispatch.servers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            server.unblock();
        }
        // tiny_http's own threads go on reading from whoever is still connected, and nobody would answer.
        Hold::all(dispatch.shared.local).for_each(|connection| connection.shut());
        for _ in 0..REFUSERS {
            let _ = dispatch.shared.chores.send_deadline(Chore::GoHome, deadline); // late: they are left behind
        }
        dispatch.threads.join(deadline)
    }
}

//! Builds a balancer from its configuration, binds its addresses, and runs it.

pub mod config;
pub(crate) mod rules;
pub mod running;

use crate::admin::control::DemoControls;
use crate::admin::listener::Admin;
use crate::cluster::membership::Membership;
use crate::cluster::names::{Lookup, System};
use crate::edge;
use crate::error::StartError;
use crate::observe::metrics::registry::Metrics;
use crate::sys::shutdown::Stop;
use config::ValidConfig;
use running::{Parts, RunningBalancer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A balancer that has bound its addresses, and does not serve yet.
pub struct Balancer(Parts);

impl Balancer {
    /// Resolves the names of the backends and binds the addresses. Nothing is left half-started if that fails.
    ///
    /// # Errors
    /// When a backend has no address, or an address cannot be bound.
    pub fn bind(config: ValidConfig) -> Result<Self, StartError> {
        Balancer::with_lookup(config, Arc::new(System))
    }

    /// Works like [`bind`](Balancer::bind), with another way to look up names than the system's resolver.
    ///
    /// # Errors
    /// When a backend has no address, or an address cannot be bound.
    pub fn with_lookup(config: ValidConfig, lookup: Arc<dyn Lookup>) -> Result<Self, StartError> {
        let mut config = config.into_inner();
        let upstream = std::mem::take(&mut config.upstream);
        let metrics = Arc::new(Metrics::new()?);
        let of_backends = Arc::clone(&metrics);
        let counters = Box::new(move |backend: &str| of_backends.counters(backend));
        let members = Membership::new(upstream, config.workers, lookup, config.reread.take(), counters)?;
        let slow_clients = (config.workers / 2).max(1); // workers that may wait for slow clients at a time
        let edges = edge::bind(config.edge_kind, &config.listen, &config.edge, slow_clients)?;
        let admin = config.admin.take().map(Admin::bind).transpose()?;
        let members = Arc::new(members);
        Ok(Balancer(Parts { config, edges, admin, members, metrics, demo_controls: None }))
    }

    /// Lets the admin listener change these controls of a demo. They are cleared before the balancer stops.
    #[must_use]
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn with_demo_controls(self, demo_controls: Arc<dyn DemoControls>) -> Self {
        Balancer(Parts { demo_controls: Some(demo_controls), ..self.0 })
    }

    /// Returns the addresses that were bound, in the order of the configuration.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.edges.iter().flat_map(|edge| edge.local_addrs()).collect()
    }

    /// Returns the first address that was bound.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().first().copied()
    }

    /// Returns the admin listener's address, or `None` where there is no admin listener.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.0.admin.as_ref().map(Admin::local_addr)
    }

    /// Serves until the signal to stop, then finishes the requests under way and returns.
    ///
    /// # Errors
    /// When a thread cannot be started; those that had been are ended again.
    pub fn run(self, stop: &Stop) -> Result<(), StartError> {
        let (grace, drain_delay) = (self.0.config.grace, self.0.config.drain_delay);
        let running = RunningBalancer::start(self.0)?;
        tracing::info!("ready");
        let reason = stop.wait();
        running.drain(reason, drain_delay, Instant::now() + drain_delay + grace);
        Ok(())
    }
}

//! The demo as a whole: its backends and its traffic, from binding to stopping.

use super::backend::{DemoBackend, RunningBackend};
use super::behaviour::Behaviour;
use super::load_generator::{LoadGenerator, RunningLoad};
use crate::admin::answers::demo::DemoState;
use crate::admin::control::{BackendChange, DemoControls, TrafficChange};
use crate::cluster::change::ChangeError;
use crate::error::StartError;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The demo's backends, bound to their addresses and not serving yet.
pub struct Demo {
    backends: Vec<DemoBackend>,
}

/// The running demo. Reading its state never waits for a change.
pub struct RunningDemo {
    behaviours: Vec<Arc<Behaviour>>,
    load: LoadGenerator,
    services: Mutex<RunningServices>,
}

/// The running backends and traffic, which one change at a time starts and ends.
struct RunningServices {
    /// In the order of the behaviours; `None` for a backend that is stopped.
    backends: Vec<Option<RunningBackend>>,
    load: Option<RunningLoad>,
    /// Whether the demo is stopping, which rules out further changes.
    stopping: bool,
}

impl Demo {
    /// Binds a backend to each of these ports on loopback. Each delays its responses by `delay`.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub fn bind(ports: &[u16], delay: Duration) -> Result<Self, StartError> {
        let bind = |port: &u16| DemoBackend::bind((Ipv4Addr::LOCALHOST, *port).into(), None, delay);
        Ok(Demo { backends: ports.iter().map(bind).collect::<Result<_, _>>()? })
    }

    /// Returns the addresses that were bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(DemoBackend::local_addr).collect()
    }

    /// Starts the backends. Traffic, once it is asked for, goes to the balancer at this address.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, balancer: SocketAddr) -> Result<RunningDemo, StartError> {
        let behaviours = self.backends.iter().map(|backend| Arc::clone(backend.behaviour())).collect();
        let started = self.backends.into_iter().map(|backend| backend.start().map(Some));
        let backends = started.collect::<Result<_, _>>()?;
        let services = Mutex::new(RunningServices { backends, load: None, stopping: false });
        Ok(RunningDemo { behaviours, load: LoadGenerator::to(balancer), services })
    }
}

impl RunningDemo {
    /// Ends the traffic and the backends. The balancer has to be stopped before.
    pub fn stop(&self) {
        self.clear();
        let running = self.services().backends.iter_mut().filter_map(Option::take).collect::<Vec<_>>();
        running.into_iter().for_each(RunningBackend::stop);
    }

    fn services(&self) -> MutexGuard<'_, RunningServices> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the services for a change, or an error if the demo is stopping.
    fn services_to_change(&self) -> Result<MutexGuard<'_, RunningServices>, ChangeError> {
        let services = self.services();
        match services.stopping {
            true => Err(ChangeError::NotNow("the demo is stopping".into())),
            false => Ok(services),
        }
    }
}

impl DemoControls for RunningDemo {
    fn show(&self) -> DemoState {
        let backends = self.behaviours.iter().map(|behaviour| behaviour.state()).collect();
        DemoState { traffic: self.load.state(), backends }
    }

    fn change_traffic(&self, change: TrafficChange) -> Result<DemoState, ChangeError> {
        let mut services = self.services_to_change()?;
        self.load.change(&mut services.load, change.rate, change.clients).map_err(not_now)?;
        Ok(self.show())
    }

    fn change_backend(&self, name: &str, change: BackendChange) -> Result<DemoState, ChangeError> {
        let found = self.behaviours.iter().position(|behaviour| behaviour.address.to_string() == name);
        let Some(number) = found else {
            return Err(ChangeError::Unknown(format!("there is no demo backend {name}")));
        };
        let behaviour = &self.behaviours[number];
        let mut services = self.services_to_change()?;
        // Starting comes first, because it may fail, and then nothing may have changed.
        if let Some(running) = change.running {
            set_running(&mut services.backends[number], behaviour, running).map_err(not_now)?;
        }
        if let Some(delay) = change.delay {
            behaviour.set_delay(delay);
        }
        if let Some(percent) = change.error_percent {
            behaviour.set_error_percent(percent);
        }
        Ok(self.show())
    }

    fn clear(&self) {
        let mut services = self.services();
        services.stopping = true;
        self.load.end(&mut services.load);
        self.behaviours.iter().for_each(|behaviour| behaviour.set_delay(Duration::ZERO));
    }
}

/// Starts or stops a backend, unless it is started or stopped already.
fn set_running(
    backend: &mut Option<RunningBackend>,
    behaviour: &Arc<Behaviour>,
    running: bool,
) -> Result<(), StartError> {
    match (backend.take(), running) {
        (None, true) => *backend = Some(DemoBackend::again(Arc::clone(behaviour))?.start()?),
        (Some(stopping), false) => stopping.stop(),
        (unchanged, _) => *backend = unchanged,
    }
    Ok(())
}

fn not_now(error: StartError) -> ChangeError {
    ChangeError::NotNow(error.to_string())
}

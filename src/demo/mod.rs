//! The demo: backends that say who they are, and clients that ask. Who follows the lesson can have the backends
//! slow, failing or gone, and traffic, through the admin listener: see [`DemoControls`].

mod backend;
mod behaviour;
mod load_generator;

use crate::admin::{BackendChange, DemoControls, TrafficChange};
use crate::cluster::change::ChangeError;
use crate::error::StartError;
pub use backend::{DemoBackend, RunningBackend};
use behaviour::Behaviour;
use load_generator::{LoadGenerator, Traffic};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The demo's backends, with their addresses, and not serving yet.
pub struct Demo {
    backends: Vec<DemoBackend>,
}

/// The demo at work. What there is to be seen of it is read without waiting for whoever changes it.
pub struct RunningDemo {
    parts: Vec<Arc<Behaviour>>,
    traffic: Traffic,
    machinery: Mutex<DemoState>,
}

/// What is started and ended: by one at a time.
struct DemoState {
    /// In the order of the parts.
    backends: Vec<Option<RunningBackend>>,
    generator: Option<LoadGenerator>,
    /// Nothing more is changed.
    over: bool,
}

impl Demo {
    /// Binds a backend to each of these ports of this machine. All of them think so long about each request.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub fn bind(ports: &[u16], delay: Duration) -> Result<Self, StartError> {
        let bind = |port: &u16| DemoBackend::bind((Ipv4Addr::LOCALHOST, *port).into(), None, delay);
        Ok(Demo { backends: ports.iter().map(bind).collect::<Result<_, _>>()? })
    }

    /// The addresses that were bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(DemoBackend::local_addr).collect()
    }

    /// Starts the backends. Traffic will go to the balancer at this address, when somebody asks for it.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, balancer: SocketAddr) -> Result<RunningDemo, StartError> {
        let parts = self.backends.iter().map(|backend| Arc::clone(backend.behaviour())).collect();
        let started = self.backends.into_iter().map(|backend| backend.start().map(Some));
        let backends = started.collect::<Result<_, _>>()?;
        let machinery = Mutex::new(DemoState { backends, generator: None, over: false });
        Ok(RunningDemo { parts, traffic: Traffic::to(balancer), machinery })
    }
}

impl RunningDemo {
    /// Ends the traffic and the backends. The balancer has been stopped by then.
    pub fn stop(&self) {
        self.clear();
        let running = self.machinery().backends.iter_mut().filter_map(Option::take).collect::<Vec<_>>();
        running.into_iter().for_each(RunningBackend::stop);
    }

    fn machinery(&self) -> MutexGuard<'_, DemoState> {
        self.machinery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for whoever changes something.
    fn machinery_in_use(&self) -> Result<MutexGuard<'_, DemoState>, ChangeError> {
        let machinery = self.machinery();
        match machinery.over {
            true => Err(ChangeError::NotNow("the demo is stopping".into())),
            false => Ok(machinery),
        }
    }
}

impl DemoControls for RunningDemo {
    fn show(&self) -> Value {
        let backends: Vec<_> = self.parts.iter().map(|behaviour| behaviour.show()).collect();
        json!({ "traffic": self.traffic.show(), "backends": backends })
    }

    fn change_traffic(&self, change: TrafficChange) -> Result<Value, ChangeError> {
        let mut machinery = self.machinery_in_use()?;
        self.traffic.change(&mut machinery.generator, change.rate, change.clients).map_err(not_now)?;
        Ok(self.show())
    }

    fn change_backend(&self, name: &str, change: BackendChange) -> Result<Value, ChangeError> {
        let found = self.parts.iter().position(|behaviour| behaviour.address.to_string() == name);
        let Some(number) = found else {
            return Err(ChangeError::Unknown(format!("there is no demo backend {name}")));
        };
        let behaviour = &self.parts[number];
        let mut machinery = self.machinery_in_use()?;
        // What may fail comes first: then nothing has changed.
        if let Some(running) = change.running {
            run(&mut machinery.backends[number], behaviour, running).map_err(not_now)?;
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
        let mut machinery = self.machinery();
        machinery.over = true;
        self.traffic.end(&mut machinery.generator);
        self.parts.iter().for_each(|behaviour| behaviour.set_delay(Duration::ZERO));
    }
}

/// Has a backend run, or not. One that does so already is left alone.
fn run(
    backend: &mut Option<RunningBackend>,
    behaviour: &Arc<Behaviour>,
    running: bool,
) -> Result<(), StartError> {
    match (backend.take(), running) {
        (None, true) => *backend = Some(DemoBackend::again(Arc::clone(behaviour))?.start()?),
        (Some(stopping), false) => stopping.stop(),
        (as_it_was, _) => *backend = as_it_was,
    }
    Ok(())
}

fn not_now(error: StartError) -> ChangeError {
    ChangeError::NotNow(error.to_string())
}

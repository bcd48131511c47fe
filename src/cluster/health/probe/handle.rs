//! A handle that ends a probe from another thread.

use std::sync::{Arc, Mutex, PoisonError};
use ureq::Agent;

/// Ends the probes of one thread, which makes one probe at a time, from another thread.
#[derive(Clone, Debug, Default)]
pub struct ProbeHandle(Arc<Mutex<ProbeCall>>);

#[derive(Debug, Default)]
struct ProbeCall {
    ended: bool,
    agent: Option<Agent>,
}

impl ProbeHandle {
    /// Ends the call under way, if any, and all later ones. An attempt to connect cannot be interrupted: it is dropped
    /// when it is over.
    pub fn end(&self) {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        call.ended = true;
        let agent = call.agent.take();
        drop(call);
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Returns whether it was ended. The result of a probe is then not about the backend.
    pub fn has_ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Registers the agent of the next call.
    pub(super) fn begin(&self, agent: &Agent) {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if call.ended {
            agent.clone().shutdown(); // it has no connection yet and will open none
        }
        call.agent = Some(agent.clone());
    }
}

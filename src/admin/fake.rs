//! A balancer without traffic, for the tests of the admin listener and of its clients.

#![cfg(test)]

use super::answers::changes::{Reloaded, Removed};
use super::answers::demo::DemoState;
use super::answers::history::Samples;
use super::answers::state::{BackendState, State};
use super::control::{BackendChange, Control, DemoControls, Insight, TrafficChange};
use crate::cluster::change::ChangeError;
use std::sync::Mutex;

/// A fake balancer with the backends `127.0.0.1:8081` and `[::1]:8081` that records each requested change.
#[derive(Default)]
pub struct Fake {
    pub asked: Mutex<Vec<String>>,
    pub problems: Vec<String>,
    pub not_ready: Option<&'static str>,
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    /// Returns the changes requested since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn known(&self, verb: &str, name: &str) -> Result<BackendState, ChangeError> {
        self.note(format!("{verb} {name}"));
        match name {
            "127.0.0.1:8081" | "[::1]:8081" => Ok(backend(name)),
            _ => Err(ChangeError::Unknown(format!("there is no backend {name}"))),
        }
    }
}

fn backend(name: &str) -> BackendState {
    BackendState { name: name.into(), state: "up".into(), weight: 1, ..BackendState::default() }
}

impl Control for Fake {
    fn backends(&self) -> Vec<BackendState> {
        vec![backend("127.0.0.1:8081")]
    }

    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<BackendState>, ChangeError> {
        self.note(format!("add {url} {weight} {backup}"));
        match url {
            "http://twice" => Err(ChangeError::Duplicate("it exists already".into())),
            "nonsense" => Err(ChangeError::Invalid("this is no URL".into())),
            "http://panic" => panic!("on purpose"),
            _ => Ok(vec![backend(url)]),
        }
    }

    fn remove(&self, name: &str) -> Result<Removed, ChangeError> {
        self.known("remove", name).map(|backend| Removed { removed: vec![backend.name] })
    }

    fn drain(&self, name: &str) -> Result<BackendState, ChangeError> {
        self.known("drain", name)
    }

    fn resume(&self, name: &str) -> Result<BackendState, ChangeError> {
        self.known("resume", name)
    }

    fn set_weight(&self, name: &str, weight: u32) -> Result<BackendState, ChangeError> {
        self.known(&format!("weight {weight}"), name)
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        self.note("reload".into());
        if !self.problems.is_empty() {
            return Err(self.problems.clone());
        }
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Ok(Reloaded { added: names(&["c:1"]), removed: names(&["d:1"]), kept: names(&["a:1", "b:1"]) })
    }

    fn ready(&self) -> Result<(), &'static str> {
        self.not_ready.map_or(Ok(()), Err)
    }
}

impl DemoControls for Fake {
    fn show(&self) -> DemoState {
        DemoState::default()
    }

    fn change_traffic(&self, change: TrafficChange) -> Result<DemoState, ChangeError> {
        let TrafficChange { rate, clients } = change;
        self.note(format!("traffic {rate:?} {clients:?}"));
        Ok(self.show())
    }

    fn change_backend(&self, name: &str, change: BackendChange) -> Result<DemoState, ChangeError> {
        let BackendChange { delay, error_percent, running } = change;
        if name == "taken:1" {
            return Err(ChangeError::NotNow("the port is in use".into()));
        }
        self.known(&format!("change {delay:?} {error_percent:?} {running:?}"), name)?;
        Ok(self.show())
    }

    fn clear(&self) {
        self.note("clear".into());
    }
}

impl Insight for Fake {
    fn metrics(&self) -> Result<String, prometheus::Error> {
        let missing = || prometheus::Error::Msg("there is nothing to count".into());
        self.problems.is_empty().then(|| "up 1\n".into()).ok_or_else(missing)
    }

    fn state(&self) -> State {
        State { workers: 64, ..State::default() }
    }

    fn history(&self, after: u64) -> Samples {
        Samples { newest: after, samples: Vec::new() }
    }
}

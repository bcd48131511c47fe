//! What an operator may ask of the members.

use super::membership::{Changes, Membership};
use crate::admin::{Control, Rejected, Reloaded};
use crate::backend::counters::BackendCounters;
use crate::backend::{Backend, BackendUrl, MOST_WEIGHT, Member};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

impl Control for Membership {
    fn backends(&self) -> Vec<Value> {
        self.snapshot().get().selector.backends.iter().map(shown).collect()
    }

    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<Value>, Rejected> {
        let url: BackendUrl = url.parse().map_err(bad)?;
        let member = Member::new(url, weight, backup).map_err(bad)?;
        if weight != 1 {
            self.check_weights()?;
        }
        Ok(self.join(member)?.added.iter().map(shown).collect())
    }

    fn remove(&self, name: &str) -> Result<Value, Rejected> {
        let Changes { removed, .. } = self.remove_named(name)?;
        Ok(json!({ "removed": removed }))
    }

    fn drain(&self, name: &str) -> Result<Value, Rejected> {
        self.turn(name, Backend::drain)
    }

    fn resume(&self, name: &str) -> Result<Value, Rejected> {
        self.turn(name, Backend::resume)
    }

    fn set_weight(&self, name: &str, weight: u32) -> Result<Value, Rejected> {
        let backend = self.backend(name)?;
        self.check_weights()?;
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(Rejected::Bad(format!("the weight is {weight}; it must be from 1 to {MOST_WEIGHT}")));
        }
        backend.set_part(weight, backend.is_backup());
        Ok(shown(&backend))
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let changes = self.reread().inspect_err(|problems| {
            tracing::warn!("the configuration was not reloaded: {}", problems.join("; "));
        })?;
        let Changes { added, removed, kept } = changes;
        tracing::info!("reloaded: {} added, {} removed, {} kept", added.len(), removed.len(), kept.len());
        let added = added.iter().map(|backend| backend.authority().to_string()).collect();
        Ok(Reloaded { added, removed, kept })
    }

    fn ready(&self) -> Result<(), &'static str> {
        if !self.serving.load(SeqCst) {
            return Err("it is starting or stopping");
        }
        if self.has_usable() { Ok(()) } else { Err("no backend is usable") }
    }
}

impl Membership {
    fn turn(&self, name: &str, turn: fn(&Backend)) -> Result<Value, Rejected> {
        let backend = self.backend(name)?;
        turn(&backend);
        self.common.room.look_again();
        Ok(shown(&backend))
    }

    fn check_weights(&self) -> Result<(), Rejected> {
        if self.lock().upstream.strategy.uses_weights() {
            return Ok(());
        }
        let text =
            "round-robin gives each backend the same; choose weighted-round-robin in the configuration first";
        Err(Rejected::Bad(text.to_owned()))
    }
}

fn bad(error: impl std::fmt::Display) -> Rejected {
    Rejected::Bad(error.to_string())
}

/// One backend, as an operator sees it.
pub(crate) fn shown(backend: &Arc<Backend>) -> Value {
    let report = backend.health_state().report();
    let (tries, failures) = backend.tries();
    let (state, since, why) = match report.turned {
        Some(since) if backend.is_draining() => ("draining".to_owned(), since, "asked to drain".to_owned()),
        _ => (report.state.to_string(), report.since, report.why),
    };
    let (in_flight, totals) =
        (backend.in_flight(), backend.counters().map(BackendCounters::totals).unwrap_or_default());
    let ago = Instant::now().saturating_duration_since(since);
    json!({
        "name": backend.authority().as_str(),
        "addresses": backend.place().addresses,
        "state": state,
        "since": at(ago),
        "for_seconds": (ago.as_secs_f64() * 1000.0).round() / 1000.0,
        "why": why,
        "weight": backend.weight(),
        "backup": backend.is_backup(),
        "in_flight": in_flight,
        "max_in_flight": backend.slots().most(),
        "idle": in_flight == 0,
        "tries": tries,
        "failures": failures,
        "requests": totals.requests,
        "errors": totals.errors,
    })
}

/// The time of day that long ago.
fn at(ago: std::time::Duration) -> String {
    let then = Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
    then.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

//! What an operator may ask of the members.

use super::control::{Control, Reloaded};
use crate::backend::counters::BackendCounters;
use crate::backend::{Backend, BackendUrl, Member};
use crate::cluster::change::{ChangeError, Changes};
use crate::cluster::membership::Membership;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

impl Control for Membership {
    fn backends(&self) -> Vec<Value> {
        self.snapshot().get().selector.backends.iter().map(shown).collect()
    }

    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<Value>, ChangeError> {
        let url: BackendUrl = url.parse().map_err(bad)?;
        let member = Member::new(url, weight, backup).map_err(bad)?;
        Ok(Membership::add(self, member)?.added.iter().map(shown).collect())
    }

    fn remove(&self, name: &str) -> Result<Value, ChangeError> {
        Ok(json!({ "removed": Membership::remove(self, name)?.removed }))
    }

    fn drain(&self, name: &str) -> Result<Value, ChangeError> {
        Membership::drain(self, name).as_ref().map(shown).map_err(Clone::clone)
    }

    fn resume(&self, name: &str) -> Result<Value, ChangeError> {
        Membership::resume(self, name).as_ref().map(shown).map_err(Clone::clone)
    }

    fn set_weight(&self, name: &str, weight: u32) -> Result<Value, ChangeError> {
        Membership::set_weight(self, name, weight).as_ref().map(shown).map_err(Clone::clone)
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let changes = Membership::reload(self).inspect_err(|problems| {
            tracing::warn!("the configuration was not reloaded: {}", problems.join("; "));
        })?;
        let Changes { added, removed, kept } = changes;
        tracing::info!("reloaded: {} added, {} removed, {} kept", added.len(), removed.len(), kept.len());
        let added = added.iter().map(|backend| backend.authority().to_string()).collect();
        Ok(Reloaded { added, removed, kept })
    }

    fn ready(&self) -> Result<(), &'static str> {
        Membership::ready(self)
    }
}

fn bad(error: impl std::fmt::Display) -> ChangeError {
    ChangeError::Invalid(error.to_string())
}

/// One backend, as an operator sees it.
pub(crate) fn shown(backend: &Arc<Backend>) -> Value {
    let report = backend.health_state().report();
    let (tries, failures) = backend.tries();
    let (state, since, why) = match report.drain_changed {
        Some(since) if backend.is_draining() => ("draining".to_owned(), since, "asked to drain".to_owned()),
        _ => (report.state.to_string(), report.since, report.why),
    };
    let (in_flight, totals) =
        (backend.in_flight(), backend.counters().map(BackendCounters::totals).unwrap_or_default());
    let ago = Instant::now().saturating_duration_since(since);
    json!({
        "name": backend.authority().as_str(),
        "addresses": backend.address().addresses,
        "state": state,
        "since": at(ago),
        "for_seconds": (ago.as_secs_f64() * 1000.0).round() / 1000.0,
        "why": why,
        "weight": backend.weight(),
        "backup": backend.is_backup(),
        "in_flight": in_flight,
        "max_in_flight": backend.limit().limit(),
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

//! The admin API's changes, made to the membership of the cluster.

use super::answers::changes::{Reloaded, Removed};
use super::answers::state::BackendState;
use super::control::Control;
use crate::backend::address::BackendUrl;
use crate::backend::counters::BackendCounters;
use crate::backend::instance::Backend;
use crate::backend::member::Member;
use crate::cluster::change::{ChangeError, Changes};
use crate::cluster::membership::Membership;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Control for Membership {
    fn backends(&self) -> Vec<BackendState> {
        self.snapshot().get().selector.backends.iter().map(backend_state).collect()
    }

    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<BackendState>, ChangeError> {
        let url: BackendUrl = url.parse().map_err(invalid)?;
        let member = Member::new(url, weight, backup).map_err(invalid)?;
        Ok(Membership::add(self, member)?.added.iter().map(backend_state).collect())
    }

    fn remove(&self, name: &str) -> Result<Removed, ChangeError> {
        Ok(Removed { removed: Membership::remove(self, name)?.removed })
    }

    fn drain(&self, name: &str) -> Result<BackendState, ChangeError> {
        Membership::drain(self, name).as_ref().map(backend_state).map_err(Clone::clone)
    }

    fn resume(&self, name: &str) -> Result<BackendState, ChangeError> {
        Membership::resume(self, name).as_ref().map(backend_state).map_err(Clone::clone)
    }

    fn set_weight(&self, name: &str, weight: u32) -> Result<BackendState, ChangeError> {
        Membership::set_weight(self, name, weight).as_ref().map(backend_state).map_err(Clone::clone)
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

fn invalid(error: impl std::fmt::Display) -> ChangeError {
    ChangeError::Invalid(error.to_string())
}

/// Returns a backend at this moment, without its recent rates.
pub fn backend_state(backend: &Arc<Backend>) -> BackendState {
    let report = backend.health_state().report();
    let (tries, failures) = backend.tries();
    let (state, since, why) = match report.drain_changed {
        Some(since) if backend.is_draining() => ("draining".to_owned(), since, "asked to drain".to_owned()),
        _ => (report.state.to_string(), report.since, report.why),
    };
    let in_flight = backend.in_flight();
    let totals = backend.counters().map(BackendCounters::totals).unwrap_or_default();
    let ago = Instant::now().saturating_duration_since(since);
    BackendState {
        name: backend.authority().to_string(),
        addresses: backend.address().addresses.clone(),
        state,
        why,
        since: time_of_day(ago),
        for_seconds: (ago.as_secs_f64() * 1000.0).round() / 1000.0,
        weight: backend.weight(),
        backup: backend.is_backup(),
        in_flight,
        max_in_flight: backend.limit().limit(),
        idle: in_flight == 0,
        tries,
        failures,
        requests: totals.requests,
        errors: totals.errors,
        lately: None,
    }
}

/// Returns the time of day `ago` before now, in UTC.
fn time_of_day(ago: Duration) -> String {
    let then = Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
    then.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

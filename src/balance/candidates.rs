//! The backends that may be selected now: health, draining, backups, slow start and ejection are all decided here.

use crate::backend::health_state::Usable;
use crate::backend::instance::Backend;
use crate::balance::strategy::Candidate;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The rules by which backends may be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionOptions {
    /// Whether requests are sent to unusable backends while none is usable, instead of being refused. Default: yes.
    pub fail_open: bool,
    /// The time in which a backend that has returned regains its full weight. Default: 0.
    pub slow_start: Duration,
    /// The number of requests that one backend may serve at the same time. Default: three quarters of the workers, or
    /// all of them for a single backend.
    pub max_in_flight: Option<usize>,
}

impl Default for SelectionOptions {
    fn default() -> Self {
        SelectionOptions { fail_open: true, slow_start: Duration::ZERO, max_in_flight: None }
    }
}

impl SelectionOptions {
    /// Returns the number of requests that one of these backends may serve at the same time. By default one backend
    /// that hangs cannot hold all workers.
    pub(crate) fn limit_per_backend(&self, workers: usize, backends: usize) -> usize {
        let default = if backends > 1 { (workers * 3 / 4).max(1) } else { workers };
        self.max_in_flight.unwrap_or(default)
    }
}

/// A backend that may be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligible {
    /// Its index among all backends.
    pub index: usize,
    /// Whether it gets one request at a time until it has shown that it works.
    pub on_trial: bool,
}

impl Eligible {
    /// Returns the number of requests that it may serve, its own limit aside.
    pub fn limit(&self) -> usize {
        if self.on_trial { 1 } else { usize::MAX }
    }
}

/// Returns the backends that may be selected now. Backends in `tried` and draining backends are left out.
///
/// The usable primary backends come first. If there is none, or if all of them are on trial, the usable backups are
/// added. If the result would be empty and `fail_open` is set, the unusable backends are returned.
pub fn eligible(backends: &[Arc<Backend>], tried: &[usize], fail_open: bool, now: Instant) -> Vec<Eligible> {
    let mut tiers = [const { Vec::new() }; 3];
    for (index, backend) in backends.iter().enumerate() {
        if backend.is_draining() || tried.contains(&index) {
            continue;
        }
        let usable = backend.health_state().usable(now);
        let tier = match usable {
            Usable::No if !fail_open => continue,
            Usable::No => 2,
            _ if backend.is_backup() => 1,
            _ => 0,
        };
        tiers[tier].push(Eligible { index, on_trial: usable == Usable::OnTrial });
    }
    let [mut best, backups, unusable] = tiers;
    if best.iter().all(|one| one.on_trial) {
        best.extend(backups); // a backend on trial serves one request at a time, and the other requests need one too
    }
    if best.is_empty() {
        best = unusable;
    }
    if best.iter().all(|one| one.on_trial) {
        best.iter_mut().for_each(|one| one.on_trial = false); // no other backend could serve the rest
    }
    best
}

/// Returns these backends as a strategy sees them, in the same order.
pub fn to_candidates<'a>(
    backends: &'a [Arc<Backend>],
    eligible: &[Eligible],
    slow_start: Duration,
    now: Instant,
) -> Vec<Candidate<'a>> {
    let candidate = |one: &Eligible| {
        let backend = backends[one.index].as_ref();
        let ramp = backend.health_state().ramp(now, slow_start);
        Candidate { backend, weight: f64::from(backend.weight()) * ramp }
    };
    eligible.iter().map(candidate).collect()
}

/// Returns whether any backend other than this one is usable.
pub fn has_another(backends: &[Arc<Backend>], than: &Backend, now: Instant) -> bool {
    let mut others = backends.iter().filter(|other| other.id() != than.id());
    others.any(|other| !other.is_draining() && other.health_state().usable(now) == Usable::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::ejection::options::EjectionOptions;
    use crate::backend::ejection::tracker::FailureCause;
    use std::net::SocketAddr;

    fn backends(kinds: &[&str]) -> Vec<Arc<Backend>> {
        let now = Instant::now();
        let make = |(port, kind): (u16, &&str)| {
            let address = SocketAddr::from(([127, 0, 0, 1], port)).into();
            let backend = Backend::new(address, 1, kind.contains("backup"), &Arc::default());
            if kind.contains("out") {
                let options = EjectionOptions::default();
                backend.health_state().record_failure(FailureCause::Connect, now, now, &options);
                backend.health_state().eject("on purpose", now, now, &options);
            }
            if kind.contains("draining") {
                backend.drain();
            }
            Arc::new(backend)
        };
        (1..).zip(kinds).map(make).collect()
    }

    fn selected(kinds: &[&str], tried: &[usize], fail_open: bool) -> Vec<usize> {
        let found = eligible(&backends(kinds), tried, fail_open, Instant::now());
        assert!(found.iter().all(|one| !one.on_trial));
        found.iter().map(|one| one.index).collect()
    }

    #[test]
    fn the_best_tier_of_backends_is_eligible() {
        for (kinds, tried, open, shut) in [
            (&["", "", ""][..], &[][..], &[0, 1, 2][..], &[0, 1, 2][..]),
            (&["", "", ""], &[1], &[0, 2], &[0, 2]),
            (&["", "out", "backup"], &[], &[0], &[0]),
            (&["out", "out", "backup"], &[], &[2], &[2]),
            (&["", "backup"], &[0], &[1], &[1]),
            (&["out", "out"], &[], &[0, 1], &[]),
            (&["out", "backup out"], &[], &[0, 1], &[]),
            (&["", "out"], &[0], &[1], &[]),
            (&["draining", "out"], &[], &[1], &[]),
            (&["draining", "draining"], &[], &[], &[]),
            (&["draining", "backup"], &[], &[1], &[1]),
            (&["", "draining"], &[0], &[], &[]),
        ] {
            assert_eq!(selected(kinds, tried, true), open, "{kinds:?} without {tried:?}");
            assert_eq!(selected(kinds, tried, false), shut, "{kinds:?} without {tried:?}, refusing");
        }
    }

    #[test]
    fn an_ejected_backend_is_on_trial_after_its_time_unless_it_is_alone() {
        let later = Instant::now() + Duration::from_secs(60);
        let on_trial = |kinds| {
            let found = eligible(&backends(kinds), &[], true, later);
            found.iter().map(|one| one.on_trial).collect::<Vec<_>>()
        };
        assert_eq!(on_trial(&["", "out"]), [false, true]);
        assert_eq!(on_trial(&["out", "out"]), [false, false]);
    }

    #[test]
    fn one_of_several_backends_may_hold_three_quarters_of_the_workers() {
        let options = SelectionOptions::default();
        let limit = |workers, backends| options.limit_per_backend(workers, backends);
        assert_eq!([limit(64, 2), limit(64, 1), limit(8, 3), limit(1, 2)], [48, 64, 6, 1]);
        assert_eq!(SelectionOptions { max_in_flight: Some(5), ..options }.limit_per_backend(64, 2), 5);
    }

    #[test]
    fn another_backend_must_be_usable() {
        let now = Instant::now();
        for (kinds, has) in [
            (&["", ""][..], true),
            (&[""], false),
            (&["", "out"], false),
            (&["", "draining"], false),
            (&["", "backup"], true),
        ] {
            let backends = backends(kinds);
            assert_eq!(has_another(&backends, &backends[0], now), has, "{kinds:?}");
        }
    }
}

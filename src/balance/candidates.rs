//! Which backends may be chosen now? Health, draining, backups, slow start and sickness all are behind this one question.

use crate::backend::{Backend, Usable};
use crate::balance::strategies::Candidate;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which backends may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionOptions {
    /// Where no backend is usable: are all of them tried, or is the request refused? Tried.
    pub fail_open: bool,
    /// In which time a backend that has returned gets its full share again. 0.
    pub slow_start: Duration,
    /// How many requests one backend may be serving at a time. Three quarters of the workers; all if it is
    /// the only one.
    pub max_in_flight: Option<usize>,
}

impl Default for SelectionOptions {
    fn default() -> Self {
        SelectionOptions { fail_open: true, slow_start: Duration::ZERO, max_in_flight: None }
    }
}

impl SelectionOptions {
    /// How many requests one of so many backends may be serving at a time: one that hangs must not have
    /// all the workers.
    pub fn most_in_flight(&self, workers: usize, backends: usize) -> usize {
        let default = if backends > 1 { (workers * 3 / 4).max(1) } else { workers };
        self.max_in_flight.unwrap_or(default)
    }
}

/// A backend that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Which one it is, of all.
    pub index: usize,
    /// It gets one request at a time until it has shown that it serves.
    pub on_trial: bool,
}

impl Chance {
    /// How many requests it may be serving, where its own limit is not lower.
    pub fn most(&self) -> usize {
        if self.on_trial { 1 } else { usize::MAX }
    }
}

/// The backends that may be chosen now, of those that have not been tried: first all that are usable, then the
/// backups that are (beside those on trial, if there is nobody else), and then, rather than nobody, whoever is left.
/// Nobody who drains is among them.
pub fn candidates(backends: &[Arc<Backend>], tried: &[usize], fail_open: bool, now: Instant) -> Vec<Chance> {
    let mut tiers = [const { Vec::new() }; 3];
    for (index, backend) in backends.iter().enumerate() {
        if backend.is_draining() || tried.contains(&index) {
            continue;
        }
        let health_state = backend.health_state().usable(now);
        let tier = match health_state {
            Usable::No if !fail_open => continue,
            Usable::No => 2,
            _ if backend.is_backup() => 1,
            _ => 0,
        };
        tiers[tier].push(Chance { index, on_trial: health_state == Usable::OnTrial });
    }
    let [mut best, backups, others] = tiers;
    if best.iter().all(|chance| chance.on_trial) {
        best.extend(backups); // who is on trial gets one request at a time: somebody has to serve the others
    }
    if best.is_empty() {
        best = others;
    }
    if best.iter().all(|chance| chance.on_trial) {
        best.iter_mut().for_each(|chance| chance.on_trial = false); // there is nobody to take over
    }
    best
}

/// What a strategy sees of them.
pub fn seen<'a>(
    backends: &'a [Arc<Backend>],
    chances: &[Chance],
    slow_start: Duration,
    now: Instant,
) -> Vec<Candidate<'a>> {
    let candidate = |chance: &Chance| {
        let backend = backends[chance.index].as_ref();
        let ramp = backend.health_state().ramp(now, slow_start);
        Candidate { backend, weight: f64::from(backend.weight()) * ramp }
    };
    chances.iter().map(candidate).collect()
}

/// Is any other than this one usable?
pub fn has_another(backends: &[Arc<Backend>], than: &Backend, now: Instant) -> bool {
    let mut others = backends.iter().filter(|other| other.id() != than.id());
    others.any(|other| !other.is_draining() && other.health_state().usable(now) == Usable::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::ejection::{self, Cause};
    use std::net::SocketAddr;

    fn backends(parts: &[&str]) -> Vec<Arc<Backend>> {
        let now = Instant::now();
        let make = |(port, part): (u16, &&str)| {
            let place = SocketAddr::from(([127, 0, 0, 1], port)).into();
            let backend = Backend::new(place, 1, part.contains("backup"), &Arc::default());
            if part.contains("out") {
                backend.health_state().failed(
                    Cause::Connect,
                    now,
                    now,
                    &ejection::EjectionOptions::default(),
                );
                backend.health_state().eject("on purpose", now, now, &ejection::EjectionOptions::default());
            }
            if part.contains("draining") {
                backend.drain();
            }
            Arc::new(backend)
        };
        (1..).zip(parts).map(make).collect()
    }

    fn chosen(parts: &[&str], tried: &[usize], fail_open: bool) -> Vec<usize> {
        let chances = candidates(&backends(parts), tried, fail_open, Instant::now());
        assert!(chances.iter().all(|chance| !chance.on_trial));
        chances.iter().map(|chance| chance.index).collect()
    }

    #[test]
    fn the_table() {
        for (parts, tried, open, shut) in [
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
            assert_eq!(chosen(parts, tried, true), open, "{parts:?} without {tried:?}");
            assert_eq!(chosen(parts, tried, false), shut, "{parts:?} without {tried:?}, refusing");
        }
    }

    #[test]
    fn whose_time_is_over_is_on_trial_unless_there_is_nobody_else() {
        let later = Instant::now() + Duration::from_secs(60);
        let on_trial = |parts| {
            let chances = candidates(&backends(parts), &[], true, later);
            chances.iter().map(|chance| chance.on_trial).collect::<Vec<_>>()
        };
        assert_eq!(on_trial(&["", "out"]), [false, true]);
        assert_eq!(on_trial(&["out", "out"]), [false, false]);
    }

    #[test]
    fn one_of_several_may_have_three_quarters_of_the_workers() {
        let options = SelectionOptions::default();
        let most = |workers, backends| options.most_in_flight(workers, backends);
        assert_eq!([most(64, 2), most(64, 1), most(8, 3), most(1, 2)], [48, 64, 6, 1]);
        assert_eq!(SelectionOptions { max_in_flight: Some(5), ..options }.most_in_flight(64, 2), 5);
    }

    #[test]
    fn another_is_one_that_is_usable() {
        let now = Instant::now();
        for (parts, has) in [
            (&["", ""][..], true),
            (&[""], false),
            (&["", "out"], false),
            (&["", "draining"], false),
            (&["", "backup"], true),
        ] {
            let backends = backends(parts);
            assert_eq!(has_another(&backends, &backends[0], now), has, "{parts:?}");
        }
    }
}

//! The thread that sees to it that backends are checked, and names looked up, in time and side by side.
//!
//! It only keeps the timetable: each check is made by a thread of its own, which is gone again when the check is over. So
//! one backend that stalls delays nobody else's check, and however many there are, one thread is all that stays.

use super::probe::{self, Handle, Kind};
use super::{HealthOptions, next_pause};
use crate::backend::ejection::Cause;
use crate::backend::{Backend, Change};
use crate::cluster::membership::Membership;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::sys::threads::ThreadGroup;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long the timetable is left alone when nobody is to be checked: until somebody says that there is.
const NOTHING_TO_DO: Duration = Duration::from_secs(3600);

/// Keeps the timetable.
pub struct Prober {
    members: Arc<Membership>,
    threads: Arc<ThreadGroup>,
    rounds: HashMap<u64, Round>,
    /// When that was done last.
    looked_up: Instant,
    /// Held by whoever is looking them up.
    lookup: Weak<()>,
}

/// One backend's checks.
struct Round {
    due: Instant,
    /// What ends the check that was begun last. The check has the only strong hold of it.
    check: Weak<Handle>,
}

impl Round {
    fn break_off(&self) {
        if let Some(handle) = self.check.upgrade() {
            handle.end();
        }
    }
}

impl Prober {
    /// Has these members checked, and their names looked up, by threads of this threads.
    pub fn new(members: Arc<Membership>, threads: Arc<ThreadGroup>) -> Self {
        Prober { members, threads, rounds: HashMap::new(), looked_up: Instant::now(), lookup: Weak::new() }
    }

    /// Works until the end. Checks that are under way then are broken off, and say nothing about their backends.
    pub fn run(mut self) {
        loop {
            let checks = self.check_who_is_due(&self.members.snapshot().get());
            let names = self.look_up_names();
            let next = checks.into_iter().chain(names).min();
            let pause = next.map_or(NOTHING_TO_DO, |due| due.saturating_duration_since(Instant::now()));
            if !self.members.wait_for_change(pause) {
                break;
            }
        }
        self.rounds.values().for_each(Round::break_off);
    }

    /// Begins the checks whose time has come. Returns when the next one's does.
    fn check_who_is_due(&mut self, snapshot: &Arc<RoutingSnapshot>) -> Option<Instant> {
        let backends: &[_] = if snapshot.health.on { &snapshot.selector.backends } else { &[] };
        self.forget_all_but(backends);
        let now = Instant::now();
        let latest = now + next_pause(snapshot.health.interval, 1.0); // or else a pause from before a reload may hold
        for backend in backends {
            let round = self.rounds.entry(backend.id()).or_insert_with(|| {
                // Until then it counts as usable: who has many backends does not meet them all at once.
                Round { due: now + next_pause(snapshot.health.interval, fastrand::f64()), check: Weak::new() }
            });
            if round.due > now {
                round.due = round.due.min(latest);
                continue;
            }
            round.due = now + next_pause(snapshot.health.interval, fastrand::f64());
            if round.check.strong_count() == 0 {
                round.check = begin(&self.threads, snapshot, backend);
            }
        }
        self.rounds.values().map(|round| round.due).min()
    }

    /// Has names looked up if it is time. Returns when it is the next time.
    fn look_up_names(&mut self) -> Option<Instant> {
        let interval = self.members.resolve_interval()?;
        let now = Instant::now();
        let due = self.looked_up + interval;
        if due > now {
            return Some(due);
        }
        self.looked_up = now;
        if self.lookup.strong_count() == 0 {
            let (members, at_work) = (Arc::clone(&self.members), Arc::new(()));
            self.lookup = Arc::downgrade(&at_work);
            let look_up = move || {
                members.look_up_names();
                drop(at_work);
            };
            if let Err(error) = self.threads.start("names", look_up) {
                tracing::warn!("names are not looked up this time: {error}");
            }
        }
        Some(now + interval)
    }

    /// Breaks off the checks of those who have left.
    fn forget_all_but(&mut self, backends: &[Arc<Backend>]) {
        self.rounds.retain(|id, round| {
            let stays = backends.iter().any(|backend| backend.id() == *id);
            if !stays {
                round.break_off();
            }
            stays
        });
    }
}

/// Begins a check. Where there is no thread to be had it is left out: that is not the backend's fault.
fn begin(threads: &ThreadGroup, snapshot: &Arc<RoutingSnapshot>, backend: &Arc<Backend>) -> Weak<Handle> {
    let handle = Arc::new(Handle::default());
    let check = Arc::downgrade(&handle);
    let (snapshot, backend) = (Arc::clone(snapshot), Arc::clone(backend));
    if let Err(error) = threads.start("check", move || make_check(&snapshot, &backend, &handle)) {
        tracing::warn!("a check is left out: {error}");
    }
    check
}

/// Asks one backend how it is, and notes what it says.
fn make_check(snapshot: &RoutingSnapshot, backend: &Backend, handle: &Handle) {
    let (health, name) = (&snapshot.health, backend.authority());
    let proof = backend.health_state().wants_proof();
    let kind = kind(health, proof);
    let result = probe::probe(&backend.place().addresses, name.as_str(), &kind, health.timeout, handle);
    if handle.has_ended() {
        return;
    }
    let saw = result.clone().unwrap_or_else(|why| why);
    match backend.health_state().checked(result, proof, health.thresholds(), &health.ejection, Instant::now())
    {
        None => return,
        Some(Change::Down) => tracing::warn!("backend {name} is down: {saw}"),
        Some(Change::Up) => tracing::info!("backend {name} is up: {saw}"),
        Some(Change::Back) => tracing::info!("backend {name} is back: {saw}"),
    }
    snapshot.common.room.look_again();
}

/// What is asked. Whoever was taken out because it did not reply has to reply: a process that hangs can be
/// connected to all the while.
fn kind(health: &HealthOptions, out: Option<Cause>) -> Kind {
    match (&health.path, out) {
        (Some(path), _) => Kind::Get { path: path.clone(), statuses: health.statuses.clone() },
        (None, Some(Cause::Reply)) => Kind::AnyReply { path: "/".to_owned() },
        (None, _) => Kind::Connect,
    }
}

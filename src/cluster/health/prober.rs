//! The thread that starts the checks of backends and the lookups of names when they are due.
//!
//! It only keeps the schedule: each check runs on a short-lived thread of its own, so a backend that stalls does not
//! delay the checks of the others, and only one thread is permanent.

use super::options::HealthOptions;
use super::probe::handle::ProbeHandle;
use super::probe::run::{self, ProbeKind};
use super::schedule::next_pause;
use crate::backend::ejection::tracker::FailureCause;
use crate::backend::health_report::HealthChange;
use crate::backend::instance::Backend;
use crate::cluster::membership::Membership;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::sys::threads::ThreadGroup;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The wait when nothing is scheduled. A change of the membership ends it.
const IDLE_WAIT: Duration = Duration::from_secs(3600);

/// Starts checks and lookups when they are due.
pub struct Prober {
    members: Arc<Membership>,
    threads: Arc<ThreadGroup>,
    /// By the id of the backend.
    schedules: HashMap<u64, CheckSchedule>,
    /// When the last lookup began.
    looked_up: Instant,
    /// Alive while a lookup is under way.
    lookup: Weak<()>,
}

/// The checks of one backend.
struct CheckSchedule {
    due: Instant,
    /// Ends the last check. Alive while that check is under way.
    check: Weak<ProbeHandle>,
}

impl CheckSchedule {
    fn end_check(&self) {
        if let Some(handle) = self.check.upgrade() {
            handle.end();
        }
    }
}

impl Prober {
    /// Creates a prober of these members, whose checks run in this thread group.
    pub fn new(members: Arc<Membership>, threads: Arc<ThreadGroup>) -> Self {
        Prober { members, threads, schedules: HashMap::new(), looked_up: Instant::now(), lookup: Weak::new() }
    }

    /// Runs until the membership is closed. Checks under way are then ended without a result.
    pub fn run(mut self) {
        loop {
            let checks = self.start_due_checks(&self.members.snapshot().get());
            let names = self.look_up_names();
            let next = checks.into_iter().chain(names).min();
            let pause = next.map_or(IDLE_WAIT, |due| due.saturating_duration_since(Instant::now()));
            if !self.members.wait_for_change(pause) {
                break;
            }
        }
        self.schedules.values().for_each(CheckSchedule::end_check);
    }

    /// Starts the checks that are due, and returns when the next one will be, or `None` without any.
    fn start_due_checks(&mut self, snapshot: &Arc<RoutingSnapshot>) -> Option<Instant> {
        let backends: &[_] = if snapshot.health.on { &snapshot.selector.backends } else { &[] };
        self.retain_backends(backends);
        let now = Instant::now();
        let latest = now + next_pause(snapshot.health.interval, 1.0); // a pause chosen before a reload may be longer
        for backend in backends {
            let schedule = self.schedules.entry(backend.id()).or_insert_with(|| {
                // A backend counts as usable until its first check. The first checks of many backends are spread out.
                CheckSchedule {
                    due: now + next_pause(snapshot.health.interval, fastrand::f64()),
                    check: Weak::new(),
                }
            });
            if schedule.due > now {
                schedule.due = schedule.due.min(latest);
                continue;
            }
            schedule.due = now + next_pause(snapshot.health.interval, fastrand::f64());
            if schedule.check.strong_count() == 0 {
                schedule.check = start_check(&self.threads, snapshot, backend);
            }
        }
        self.schedules.values().map(|schedule| schedule.due).min()
    }

    /// Starts a lookup of names if it is due, and returns when the next one will be, or `None` without any names.
    fn look_up_names(&mut self) -> Option<Instant> {
        let interval = self.members.resolve_interval()?;
        let now = Instant::now();
        let due = self.looked_up + interval;
        if due > now {
            return Some(due);
        }
        self.looked_up = now;
        if self.lookup.strong_count() == 0 {
            let (members, under_way) = (Arc::clone(&self.members), Arc::new(()));
            self.lookup = Arc::downgrade(&under_way);
            let look_up = move || {
                members.look_up_names();
                drop(under_way);
            };
            if let Err(error) = self.threads.start("names", look_up) {
                tracing::warn!(
                    "this lookup of backend names is skipped, because no thread could be started: {error}"
                );
            }
        }
        Some(now + interval)
    }

    /// Ends the checks of backends that were removed.
    fn retain_backends(&mut self, backends: &[Arc<Backend>]) {
        self.schedules.retain(|id, schedule| {
            let stays = backends.iter().any(|backend| backend.id() == *id);
            if !stays {
                schedule.end_check();
            }
            stays
        });
    }
}

/// Starts a check. If no thread can be started, the check is skipped, and does not count as a failure of the backend.
fn start_check(
    threads: &ThreadGroup,
    snapshot: &Arc<RoutingSnapshot>,
    backend: &Arc<Backend>,
) -> Weak<ProbeHandle> {
    let handle = Arc::new(ProbeHandle::default());
    let check = Arc::downgrade(&handle);
    let (snapshot, backend) = (Arc::clone(snapshot), Arc::clone(backend));
    if let Err(error) = threads.start("check", move || run_check(&snapshot, &backend, &handle)) {
        tracing::warn!("a health check is skipped, because no thread could be started: {error}");
    }
    check
}

/// Makes one check and records its result.
fn run_check(snapshot: &RoutingSnapshot, backend: &Backend, handle: &ProbeHandle) {
    let (health, name) = (&snapshot.health, backend.authority());
    let proof = backend.health_state().required_proof();
    let kind = probe_kind(health, proof);
    let result = run::probe(&backend.address().addresses, name.as_str(), &kind, health.timeout, handle);
    if handle.has_ended() {
        return;
    }
    let observed = result.clone().unwrap_or_else(|why| why);
    match backend.health_state().record_check(
        result,
        proof,
        health.thresholds(),
        &health.ejection,
        Instant::now(),
    ) {
        None => return,
        Some(HealthChange::Down) => tracing::warn!("backend {name} is down: {observed}"),
        Some(HealthChange::Up) => tracing::info!("backend {name} is up: {observed}"),
        Some(HealthChange::Readmitted) => tracing::info!("backend {name} is back in rotation: {observed}"),
    }
    snapshot.shared.queue.announce_change();
}

/// Returns the kind of the next check. A backend that was ejected because it did not reply has to reply, since a backend
/// that hangs still accepts connections.
fn probe_kind(health: &HealthOptions, proof: Option<FailureCause>) -> ProbeKind {
    match (&health.path, proof) {
        (Some(path), _) => ProbeKind::Get { path: path.clone(), statuses: health.statuses.clone() },
        (None, Some(FailureCause::Reply)) => ProbeKind::AnyReply { path: "/".to_owned() },
        (None, _) => ProbeKind::Connect,
    }
}

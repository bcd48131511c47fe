//! Whether a backend may be selected now: the results of checks and requests, published as one atomic word.

use super::checks::{CheckState, Checks, Thresholds};
use super::ejection::options::EjectionOptions;
use super::ejection::tracker::{EjectionTracker, FailureCause};
use super::health_report::{HealthChange, HealthReport};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Times are stored as nanoseconds since this one, so that an atomic word can hold them.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The backend is in rotation.
const IN: u64 = 0;

/// The backend is out until a check brings it back.
const UNTIL_CHECKED: u64 = u64::MAX;

/// The share of its weight with which a backend begins its slow start.
const FIRST_SHARE: f64 = 0.1;

/// Whether a backend may be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// It may.
    Yes,
    /// Its ejection is over, and only a request can show whether it works again: one at a time.
    OnTrial,
    /// It may not while another is usable.
    No,
}

/// The health of a backend.
#[derive(Debug)]
pub struct HealthState {
    /// [`IN`], [`UNTIL_CHECKED`], or the time from which it is on trial.
    out_until: AtomicU64,
    /// The time of its last return; 0 if it was never out.
    returned: AtomicU64,
    /// Whether the last try failed.
    failing: AtomicBool,
    facts: Mutex<HealthFacts>,
}

#[derive(Debug)]
struct HealthFacts {
    checks: Checks,
    ejection: EjectionTracker,
    /// Whether it is checked: then a check brings it back, and not the passing of time.
    checked: bool,
    drain_changed: Option<Instant>,
}

fn nanos_since_epoch(at: Instant) -> u64 {
    let nanos = at.saturating_duration_since(*EPOCH).as_nanos();
    u64::try_from(nanos).unwrap_or(UNTIL_CHECKED - 1).max(1)
}

impl HealthState {
    /// Creates the state of an unknown backend. It is usable, so that the first request need not wait for a check.
    pub fn new(now: Instant) -> Self {
        LazyLock::force(&EPOCH);
        let facts = HealthFacts {
            checks: Checks::new(now),
            ejection: EjectionTracker::default(),
            checked: false,
            drain_changed: None,
        };
        HealthState {
            out_until: AtomicU64::new(IN),
            returned: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            facts: Mutex::new(facts),
        }
    }

    /// Returns whether it may be selected.
    pub fn usable(&self, now: Instant) -> Usable {
        match self.out_until.load(Relaxed) {
            IN => Usable::Yes,
            until if until <= nanos_since_epoch(now) => Usable::OnTrial,
            _ => Usable::No,
        }
    }

    /// Returns the fraction of its weight that counts now: less than 1 during a slow start.
    pub fn ramp(&self, now: Instant, slow_start: Duration) -> f64 {
        let returned = self.returned.load(Relaxed);
        if returned == 0 || slow_start.is_zero() {
            return 1.0;
        }
        let back_for = Duration::from_nanos(nanos_since_epoch(now).saturating_sub(returned));
        (back_for.as_secs_f64() / slow_start.as_secs_f64()).clamp(FIRST_SHARE, 1.0)
    }

    /// Turns its checks on or off. A change forgets the results of earlier checks.
    pub fn set_checked(&self, checked: bool, now: Instant) {
        let mut facts = self.lock();
        if facts.checked != checked {
            facts.checked = checked;
            facts.checks = Checks::new(now);
            self.publish(&facts, now);
        }
    }

    /// Records a check that was to give this proof, and returns what it changed.
    pub fn record_check(
        &self,
        result: Result<String, String>,
        proof: Option<FailureCause>,
        thresholds: Thresholds,
        options: &EjectionOptions,
        now: Instant,
    ) -> Option<HealthChange> {
        let mut facts = self.lock();
        let good = result.is_ok();
        let state = facts.checks.record(result, thresholds, now);
        // A check that began before the ejection may have tested less than the return requires.
        let is_proof = facts.ejection.active().map(|active| active.cause) == proof;
        let readmitted = is_proof && facts.ejection.record_probe(good, thresholds.rise, now, options);
        self.publish(&facts, now);
        match state {
            Some(CheckState::Down) => Some(HealthChange::Down),
            Some(CheckState::Up) if facts.ejection.active().is_none() => Some(HealthChange::Up),
            _ => readmitted.then_some(HealthChange::Readmitted),
        }
    }

    /// Returns what a check must prove to work, or `None` unless it is ejected.
    pub fn required_proof(&self) -> Option<FailureCause> {
        self.lock().ejection.active().map(|active| active.cause)
    }

    /// Records a successful request and returns whether that is news: the try before had failed, or it was ejected.
    pub fn record_success(&self, began: Instant, now: Instant) -> bool {
        if !self.failing.load(Relaxed) {
            return false; // the common case costs one load
        }
        let mut facts = self.lock();
        match facts.ejection.active() {
            None => facts.ejection.record_success(now),
            Some(active) if began > active.since => facts.ejection.readmit(now),
            Some(_) => return false, // it was sent before the ejection
        }
        self.failing.store(false, Relaxed);
        self.publish(&facts, now);
        true
    }

    /// Records a failed request. Returns whether that is news, and whether the backend should be ejected.
    pub fn record_failure(
        &self,
        cause: FailureCause,
        began: Instant,
        now: Instant,
        options: &EjectionOptions,
    ) -> (bool, bool) {
        let mut facts = self.lock();
        let news = !self.failing.swap(true, Relaxed);
        let on_trial = self.usable(now) == Usable::OnTrial;
        let due = match facts.ejection.active() {
            None => facts.ejection.record_failure(cause, began, now, options),
            Some(active) => on_trial && began > active.since,
        };
        (news, due)
    }

    /// Ejects it for a request that began then. Returns for how long, or `None` if the backend was ejected in the
    /// meantime for what this request met as well.
    pub fn eject(
        &self,
        why: &str,
        began: Instant,
        now: Instant,
        options: &EjectionOptions,
    ) -> Option<Duration> {
        let mut facts = self.lock();
        match facts.ejection.active() {
            None if facts.ejection.precedes_readmission(began) => return None,
            None => {}
            Some(active) if began <= active.since || self.usable(now) != Usable::OnTrial => return None,
            Some(_) => facts.ejection.readmit(now), // its trial failed: the next ejection is longer
        }
        facts.ejection.eject(why, now, options);
        self.publish(&facts, now);
        facts.ejection.active().map(|active| active.until.saturating_duration_since(now))
    }

    /// Records that it was drained or resumed.
    pub fn drain_changed(&self, now: Instant) {
        self.lock().drain_changed = Some(now);
    }

    /// Returns its health for people.
    pub fn report(&self) -> HealthReport {
        let facts = self.lock();
        let (checks, drain_changed) = (&facts.checks, facts.drain_changed);
        let (state, since, why) = match facts.ejection.active() {
            Some(active) if checks.state() != CheckState::Down => {
                (CheckState::Down, active.since, format!("taken out: {}", active.why))
            }
            _ => (checks.state(), checks.since(), checks.why().to_owned()),
        };
        HealthReport { state, since, why, drain_changed }
    }

    /// Writes the consequence of the facts to the word that workers read.
    fn publish(&self, facts: &HealthFacts, now: Instant) {
        let until = match facts.ejection.active() {
            _ if !facts.checks.state().is_usable() => UNTIL_CHECKED,
            None => IN,
            Some(_) if facts.checked => UNTIL_CHECKED,
            Some(active) => nanos_since_epoch(active.until),
        };
        let before = self.out_until.swap(until, Relaxed);
        if before != IN && until == IN {
            self.returned.store(nanos_since_epoch(now), Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HealthFacts> {
        // Each change is complete before anything can panic.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: EjectionOptions = EjectionOptions {
        max_fails: 2,
        fail_timeout: Duration::from_secs(10),
        longest: Duration::from_secs(60),
    };

    /// A health state with a clock in seconds since the start.
    struct TimedHealth {
        health_state: HealthState,
        start: Instant,
    }

    impl TimedHealth {
        fn new(checked: bool) -> Self {
            let start = Instant::now();
            let health_state = HealthState::new(start);
            health_state.set_checked(checked, start);
            TimedHealth { health_state, start }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// Records a request that fails at once, and returns whether the backend should be ejected.
        fn fails(&self, cause: FailureCause, second: u64) -> bool {
            self.health_state.record_failure(cause, self.at(second), self.at(second), &OPTIONS).1
        }

        fn eject(&self, cause: FailureCause, second: u64) {
            assert!(!self.fails(cause, second));
            assert!(self.fails(cause, second));
            self.health_state.eject("on purpose", self.at(second), self.at(second), &OPTIONS);
        }

        fn check(&self, good: bool, second: u64) -> Option<HealthChange> {
            let result = if good { Ok("connected".to_owned()) } else { Err("refused".to_owned()) };
            let proof = self.health_state.required_proof();
            self.health_state.record_check(result, proof, Thresholds::default(), &OPTIONS, self.at(second))
        }

        fn usable(&self, second: u64) -> Usable {
            self.health_state.usable(self.at(second))
        }

        fn state(&self) -> (CheckState, String) {
            let report = self.health_state.report();
            (report.state, report.why)
        }
    }

    #[test]
    fn checks_change_the_state() {
        let timed = TimedHealth::new(true);
        assert_eq!((timed.usable(0), timed.state().0), (Usable::Yes, CheckState::Checking));
        let changes = [1, 2, 3].map(|second| timed.check(false, second));
        assert_eq!(changes, [None, None, Some(HealthChange::Down)]);
        assert_eq!(timed.usable(1000), Usable::No);
        assert_eq!(timed.state(), (CheckState::Down, "refused".to_owned()));
        assert_eq!([4, 5].map(|second| timed.check(true, second)), [None, Some(HealthChange::Up)]);
        assert_eq!((timed.usable(5), timed.state().0), (Usable::Yes, CheckState::Up));
    }

    #[test]
    fn a_success_between_failures_prevents_ejection() {
        let timed = TimedHealth::new(true);
        for second in 0..10 {
            assert!(!timed.fails(FailureCause::Reply, 2 * second));
            assert!(
                timed.health_state.record_success(timed.at(2 * second + 1), timed.at(2 * second + 1)),
                "news"
            );
            assert!(
                !timed.health_state.record_success(timed.at(2 * second + 1), timed.at(2 * second + 1)),
                "no news"
            );
        }
        assert_eq!(timed.usable(20), Usable::Yes);
    }

    #[test]
    fn an_ejected_backend_returns_when_checks_prove_it() {
        let timed = TimedHealth::new(true);
        timed.eject(FailureCause::Reply, 0);
        assert_eq!(
            (timed.usable(1), timed.usable(1000)),
            (Usable::No, Usable::No),
            "time alone does not readmit it"
        );
        assert_eq!(timed.health_state.required_proof(), Some(FailureCause::Reply));
        assert_eq!(timed.state(), (CheckState::Down, "taken out: on purpose".to_owned()));
        assert_eq!([timed.check(true, 1), timed.check(false, 2), timed.check(true, 3)], [None; 3]);
        assert_eq!(timed.check(true, 4), Some(HealthChange::Up));
        assert_eq!((timed.usable(4), timed.health_state.required_proof()), (Usable::Yes, None));
        timed.eject(FailureCause::Connect, 100);
        assert_eq!(
            [101, 102].map(|second| timed.check(true, second)),
            [None, Some(HealthChange::Readmitted)]
        );
    }

    #[test]
    fn without_checks_time_puts_it_on_trial() {
        let timed = TimedHealth::new(false);
        timed.eject(FailureCause::Reply, 0);
        assert_eq!([5, 9, 10].map(|second| timed.usable(second)), [Usable::No, Usable::No, Usable::OnTrial]);
        // A request fails: ejected again, for twice as long.
        assert!(timed.fails(FailureCause::Reply, 11));
        timed.health_state.eject("again", timed.at(11), timed.at(11), &OPTIONS);
        assert_eq!([30, 31].map(|second| timed.usable(second)), [Usable::No, Usable::OnTrial]);
        // A request succeeds: readmitted.
        assert!(timed.health_state.record_success(timed.at(32), timed.at(32)));
        assert_eq!(timed.usable(32), Usable::Yes);
    }

    #[test]
    fn requests_sent_before_the_ejection_change_nothing() {
        let timed = TimedHealth::new(false);
        timed.eject(FailureCause::Connect, 5);
        assert!(
            !timed.health_state.record_success(timed.at(4), timed.at(6)),
            "it was sent before the ejection"
        );
        assert_eq!(timed.usable(6), Usable::No);
        assert!(!timed.fails(FailureCause::Connect, 7), "it is already ejected");
        assert!(
            timed.health_state.record_success(timed.at(8), timed.at(8)),
            "it was sent during the ejection"
        );
        assert_eq!(timed.usable(8), Usable::Yes);
    }

    #[test]
    fn turning_checks_off_forgets_their_results() {
        let timed = TimedHealth::new(true);
        (1..4).for_each(|second| _ = timed.check(false, second));
        assert_eq!(timed.usable(5), Usable::No);
        timed.health_state.set_checked(false, timed.at(5));
        assert_eq!((timed.usable(5), timed.state().0), (Usable::Yes, CheckState::Checking));
    }

    #[test]
    fn a_backend_that_returns_starts_slowly() {
        let timed = TimedHealth::new(true);
        let slow_start = Duration::from_secs(20);
        assert!((timed.health_state.ramp(timed.at(0), slow_start) - 1.0).abs() < 1e-9, "it was never out");
        (1..4).for_each(|second| _ = timed.check(false, second));
        (4..6).for_each(|second| _ = timed.check(true, second));
        let ramp = |second| timed.health_state.ramp(timed.at(second), slow_start);
        for (second, share) in [(5, 0.1), (10, 0.25), (15, 0.5), (25, 1.0), (100, 1.0)] {
            assert!((ramp(second) - share).abs() < 1e-6, "{second}: {}", ramp(second));
        }
        assert!(
            (timed.health_state.ramp(timed.at(5), Duration::ZERO) - 1.0).abs() < 1e-9,
            "slow start is off"
        );
    }
}

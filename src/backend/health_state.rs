//! May a backend be chosen now? What checks and requests have shown, in one word that every worker reads.

use crate::backend::checks::{Checks, State, Thresholds};
use crate::backend::ejection::{self, Cause, Ejection};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Moments are counted from here, in nanoseconds, so that a word can hold one.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// It is in.
const IN: u64 = 0;

/// It is out until a check shows that it is back.
const UNTIL_SHOWN: u64 = u64::MAX;

/// The least share of its weight that a backend begins its slow start with.
const FIRST_SHARE: f64 = 0.1;

/// May it be chosen?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// Like any other.
    Yes,
    /// It was taken out, its time is over, and nothing but a request can show whether it is back.
    OnTrial,
    /// Not while there is another.
    No,
}

/// How a backend does.
#[derive(Debug)]
pub struct HealthState {
    /// [`IN`], [`UNTIL_SHOWN`], or the moment from which it is on trial.
    out_until: AtomicU64,
    /// When it came back last; 0 if it never was away.
    returned: AtomicU64,
    /// The last try failed.
    failing: AtomicBool,
    facts: Mutex<HealthFacts>,
}

#[derive(Debug)]
struct HealthFacts {
    checks: Checks,
    ejection: Ejection,
    /// Somebody checks it: then it is back when a check says so, not when a time is over.
    watched: bool,
    /// When it began, or ceased, to drain.
    turned: Option<Instant>,
}

/// What a check can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is down.
    Down,
    /// It is up.
    Up,
    /// It was taken out for requests that failed, and has shown that it is back.
    Back,
}

/// What is known of it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `checking`, `up` or `down`.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The last error or status, or what was seen.
    pub why: String,
    /// When it began to drain, or was resumed.
    pub turned: Option<Instant>,
}

fn moment(at: Instant) -> u64 {
    let nanos = at.saturating_duration_since(*BEGINNING).as_nanos();
    u64::try_from(nanos).unwrap_or(UNTIL_SHOWN - 1).max(1)
}

impl HealthState {
    /// Nothing is known of it: it counts as usable, so that the first request need not wait.
    pub fn new(now: Instant) -> Self {
        LazyLock::force(&BEGINNING);
        let facts = HealthFacts {
            checks: Checks::new(now),
            ejection: Ejection::default(),
            watched: false,
            turned: None,
        };
        HealthState {
            out_until: AtomicU64::new(IN),
            returned: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            facts: Mutex::new(facts),
        }
    }

    /// May it be chosen?
    pub fn usable(&self, now: Instant) -> Usable {
        match self.out_until.load(Relaxed) {
            IN => Usable::Yes,
            until if until <= moment(now) => Usable::OnTrial,
            _ => Usable::No,
        }
    }

    /// The part of its weight that counts now: less than 1 for a while after it has returned.
    pub fn ramp(&self, now: Instant, slow_start: Duration) -> f64 {
        let returned = self.returned.load(Relaxed);
        if returned == 0 || slow_start.is_zero() {
            return 1.0;
        }
        let back_for = Duration::from_nanos(moment(now).saturating_sub(returned));
        (back_for.as_secs_f64() / slow_start.as_secs_f64()).clamp(FIRST_SHARE, 1.0)
    }

    /// Somebody checks it from now on, or nobody does any more: what checks have shown is forgotten.
    pub fn watch(&self, watched: bool, now: Instant) {
        let mut facts = self.lock();
        if facts.watched != watched {
            facts.watched = watched;
            facts.checks = Checks::new(now);
            self.publish(&facts, now);
        }
    }

    /// A check has ended that asked for this proof. What that changes, if anything.
    pub fn checked(
        &self,
        result: Result<String, String>,
        asked_for: Option<Cause>,
        thresholds: Thresholds,
        options: &ejection::EjectionOptions,
        now: Instant,
    ) -> Option<Change> {
        let mut facts = self.lock();
        let good = result.is_ok();
        let state = facts.checks.note(result, thresholds, now);
        // A check that was begun before it was taken out has asked for less than is wanted now.
        let is_proof = facts.ejection.out().map(|out| out.cause) == asked_for;
        let back = is_proof && facts.ejection.probed(good, thresholds.rise, now, options);
        self.publish(&facts, now);
        match state {
            Some(State::Down) => Some(Change::Down),
            Some(State::Up) if facts.ejection.out().is_none() => Some(Change::Up),
            _ => back.then_some(Change::Back),
        }
    }

    /// What checks have to show of it, if requests took it out.
    pub fn wants_proof(&self) -> Option<Cause> {
        self.lock().ejection.out().map(|out| out.cause)
    }

    /// A request that was begun then has got its reply. True if that is news: the one before had failed, or it had been
    /// taken out.
    pub fn succeeded(&self, began: Instant, now: Instant) -> bool {
        if !self.failing.load(Relaxed) {
            return false; // nothing to take back: this is all that a good request costs
        }
        let mut facts = self.lock();
        match facts.ejection.out() {
            None => facts.ejection.succeeded(now),
            Some(out) if began > out.since => facts.ejection.readmit(now),
            Some(_) => return false, // it was under way already when the others failed
        }
        self.failing.store(false, Relaxed);
        self.publish(&facts, now);
        true
    }

    /// A request that was begun then has failed. Is that news, and is the backend to be taken out for it?
    pub fn failed(
        &self,
        cause: Cause,
        began: Instant,
        now: Instant,
        options: &ejection::EjectionOptions,
    ) -> (bool, bool) {
        let mut facts = self.lock();
        let news = !self.failing.swap(true, Relaxed);
        let on_trial = self.usable(now) == Usable::OnTrial;
        let due = match facts.ejection.out() {
            None => facts.ejection.failed(cause, began, now, options),
            Some(out) => on_trial && began > out.since,
        };
        (news, due)
    }

    /// Takes it out, for what a request has met that was begun then. Says for how long; nothing if that has happened
    /// since it was begun, for the same as this one has met.
    pub fn eject(
        &self,
        why: &str,
        began: Instant,
        now: Instant,
        options: &ejection::EjectionOptions,
    ) -> Option<Duration> {
        let mut facts = self.lock();
        match facts.ejection.out() {
            None if facts.ejection.is_past(began) => return None,
            None => {}
            Some(out) if began <= out.since || self.usable(now) != Usable::OnTrial => return None,
            Some(_) => facts.ejection.readmit(now), // for a moment: its trial is over, and it goes out for longer
        }
        facts.ejection.eject(why, now, options);
        self.publish(&facts, now);
        facts.ejection.out().map(|out| out.until.saturating_duration_since(now))
    }

    /// It begins to drain, or ceases to.
    pub fn turned(&self, now: Instant) {
        self.lock().turned = Some(now);
    }

    /// What is known of it.
    pub fn report(&self) -> Report {
        let facts = self.lock();
        let (checks, turned) = (&facts.checks, facts.turned);
        match facts.ejection.out() {
            Some(out) if checks.state() != State::Down => Report {
                state: State::Down,
                since: out.since,
                why: format!("taken out: {}", out.why),
                turned,
            },
            _ => {
                Report { state: checks.state(), since: checks.since(), why: checks.why().to_owned(), turned }
            }
        }
    }

    /// Writes what follows from the facts where workers look.
    fn publish(&self, facts: &HealthFacts, now: Instant) {
        let until = match facts.ejection.out() {
            _ if !facts.checks.state().is_usable() => UNTIL_SHOWN,
            None => IN,
            Some(_) if facts.watched => UNTIL_SHOWN,
            Some(out) => moment(out.until),
        };
        let before = self.out_until.swap(until, Relaxed);
        if before != IN && until == IN {
            self.returned.store(moment(now), Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HealthFacts> {
        // Each change is whole before anything could panic.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ejection::EjectionOptions = ejection::EjectionOptions {
        max_fails: 2,
        fail_timeout: Duration::from_secs(10),
        longest: Duration::from_secs(60),
    };

    /// A backend's health_state, on a clock of its own.
    struct Watch {
        health_state: HealthState,
        start: Instant,
    }

    impl Watch {
        fn new(watched: bool) -> Self {
            let start = Instant::now();
            let health_state = HealthState::new(start);
            health_state.watch(watched, start);
            Watch { health_state, start }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// A request fails at once. Is the backend to be taken out?
        fn fails(&self, cause: Cause, second: u64) -> bool {
            self.health_state.failed(cause, self.at(second), self.at(second), &OPTIONS).1
        }

        fn eject(&self, cause: Cause, second: u64) {
            assert!(!self.fails(cause, second));
            assert!(self.fails(cause, second));
            self.health_state.eject("on purpose", self.at(second), self.at(second), &OPTIONS);
        }

        fn check(&self, good: bool, second: u64) -> Option<Change> {
            let result = if good { Ok("connected".to_owned()) } else { Err("refused".to_owned()) };
            let proof = self.health_state.wants_proof();
            self.health_state.checked(result, proof, Thresholds::default(), &OPTIONS, self.at(second))
        }

        fn usable(&self, second: u64) -> Usable {
            self.health_state.usable(self.at(second))
        }

        fn state(&self) -> (State, String) {
            let report = self.health_state.report();
            (report.state, report.why)
        }
    }

    #[test]
    fn checks_take_it_down_and_bring_it_up() {
        let watch = Watch::new(true);
        assert_eq!((watch.usable(0), watch.state().0), (Usable::Yes, State::Checking));
        let changes = [1, 2, 3].map(|second| watch.check(false, second));
        assert_eq!(changes, [None, None, Some(Change::Down)]);
        assert_eq!(watch.usable(1000), Usable::No);
        assert_eq!(watch.state(), (State::Down, "refused".to_owned()));
        assert_eq!([4, 5].map(|second| watch.check(true, second)), [None, Some(Change::Up)]);
        assert_eq!((watch.usable(5), watch.state().0), (Usable::Yes, State::Up));
    }

    #[test]
    fn a_request_that_succeeds_between_two_failures_keeps_it_in() {
        let watch = Watch::new(true);
        for second in 0..10 {
            assert!(!watch.fails(Cause::Reply, 2 * second));
            assert!(watch.health_state.succeeded(watch.at(2 * second + 1), watch.at(2 * second + 1)), "news");
            assert!(
                !watch.health_state.succeeded(watch.at(2 * second + 1), watch.at(2 * second + 1)),
                "no news"
            );
        }
        assert_eq!(watch.usable(20), Usable::Yes);
    }

    #[test]
    fn who_was_taken_out_comes_back_when_checks_prove_it() {
        let watch = Watch::new(true);
        watch.eject(Cause::Reply, 0);
        assert_eq!((watch.usable(1), watch.usable(1000)), (Usable::No, Usable::No), "time alone is no proof");
        assert_eq!(watch.health_state.wants_proof(), Some(Cause::Reply));
        assert_eq!(watch.state(), (State::Down, "taken out: on purpose".to_owned()));
        assert_eq!([watch.check(true, 1), watch.check(false, 2), watch.check(true, 3)], [None; 3]);
        assert_eq!(watch.check(true, 4), Some(Change::Up));
        assert_eq!((watch.usable(4), watch.health_state.wants_proof()), (Usable::Yes, None));
        watch.eject(Cause::Connect, 100);
        assert_eq!([101, 102].map(|second| watch.check(true, second)), [None, Some(Change::Back)]);
    }

    #[test]
    fn where_nobody_checks_time_puts_it_on_trial() {
        let watch = Watch::new(false);
        watch.eject(Cause::Reply, 0);
        assert_eq!([5, 9, 10].map(|second| watch.usable(second)), [Usable::No, Usable::No, Usable::OnTrial]);
        // One request fails: out again, for twice as long.
        assert!(watch.fails(Cause::Reply, 11));
        watch.health_state.eject("again", watch.at(11), watch.at(11), &OPTIONS);
        assert_eq!([30, 31].map(|second| watch.usable(second)), [Usable::No, Usable::OnTrial]);
        // One succeeds: it is back.
        assert!(watch.health_state.succeeded(watch.at(32), watch.at(32)));
        assert_eq!(watch.usable(32), Usable::Yes);
    }

    #[test]
    fn what_was_under_way_before_it_was_taken_out_changes_nothing() {
        let watch = Watch::new(false);
        watch.eject(Cause::Connect, 5);
        assert!(!watch.health_state.succeeded(watch.at(4), watch.at(6)), "it had been begun before");
        assert_eq!(watch.usable(6), Usable::No);
        assert!(!watch.fails(Cause::Connect, 7), "it is out already");
        assert!(watch.health_state.succeeded(watch.at(8), watch.at(8)), "all were sick, and it served");
        assert_eq!(watch.usable(8), Usable::Yes);
    }

    #[test]
    fn who_is_not_checked_any_more_is_believed_again() {
        let watch = Watch::new(true);
        (1..4).for_each(|second| _ = watch.check(false, second));
        assert_eq!(watch.usable(5), Usable::No);
        watch.health_state.watch(false, watch.at(5));
        assert_eq!((watch.usable(5), watch.state().0), (Usable::Yes, State::Checking));
    }

    #[test]
    fn a_backend_that_is_back_gets_its_share_bit_by_bit() {
        let watch = Watch::new(true);
        let slow_start = Duration::from_secs(20);
        assert!((watch.health_state.ramp(watch.at(0), slow_start) - 1.0).abs() < 1e-9, "it never was away");
        (1..4).for_each(|second| _ = watch.check(false, second));
        (4..6).for_each(|second| _ = watch.check(true, second));
        let ramp = |second| watch.health_state.ramp(watch.at(second), slow_start);
        for (second, share) in [(5, 0.1), (10, 0.25), (15, 0.5), (25, 1.0), (100, 1.0)] {
            assert!((ramp(second) - share).abs() < 1e-6, "{second}: {}", ramp(second));
        }
        assert!((watch.health_state.ramp(watch.at(5), Duration::ZERO) - 1.0).abs() < 1e-9, "it is off");
    }
}

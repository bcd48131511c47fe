//! The failures of one backend, and its ejection.

use super::options::EjectionOptions;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The way in which a backend failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// No connection could be opened.
    Connect,
    /// A connection was open, but no usable reply came in time.
    Reply,
}

/// An ejection under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveEjection {
    /// When it began.
    pub since: Instant,
    /// When its length has passed. With health checks on, probes may end it earlier or later.
    pub until: Instant,
    /// The operation that a return probe must test: [`FailureCause::Reply`] if that was the cause of any counted failure,
    /// because a backend that hangs still accepts connections.
    pub cause: FailureCause,
    /// The reason, for people.
    pub why: String,
    /// Its number in a series of consecutive ejections, from 1.
    pub consecutive: u32,
}

/// The recent failures of one backend, and its ejection.
#[derive(Clone, Debug, Default)]
pub struct EjectionTracker {
    /// The failures since the last success, the oldest first, at most `max_fails`.
    failures: VecDeque<CountedFailure>,
    active: Option<ActiveEjection>,
    /// The number of consecutive successful return probes.
    good_probes: u32,
    last: Option<PastEjection>,
}

#[derive(Clone, Copy, Debug)]
struct CountedFailure {
    at: Instant,
    took: Duration,
    cause: FailureCause,
}

#[derive(Clone, Copy, Debug)]
struct PastEjection {
    ended: Instant,
    lasted: Duration,
    consecutive: u32,
}

impl EjectionTracker {
    /// Records a successful request: earlier failures no longer count.
    pub fn record_success(&mut self, now: Instant) {
        // Workers report in any order: a failure after this success stays.
        self.failures.retain(|failure| failure.at > now);
    }

    /// Records a failed request and returns whether the backend should be ejected. The caller decides with regard to the
    /// other backends; if it does not eject the backend, the next failure returns `true` again.
    ///
    /// During an ejection no failure is counted, because the requests were sent before it.
    pub fn record_failure(
        &mut self,
        cause: FailureCause,
        began: Instant,
        now: Instant,
        options: &EjectionOptions,
    ) -> bool {
        if options.max_fails == 0 || self.active.is_some() || self.precedes_readmission(began) {
            return false;
        }
        let took = now.saturating_duration_since(began);
        self.failures.push_back(CountedFailure { at: now, took, cause });
        let most = usize::try_from(options.max_fails).unwrap_or(usize::MAX);
        while self.failures.len() > most || self.is_first_too_old(now, options) {
            self.failures.pop_front();
        }
        self.failures.len() == most
    }

    /// Returns whether a request that began then was sent before the backend was last readmitted. Its outcome says
    /// nothing new.
    pub fn precedes_readmission(&self, began: Instant) -> bool {
        self.last.is_some_and(|last| began < last.ended)
    }

    /// Returns whether the first failure is too old to count. The time that requests waited does not count: with one
    /// request at a time, and a reply timeout longer than `fail_timeout`, a backend that hangs would never be ejected.
    fn is_first_too_old(&self, now: Instant, options: &EjectionOptions) -> bool {
        let waited = self.failures.iter().skip(1).map(|failure| failure.took).sum();
        let limit = options.fail_timeout.saturating_add(waited);
        self.failures.front().is_some_and(|first| now.saturating_duration_since(first.at) > limit)
    }

    /// Ejects the backend. Has no effect during an ejection, because two workers may decide to eject it at the same time.
    pub fn eject(&mut self, why: &str, now: Instant, options: &EjectionOptions) {
        if self.active.is_some() {
            return;
        }
        // A backend that has been in rotation for as long as its last ejection lasted starts a new series.
        let consecutive = match self.last {
            Some(last) if now.saturating_duration_since(last.ended) <= last.lasted => {
                last.consecutive.saturating_add(1)
            }
            _ => 1,
        };
        let only_connects = self.failures.iter().all(|failure| failure.cause == FailureCause::Connect);
        self.active = Some(ActiveEjection {
            since: now,
            until: now + options.full_time(consecutive),
            // Without a counted failure, the stronger proof is required.
            cause: if only_connects && !self.failures.is_empty() {
                FailureCause::Connect
            } else {
                FailureCause::Reply
            },
            why: why.to_owned(),
            consecutive,
        });
        self.failures.clear();
        self.good_probes = 0;
    }

    /// Returns the ejection under way, or `None`.
    pub fn active(&self) -> Option<&ActiveEjection> {
        self.active.as_ref()
    }

    /// Records a return probe and returns whether it ended the ejection: `rise` consecutive probes have succeeded
    /// (zero counts as one), and its least length has passed.
    pub fn record_probe(&mut self, ok: bool, rise: u32, now: Instant, options: &EjectionOptions) -> bool {
        let Some(active) = &self.active else { return false };
        self.good_probes = if ok { self.good_probes.saturating_add(1) } else { 0 };
        let least = options.least_time(active.cause == FailureCause::Connect, active.consecutive);
        let ends = now.saturating_duration_since(active.since) >= least && self.good_probes >= rise.max(1);
        if ends {
            self.readmit(now);
        }
        ends
    }

    /// Ends the ejection: a request sent during it has succeeded, or its trial is over.
    pub fn readmit(&mut self, now: Instant) {
        if let Some(active) = self.active.take() {
            let lasted = now.saturating_duration_since(active.since);
            self.last = Some(PastEjection { ended: now, lasted, consecutive: active.consecutive });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::ejection::options::ONE_YEAR;
    use FailureCause::{Connect, Reply};

    const OPTIONS: EjectionOptions = EjectionOptions {
        max_fails: 3,
        fail_timeout: Duration::from_secs(10),
        longest: Duration::from_secs(60),
    };

    /// A tracker with a clock in seconds since the start.
    struct TimedTracker {
        ejection: EjectionTracker,
        start: Instant,
    }

    impl TimedTracker {
        fn new() -> Self {
            TimedTracker { ejection: EjectionTracker::default(), start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn fails(&mut self, seconds: u64) -> bool {
            let now = self.at(seconds);
            self.ejection.record_failure(Connect, now, now, &OPTIONS)
        }

        /// Ejects it and returns its number in the series and its length in seconds.
        fn eject(&mut self, seconds: u64) -> (u32, u64) {
            let now = self.at(seconds);
            self.ejection.eject("no reply within 2s", now, &OPTIONS);
            let active = self.ejection.active().unwrap();
            (active.consecutive, active.until.duration_since(now).as_secs())
        }

        fn readmit(&mut self, seconds: u64) {
            let now = self.at(seconds);
            self.ejection.readmit(now);
            assert_eq!(self.ejection.active(), None);
        }

        fn probed(&mut self, ok: bool, seconds: u64) -> bool {
            let now = self.at(seconds);
            self.ejection.record_probe(ok, 2, now, &OPTIONS)
        }
    }

    #[test]
    fn ejects_after_consecutive_failures_close_together() {
        for (failures, expected) in [
            (vec![0, 0, 0], vec![false, false, true]),
            (vec![0, 5, 10], vec![false, false, true]),
            (vec![0, 5, 11], vec![false, false, false]),
            // The first is too old, the last three are not.
            (vec![0, 5, 11, 14], vec![false, false, false, true]),
            (vec![0, 11, 22, 33], vec![false; 4]),
            // The caller may have declined: each further failure returns true again.
            (vec![0, 1, 2, 3, 20, 21], vec![false, false, true, true, false, false]),
        ] {
            let mut timed = TimedTracker::new();
            let verdicts: Vec<bool> = failures.iter().map(|seconds| timed.fails(*seconds)).collect();
            assert_eq!(verdicts, expected, "{failures:?}");
        }
    }

    #[test]
    fn a_success_resets_the_count() {
        let mut timed = TimedTracker::new();
        assert!(!timed.fails(0) && !timed.fails(1));
        let now = timed.at(2);
        timed.ejection.record_success(now);
        assert!(!timed.fails(3) && !timed.fails(4));
        assert!(timed.fails(5));
    }

    #[test]
    fn a_success_reported_late_keeps_later_failures() {
        let mut timed = TimedTracker::new();
        assert!(!timed.fails(0) && !timed.fails(3));
        let now = timed.at(2);
        timed.ejection.record_success(now);
        assert!(!timed.fails(4));
        assert!(timed.fails(5));
    }

    #[test]
    fn zero_max_fails_never_ejects() {
        let off = EjectionOptions { max_fails: 0, ..OPTIONS };
        let mut ejection = EjectionTracker::default();
        let now = Instant::now();
        assert!((0..100).all(|_| !ejection.record_failure(Reply, now, now, &off)));
        let once = EjectionOptions { max_fails: 1, ..OPTIONS };
        assert!(ejection.record_failure(Reply, now, now, &once));
    }

    #[test]
    fn the_cause_is_the_one_that_needs_the_stronger_proof() {
        for (causes, expected) in [
            (vec![Connect; 3], Connect),
            (vec![Reply; 3], Reply),
            (vec![Connect, Connect, Reply], Reply),
            (vec![Reply, Connect, Connect], Reply),
            // The first no longer counts.
            (vec![Reply, Connect, Connect, Connect], Connect),
            (vec![], Reply),
        ] {
            let (mut ejection, now) = (EjectionTracker::default(), Instant::now());
            for cause in &causes {
                ejection.record_failure(*cause, now, now, &OPTIONS);
            }
            ejection.eject("why", now, &OPTIONS);
            assert_eq!(ejection.active().map(|active| active.cause), Some(expected), "{causes:?}");
        }
    }

    #[test]
    fn a_second_ejection_has_no_effect() {
        let mut timed = TimedTracker::new();
        let now = timed.at(0);
        timed.ejection.eject("connection refused", now, &OPTIONS);
        let out = timed.ejection.active().cloned();
        assert_eq!(
            out.as_ref().map(|active| (active.since, active.why.as_str())),
            Some((now, "connection refused"))
        );
        timed.eject(1);
        assert_eq!(timed.ejection.active().cloned(), out);
        // Requests sent before it neither count nor end it.
        assert!((2..10).all(|seconds| !timed.fails(seconds)));
        let now = timed.at(10);
        timed.ejection.record_success(now);
        assert_eq!(timed.ejection.active().cloned(), out);
    }

    #[test]
    fn the_count_starts_again_after_readmission() {
        let mut timed = TimedTracker::new();
        assert!(!timed.fails(0) && !timed.fails(0) && timed.fails(0));
        timed.eject(0);
        assert!(!timed.fails(1), "it was sent before the ejection");
        timed.readmit(2);
        assert!(!timed.fails(2) && !timed.fails(2));
        assert!(timed.fails(2));
    }

    #[test]
    fn consecutive_ejections_double_up_to_the_longest() {
        let mut timed = TimedTracker::new();
        let mut now = 0;
        for expected in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
            let (consecutive, time) = timed.eject(now);
            assert_eq!((consecutive, time), expected);
            timed.readmit(now + time);
            now += time + 1;
        }
    }

    #[test]
    fn a_series_ends_after_as_long_as_the_last_ejection_took() {
        for (after, expected) in [(0, (3, 40)), (20, (3, 40)), (21, (1, 10)), (1000, (1, 10))] {
            let mut timed = TimedTracker::new();
            timed.eject(0);
            timed.readmit(10);
            assert_eq!(timed.eject(15), (2, 20));
            timed.readmit(35); // was out for 20 s
            assert_eq!(timed.eject(35 + after), expected, "after {after} s");
        }
    }

    #[test]
    fn probes_alone_end_the_first_ejection() {
        let mut timed = TimedTracker::new();
        assert!(!timed.probed(true, 0), "no ejection is under way");
        timed.eject(0);
        assert!(!timed.probed(true, 1));
        assert!(!timed.probed(false, 2));
        assert!(!timed.probed(true, 3));
        assert!(timed.probed(true, 4));
        assert_eq!(timed.ejection.active(), None);
        // It lasted 4 s, so the series goes on for 4 s.
        assert_eq!(timed.eject(8), (2, 20));
    }

    #[test]
    fn from_the_third_ejection_on_a_least_time_must_pass() {
        let mut timed = TimedTracker::new();
        timed.eject(0);
        timed.readmit(10);
        assert_eq!(timed.eject(10), (2, 20));
        assert!(!timed.probed(true, 12) && timed.probed(true, 14));
        assert_eq!(timed.eject(16), (3, 40)); // 10 s at least
        assert!(!timed.probed(true, 18) && !timed.probed(true, 20) && !timed.probed(true, 25));
        assert!(timed.probed(true, 26));
        assert_eq!(timed.eject(30), (4, 60)); // 20 s at least
        assert!(!timed.probed(true, 40) && !timed.probed(true, 45));
        assert!(!timed.probed(false, 50), "they must succeed in a row");
        assert!(!timed.probed(true, 51));
        assert!(timed.probed(true, 52));
    }

    #[test]
    fn probes_of_an_earlier_ejection_do_not_count() {
        let mut timed = TimedTracker::new();
        timed.eject(0);
        assert!(!timed.probed(true, 1));
        timed.readmit(2);
        timed.eject(30);
        assert!(!timed.probed(true, 31));
        assert!(timed.probed(true, 32));
    }

    #[test]
    fn a_rise_of_zero_is_one() {
        let (mut ejection, now) = (EjectionTracker::default(), Instant::now());
        ejection.eject("why", now, &OPTIONS);
        assert!(!ejection.record_probe(false, 0, now, &OPTIONS));
        assert!(ejection.record_probe(true, 0, now, &OPTIONS));
    }

    #[test]
    fn an_endless_ejection_lasts_a_year() {
        let endless = EjectionOptions { fail_timeout: Duration::MAX, longest: Duration::MAX, ..OPTIONS };
        let (mut ejection, now) = (EjectionTracker::default(), Instant::now());
        ejection.eject("why", now, &endless);
        assert_eq!(ejection.active().map(|active| active.until), Some(now + ONE_YEAR));
    }
}

//! Passive ejection of one backend: what requests meet there, and for how long it is left out for it. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// No time out is longer, whatever is configured: a clock cannot count on for ever.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When a backend is taken out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectionOptions {
    /// How many requests in a row must fail. 3: one can be chance, and of two the second may be its repetition. 0
    /// turns ejection off.
    pub max_fails: u32,
    /// Within what time they must fail, from the first to the last, not counting the time that the later ones have
    /// waited; and how long the first time out is. 10 s.
    pub fail_timeout: Duration,
    /// The longest time out. 5 min: after that, the reason may well be another one.
    pub longest: Duration,
}

impl Default for EjectionOptions {
    fn default() -> Self {
        EjectionOptions {
            max_fails: 3,
            fail_timeout: Duration::from_secs(10),
            longest: Duration::from_secs(300),
        }
    }
}

impl EjectionOptions {
    /// `fail_timeout`, doubled so many times. The first few doublings reach any limit that makes sense, so it does
    /// not matter that the factor ends somewhere.
    fn doubled(&self, times: u32) -> Duration {
        let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
        self.fail_timeout.saturating_mul(factor).min(self.longest).min(A_YEAR)
    }

    /// How long the nth ejection in a row lasts when nothing but time can end it.
    fn full_time(&self, in_a_row: u32) -> Duration {
        self.doubled(in_a_row.saturating_sub(1))
    }

    /// How long it lasts at least when return probes can end it: as long as they take, when they ask for just
    /// what failed, and the first two times, as it may have died twice. A backend that was let back in, replied to
    /// probes, and failed again and again, has shown that its probes say too little.
    fn least_time(&self, cause: Cause, in_a_row: u32) -> Duration {
        if cause == Cause::Connect || in_a_row < 3 { Duration::ZERO } else { self.doubled(in_a_row - 3) }
    }
}

/// How a request failed, as far as the backend is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// There was no connection.
    Connect,
    /// There was one, but no usable reply in time.
    Reply,
}

/// A backend that has been taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// When it was taken out.
    pub since: Instant,
    /// When its time is over. With health checks on, probes may bring it back earlier, or later.
    pub until: Instant,
    /// What a return probe must show to work. [`Cause::Reply`] if one of the failures that counted was that: a
    /// backend that hangs can be connected to all the while.
    pub cause: Cause,
    /// Why, for people.
    pub why: String,
    /// Which ejection in a row this is. The first is 1.
    pub in_a_row: u32,
}

/// What requests have met at one backend.
#[derive(Clone, Debug, Default)]
pub struct Ejection {
    /// The failures since the last success, the oldest first: no more than `max_fails`.
    failures: VecDeque<Failure>,
    out: Option<Out>,
    /// Return probes in a row that went well.
    good_probes: u32,
    last: Option<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    at: Instant,
    took: Duration,
    cause: Cause,
}

/// An ejection that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    over: Instant,
    lasted: Duration,
    in_a_row: u32,
}

impl Ejection {
    /// A request went well: what failed before does not count any more.
    pub fn succeeded(&mut self, now: Instant) {
        // Workers come here in any order: what failed after this success stays.
        self.failures.retain(|failure| failure.at > now);
    }

    /// A request failed that was begun then. True if the backend should be taken out now. Whether it may be is for the caller to say,
    /// who knows the other backends; if it may not, the next failure asks again.
    ///
    /// While it is out, nothing is counted: those are requests that were under way before.
    pub fn failed(&mut self, cause: Cause, began: Instant, now: Instant, options: &EjectionOptions) -> bool {
        if options.max_fails == 0 || self.out.is_some() || self.is_past(began) {
            return false;
        }
        self.failures.push_back(Failure { at: now, took: now.saturating_duration_since(began), cause });
        let most = usize::try_from(options.max_fails).unwrap_or(usize::MAX);
        while self.failures.len() > most || self.is_first_too_old(now, options) {
            self.failures.pop_front();
        }
        self.failures.len() == most
    }

    /// Was a request that was begun then sent before it was last let back in? What it met was settled by that.
    pub fn is_past(&self, began: Instant) -> bool {
        self.last.is_some_and(|last| began < last.over)
    }

    /// The time that requests have waited does not count: where they come one at a time, and a reply may take longer
    /// than this timeout, a backend that hangs would never be found.
    fn is_first_too_old(&self, now: Instant, options: &EjectionOptions) -> bool {
        let waited = self.failures.iter().skip(1).map(|failure| failure.took).sum();
        let limit = options.fail_timeout.saturating_add(waited);
        self.failures.front().is_some_and(|first| now.saturating_duration_since(first.at) > limit)
    }

    /// Takes it out. If it is out already, nothing changes: two workers may have found the same.
    pub fn eject(&mut self, why: &str, now: Instant, options: &EjectionOptions) {
        if self.out.is_some() {
            return;
        }
        let in_a_row = match self.last {
            Some(last) if now.saturating_duration_since(last.over) <= last.lasted => {
                last.in_a_row.saturating_add(1)
            }
            _ => 1,
        };
        let connects = self.failures.iter().all(|failure| failure.cause == Cause::Connect);
        self.out = Some(Out {
            since: now,
            until: now + options.full_time(in_a_row),
            // Without any failure to go by, more has to be shown.
            cause: if connects && !self.failures.is_empty() { Cause::Connect } else { Cause::Reply },
            why: why.to_owned(),
            in_a_row,
        });
        self.failures.clear();
        self.good_probes = 0;
    }

    /// Is it out?
    pub fn out(&self) -> Option<&Out> {
        self.out.as_ref()
    }

    /// Takes down how a return probe went, while it is out. True if it is back: `rise` probes in a row have gone
    /// well (zero is taken for one) and it has been out for long enough, which is no time at all for the first
    /// ejection in a row, and half of the full time for each further one.
    pub fn probed(&mut self, ok: bool, rise: u32, now: Instant, options: &EjectionOptions) -> bool {
        let Some(out) = &self.out else { return false };
        self.good_probes = if ok { self.good_probes.saturating_add(1) } else { 0 };
        let long_enough =
            now.saturating_duration_since(out.since) >= options.least_time(out.cause, out.in_a_row);
        let is_back = long_enough && self.good_probes >= rise.max(1);
        if is_back {
            self.readmit(now);
        }
        is_back
    }

    /// Lets it back in: a request that was begun while it was out has gone well, or its trial is over.
    pub fn readmit(&mut self, now: Instant) {
        if let Some(out) = self.out.take() {
            let lasted = now.saturating_duration_since(out.since);
            self.last = Some(Past { over: now, lasted, in_a_row: out.in_a_row });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{Connect, Reply};

    const OPTIONS: EjectionOptions = EjectionOptions {
        max_fails: 3,
        fail_timeout: Duration::from_secs(10),
        longest: Duration::from_secs(60),
    };

    /// A backend, and a clock that stands at so many seconds.
    struct Watch {
        ejection: Ejection,
        start: Instant,
    }

    impl Watch {
        fn new() -> Self {
            Watch { ejection: Ejection::default(), start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn fails(&mut self, seconds: u64) -> bool {
            let now = self.at(seconds);
            self.ejection.failed(Connect, now, now, &OPTIONS)
        }

        /// Takes it out. Returns which one in a row that is, and after how many seconds its time is over.
        fn eject(&mut self, seconds: u64) -> (u32, u64) {
            let now = self.at(seconds);
            self.ejection.eject("no reply within 2s", now, &OPTIONS);
            let out = self.ejection.out().unwrap();
            (out.in_a_row, out.until.duration_since(now).as_secs())
        }

        fn readmit(&mut self, seconds: u64) {
            let now = self.at(seconds);
            self.ejection.readmit(now);
            assert_eq!(self.ejection.out(), None);
        }

        fn probed(&mut self, ok: bool, seconds: u64) -> bool {
            let now = self.at(seconds);
            self.ejection.probed(ok, 2, now, &OPTIONS)
        }
    }

    #[test]
    fn so_many_failures_in_a_row_and_not_too_far_apart() {
        for (failures, expected) in [
            (vec![0, 0, 0], vec![false, false, true]),
            (vec![0, 5, 10], vec![false, false, true]),
            (vec![0, 5, 11], vec![false, false, false]),
            // The first is too long ago, but the last three are not.
            (vec![0, 5, 11, 14], vec![false, false, false, true]),
            (vec![0, 11, 22, 33], vec![false; 4]),
            // The caller may have had to keep it: each further failure asks again.
            (vec![0, 1, 2, 3, 20, 21], vec![false, false, true, true, false, false]),
        ] {
            let mut watch = Watch::new();
            let verdicts: Vec<bool> = failures.iter().map(|seconds| watch.fails(*seconds)).collect();
            assert_eq!(verdicts, expected, "{failures:?}");
        }
    }

    #[test]
    fn a_success_ends_the_count() {
        let mut watch = Watch::new();
        assert!(!watch.fails(0) && !watch.fails(1));
        let now = watch.at(2);
        watch.ejection.succeeded(now);
        assert!(!watch.fails(3) && !watch.fails(4));
        assert!(watch.fails(5));
    }

    #[test]
    fn a_success_that_is_told_late_leaves_what_failed_after_it() {
        let mut watch = Watch::new();
        assert!(!watch.fails(0) && !watch.fails(3));
        let now = watch.at(2);
        watch.ejection.succeeded(now);
        assert!(!watch.fails(4));
        assert!(watch.fails(5));
    }

    #[test]
    fn no_failures_to_go_by_means_never() {
        let off = EjectionOptions { max_fails: 0, ..OPTIONS };
        let mut ejection = Ejection::default();
        let now = Instant::now();
        assert!((0..100).all(|_| !ejection.failed(Reply, now, now, &off)));
        let once = EjectionOptions { max_fails: 1, ..OPTIONS };
        assert!(ejection.failed(Reply, now, now, &once));
    }

    #[test]
    fn the_cause_is_the_one_that_is_harder_to_disprove() {
        for (causes, expected) in [
            (vec![Connect; 3], Connect),
            (vec![Reply; 3], Reply),
            (vec![Connect, Connect, Reply], Reply),
            (vec![Reply, Connect, Connect], Reply),
            // The first does not count any more.
            (vec![Reply, Connect, Connect, Connect], Connect),
            (vec![], Reply),
        ] {
            let (mut ejection, now) = (Ejection::default(), Instant::now());
            for cause in &causes {
                ejection.failed(*cause, now, now, &OPTIONS);
            }
            ejection.eject("why", now, &OPTIONS);
            assert_eq!(ejection.out().map(|out| out.cause), Some(expected), "{causes:?}");
        }
    }

    #[test]
    fn who_is_out_is_out_once() {
        let mut watch = Watch::new();
        let now = watch.at(0);
        watch.ejection.eject("connection refused", now, &OPTIONS);
        let out = watch.ejection.out().cloned();
        assert_eq!(out.as_ref().map(|out| (out.since, out.why.as_str())), Some((now, "connection refused")));
        watch.eject(1);
        assert_eq!(watch.ejection.out().cloned(), out);
        // What was under way neither counts nor brings it back.
        assert!((2..10).all(|seconds| !watch.fails(seconds)));
        let now = watch.at(10);
        watch.ejection.succeeded(now);
        assert_eq!(watch.ejection.out().cloned(), out);
    }

    #[test]
    fn who_is_back_begins_anew() {
        let mut watch = Watch::new();
        assert!(!watch.fails(0) && !watch.fails(0) && watch.fails(0));
        watch.eject(0);
        assert!(!watch.fails(1), "it was under way");
        watch.readmit(2);
        assert!(!watch.fails(2) && !watch.fails(2));
        assert!(watch.fails(2));
    }

    #[test]
    fn the_time_doubles_up_to_the_longest() {
        let mut watch = Watch::new();
        let mut now = 0;
        for expected in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
            let (in_a_row, time) = watch.eject(now);
            assert_eq!((in_a_row, time), expected);
            watch.readmit(now + time);
            now += time + 1;
        }
    }

    #[test]
    fn good_behaviour_for_as_long_as_it_was_out_is_forgiveness() {
        for (after, expected) in [(0, (3, 40)), (20, (3, 40)), (21, (1, 10)), (1000, (1, 10))] {
            let mut watch = Watch::new();
            watch.eject(0);
            watch.readmit(10);
            assert_eq!(watch.eject(15), (2, 20));
            watch.readmit(35); // has been out for 20 s
            assert_eq!(watch.eject(35 + after), expected, "after {after} s");
        }
    }

    #[test]
    fn the_first_time_probes_are_all_it_takes() {
        let mut watch = Watch::new();
        assert!(!watch.probed(true, 0), "it is not out");
        watch.eject(0);
        assert!(!watch.probed(true, 1));
        assert!(!watch.probed(false, 2));
        assert!(!watch.probed(true, 3));
        assert!(watch.probed(true, 4));
        assert_eq!(watch.ejection.out(), None);
        // It lasted for 4 s, so that is how long it has to prove itself.
        assert_eq!(watch.eject(8), (2, 20));
    }

    #[test]
    fn from_the_third_time_on_they_must_also_hold_out() {
        let mut watch = Watch::new();
        watch.eject(0);
        watch.readmit(10);
        assert_eq!(watch.eject(10), (2, 20));
        assert!(!watch.probed(true, 12) && watch.probed(true, 14));
        assert_eq!(watch.eject(16), (3, 40)); // 10 s at least
        assert!(!watch.probed(true, 18) && !watch.probed(true, 20) && !watch.probed(true, 25));
        assert!(watch.probed(true, 26));
        assert_eq!(watch.eject(30), (4, 60)); // 20 s at least
        assert!(!watch.probed(true, 40) && !watch.probed(true, 45));
        assert!(!watch.probed(false, 50), "they must go well in a row");
        assert!(!watch.probed(true, 51));
        assert!(watch.probed(true, 52));
    }

    #[test]
    fn probes_of_an_earlier_time_do_not_count() {
        let mut watch = Watch::new();
        watch.eject(0);
        assert!(!watch.probed(true, 1));
        watch.readmit(2);
        watch.eject(30);
        assert!(!watch.probed(true, 31));
        assert!(watch.probed(true, 32));
    }

    #[test]
    fn a_rise_of_zero_is_one() {
        let (mut ejection, now) = (Ejection::default(), Instant::now());
        ejection.eject("why", now, &OPTIONS);
        assert!(!ejection.probed(false, 0, now, &OPTIONS));
        assert!(ejection.probed(true, 0, now, &OPTIONS));
    }

    #[test]
    fn times_have_limits() {
        let times = [1, 2, 3, 4, 33, 34, u32::MAX].map(|n| OPTIONS.full_time(n).as_secs());
        assert_eq!(times, [10, 20, 40, 60, 60, 60, 60]);
        let least = [0, 1, 2, 3, 4, 5, u32::MAX].map(|n| OPTIONS.least_time(Cause::Reply, n).as_secs());
        assert_eq!(least, [0, 0, 0, 10, 20, 40, 60]);
        assert_eq!(OPTIONS.least_time(Cause::Connect, 9), Duration::ZERO);
        let endless = EjectionOptions { fail_timeout: Duration::MAX, longest: Duration::MAX, ..OPTIONS };
        let (mut ejection, now) = (Ejection::default(), Instant::now());
        ejection.eject("why", now, &endless);
        assert_eq!(ejection.out().map(|out| out.until), Some(now + A_YEAR));
    }
}

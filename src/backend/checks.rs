//! The state of one backend as its active health checks show it. Pure.

use std::fmt;
use std::time::Instant;

/// The state of a backend by its checks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckState {
    /// Too few results so far. Selectable, so that a balancer that has just started can serve requests.
    Checking,
    /// Selectable.
    Up,
    /// Not selectable.
    Down,
}

impl CheckState {
    /// Returns whether a backend in this state may be selected.
    pub fn is_usable(self) -> bool {
        self != CheckState::Down
    }
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CheckState::Checking => "checking",
            CheckState::Up => "up",
            CheckState::Down => "down",
        })
    }
}

/// The numbers of consecutive results that change the state. Zero counts as one: no state changes without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Consecutive successes until it is up. Default: 2.
    pub rise: u32,
    /// Consecutive failures until it is down. Default: 3, more than `rise`, because taking a live backend for dead costs
    /// more than one failed try.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { rise: 2, fall: 3 }
    }
}

/// The results of the checks of one backend.
#[derive(Clone, Debug)]
pub struct Checks {
    state: CheckState,
    since: Instant,
    why: String,
    /// The number of consecutive results equal to the last one; `good` is whether they were successes.
    streak: u32,
    good: bool,
}

impl Checks {
    /// Creates the state of a backend that has not been checked.
    pub fn new(now: Instant) -> Self {
        Checks {
            state: CheckState::Checking,
            since: now,
            why: "not checked yet".to_owned(),
            streak: 0,
            good: false,
        }
    }

    /// Records a result, an observation or the reason of a failure, and returns the new state if it changed.
    pub fn record(
        &mut self,
        result: Result<String, String>,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<CheckState> {
        let good = result.is_ok();
        let (Ok(why) | Err(why)) = result;
        self.streak = if good == self.good { self.streak.saturating_add(1) } else { 1 };
        self.good = good;
        let (implied, needed) =
            if good { (CheckState::Up, thresholds.rise) } else { (CheckState::Down, thresholds.fall) };
        let changes = self.state != implied && self.streak >= needed;
        if changes {
            (self.state, self.since) = (implied, now);
        }
        // A result that contradicts the state is not the reason for it.
        if self.state == implied || self.state == CheckState::Checking {
            self.why = why;
        }
        changes.then_some(self.state)
    }

    /// Returns the state.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// Returns the time of the last change.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Returns the reason: the last result that supports the state, or just the last one while it is
    /// [`Checking`](CheckState::Checking).
    pub fn why(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::time::Duration;

    /// A success or a failure whose text carries a number.
    fn result(good: bool, number: usize) -> Result<String, String> {
        if good { Ok(format!("status {number}")) } else { Err(format!("error {number}")) }
    }

    /// Returns the state after each result (`+` or `-`) as one letter, in upper case where it changed.
    fn states(results: &str, thresholds: Thresholds) -> String {
        let now = Instant::now();
        let mut checks = Checks::new(now);
        let letters = results.chars().enumerate().map(|(number, sign)| {
            let change = checks.record(result(sign == '+', number), thresholds, now);
            assert!(change.is_none_or(|state| state == checks.state()));
            let letter = checks.state().to_string().chars().next().unwrap();
            if change.is_some() { letter.to_ascii_uppercase() } else { letter }
        });
        letters.collect()
    }

    #[test]
    fn consecutive_results_change_the_state() {
        for (rise, fall, results, expected) in [
            (2, 3, "++", "cU"),
            (2, 3, "---", "ccD"),
            (2, 3, "+-+-", "cccc"),
            (2, 3, "--+--+", "cccccc"),
            (2, 3, "--++", "cccU"),
            (2, 3, "++--+---", "cUuuuuuD"),
            (2, 3, "---+-++-", "ccDdddUu"),
            (1, 1, "+-+-", "UDUD"),
            (0, 0, "+-+-", "UDUD"),
            (3, 1, "-+++-", "DddUD"),
            (1, 3, "--+--", "ccUuu"),
        ] {
            let outcome = states(results, Thresholds { rise, fall });
            assert_eq!(outcome, expected, "{results} with {rise} and {fall}");
        }
    }

    #[test]
    fn only_a_backend_that_is_down_is_unusable() {
        let usable = [CheckState::Checking, CheckState::Up, CheckState::Down].map(CheckState::is_usable);
        assert_eq!(usable, [true, true, false]);
    }

    #[test]
    fn the_reason_is_the_last_result_that_supports_the_state() {
        let now = Instant::now();
        let mut checks = Checks::new(now);
        assert_eq!(checks.why(), "not checked yet");
        for (good, number, why) in [
            (false, 1, "error 1"),
            (true, 2, "status 2"),
            (true, 3, "status 3"), // up
            (false, 4, "status 3"),
            (false, 5, "status 3"),
            (true, 6, "status 6"),
            (false, 7, "status 6"),
            (false, 8, "status 6"),
            (false, 9, "error 9"), // down
            (true, 10, "error 9"),
            (false, 11, "error 11"),
        ] {
            checks.record(result(good, number), Thresholds::default(), now);
            assert_eq!(checks.why(), why, "after result {number}");
        }
    }

    /// A reference model that derives the state from the whole history instead of a counter: a state begins where the
    /// last `rise` or `fall` results are equal.
    fn model(history: &[bool], thresholds: Thresholds) -> (CheckState, usize) {
        let mut found = (CheckState::Checking, 0);
        for end in 1..=history.len() {
            let all = |good, count: u32| {
                let last = history[..end].iter().rev().take(count as usize);
                last.clone().count() == count as usize && last.into_iter().all(|result| *result == good)
            };
            for (state, is_so) in [
                (CheckState::Up, all(true, thresholds.rise)),
                (CheckState::Down, all(false, thresholds.fall)),
            ] {
                if is_so && found.0 != state {
                    found = (state, end);
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn any_history_agrees_with_the_model(
            history in vec(any::<bool>(), 0..40), rise in 1..5_u32, fall in 1..5_u32,
        ) {
            let (start, thresholds) = (Instant::now(), Thresholds { rise, fall });
            let at = |step: usize| start + Duration::from_secs(step as u64);
            let mut checks = Checks::new(start);
            for (index, good) in history.iter().enumerate() {
                let (before, step) = (checks.state(), index + 1);
                let change = checks.record(result(*good, step), thresholds, at(step));
                let (state, since) = model(&history[..step], thresholds);
                prop_assert_eq!((checks.state(), checks.since()), (state, at(since)));
                prop_assert_eq!(change, (state != before).then_some(state));
                let supports_it = |(_, good): &(usize, &bool)| match state {
                    CheckState::Checking => true,
                    state => **good == (state == CheckState::Up),
                };
                let last = history[..step].iter().enumerate().rfind(supports_it);
                let why = last.map(|(index, good)| match result(*good, index + 1) { Ok(why) | Err(why) => why });
                prop_assert_eq!(Some(checks.why()), why.as_deref());
            }
        }
    }
}

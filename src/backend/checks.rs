//! Active checks of one backend: what their results come to. Pure.

use std::fmt;
use std::time::Instant;

/// Whether a backend may be chosen, as far as its checks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Too few results to say. It may be chosen: a balancer that has just started would have nobody else.
    Checking,
    /// It may be chosen.
    Up,
    /// It may not.
    Down,
}

impl State {
    /// May it be chosen?
    pub fn is_usable(self) -> bool {
        self != State::Down
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Checking => "checking",
            State::Up => "up",
            State::Down => "down",
        })
    }
}

/// How many results in a row change the state. Zero is taken for one: no state changes without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Checks that went well, until it is up. 2.
    pub rise: u32,
    /// Checks that failed, until it is down. 3: more than for the way up, because a backend that is taken for dead
    /// while it is alive costs more than one that is tried once in vain.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { rise: 2, fall: 3 }
    }
}

/// What the checks of one backend have come to.
#[derive(Clone, Debug)]
pub struct Checks {
    state: State,
    since: Instant,
    why: String,
    /// How many results have been like the last one, in a row, and whether those were good.
    streak: u32,
    good: bool,
}

impl Checks {
    /// Nothing is known of the backend yet.
    pub fn new(now: Instant) -> Self {
        Checks {
            state: State::Checking,
            since: now,
            why: "not checked yet".to_owned(),
            streak: 0,
            good: false,
        }
    }

    /// Takes down one more result: what was seen, or why it failed. Some if it changed the state.
    pub fn note(
        &mut self,
        result: Result<String, String>,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<State> {
        let good = result.is_ok();
        let (Ok(why) | Err(why)) = result;
        self.streak = if good == self.good { self.streak.saturating_add(1) } else { 1 };
        self.good = good;
        let (speaks_for, needed) =
            if good { (State::Up, thresholds.rise) } else { (State::Down, thresholds.fall) };
        let changes = self.state != speaks_for && self.streak >= needed;
        if changes {
            (self.state, self.since) = (speaks_for, now);
        }
        // A result that speaks against the state is not why it holds.
        if self.state == speaks_for || self.state == State::Checking {
            self.why = why;
        }
        changes.then_some(self.state)
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when that is so.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why: the last result that speaks for this state. While there are too few to say, the last one.
    pub fn why(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::time::Duration;

    /// A check that went well, and one that failed: each has its number to tell it by.
    fn result(good: bool, number: usize) -> Result<String, String> {
        if good { Ok(format!("status {number}")) } else { Err(format!("error {number}")) }
    }

    /// What a sequence comes to, one letter a result (`+` or `-`): one letter a state, a capital where it changed.
    fn states(results: &str, thresholds: Thresholds) -> String {
        let now = Instant::now();
        let mut checks = Checks::new(now);
        let letters = results.chars().enumerate().map(|(number, sign)| {
            let change = checks.note(result(sign == '+', number), thresholds, now);
            assert!(change.is_none_or(|state| state == checks.state()));
            let letter = checks.state().to_string().chars().next().unwrap();
            if change.is_some() { letter.to_ascii_uppercase() } else { letter }
        });
        letters.collect()
    }

    #[test]
    fn the_table() {
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
            let comes_to = states(results, Thresholds { rise, fall });
            assert_eq!(comes_to, expected, "{results} with {rise} and {fall}");
        }
    }

    #[test]
    fn only_who_is_down_is_not_usable() {
        let usable = [State::Checking, State::Up, State::Down].map(State::is_usable);
        assert_eq!(usable, [true, true, false]);
    }

    #[test]
    fn why_is_the_last_result_that_speaks_for_the_state() {
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
            checks.note(result(good, number), Thresholds::default(), now);
            assert_eq!(checks.why(), why, "after result {number}");
        }
    }

    /// The same rules, told from the whole history instead of a count: a state begins where the last so many
    /// results are alike.
    fn model(history: &[bool], thresholds: Thresholds) -> (State, usize) {
        let mut found = (State::Checking, 0);
        for end in 1..=history.len() {
            let all = |good, count: u32| {
                let last = history[..end].iter().rev().take(count as usize);
                last.clone().count() == count as usize && last.into_iter().all(|result| *result == good)
            };
            for (state, is_so) in
                [(State::Up, all(true, thresholds.rise)), (State::Down, all(false, thresholds.fall))]
            {
                if is_so && found.0 != state {
                    found = (state, end);
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn any_history_comes_to_what_the_model_says(
            history in vec(any::<bool>(), 0..40), rise in 1..5_u32, fall in 1..5_u32,
        ) {
            let (start, thresholds) = (Instant::now(), Thresholds { rise, fall });
            let at = |step: usize| start + Duration::from_secs(step as u64);
            let mut checks = Checks::new(start);
            for (index, good) in history.iter().enumerate() {
                let (before, step) = (checks.state(), index + 1);
                let change = checks.note(result(*good, step), thresholds, at(step));
                let (state, since) = model(&history[..step], thresholds);
                prop_assert_eq!((checks.state(), checks.since()), (state, at(since)));
                prop_assert_eq!(change, (state != before).then_some(state));
                let speaks_for_it = |(_, good): &(usize, &bool)| match state {
                    State::Checking => true,
                    state => **good == (state == State::Up),
                };
                let last = history[..step].iter().enumerate().rfind(speaks_for_it);
                let why = last.map(|(index, good)| match result(*good, index + 1) { Ok(why) | Err(why) => why });
                prop_assert_eq!(Some(checks.why()), why.as_deref());
            }
        }
    }
}

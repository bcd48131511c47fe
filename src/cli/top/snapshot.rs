//! The balancer as of its last answers: its state, and its last two minutes. Pure.

use crate::admin::answers::history::{Sample, Samples};
use crate::admin::answers::state::State;
use std::collections::VecDeque;

/// Samples that are kept, one a second: two minutes.
pub const SAMPLES: usize = 120;

/// The balancer as of its last answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Its state, with busy workers and ended requests in the order in which they are shown.
    pub state: State,
    /// Its last two minutes.
    pub history: SampleHistory,
}

impl Snapshot {
    /// Creates a snapshot whose busy workers are sorted with the longest time first, and whose ended requests with the
    /// newest first.
    pub fn new(mut state: State, history: SampleHistory) -> Self {
        state.busy.sort_by(|one, other| other.for_seconds.total_cmp(&one.for_seconds));
        state.recent.reverse();
        Snapshot { state, history }
    }
}

/// The last two minutes, the oldest second first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleHistory(VecDeque<Sample>);

impl SampleHistory {
    /// Returns the samples, the oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + Clone {
        self.0.iter()
    }

    /// Returns the path of the request for the samples that this history lacks.
    pub fn path(&self) -> String {
        match self.0.back() {
            Some(newest) => format!("/api/history?after={}", newest.number),
            None => "/api/history".to_owned(),
        }
    }

    /// Appends the samples of an answer. If the balancer was restarted meanwhile, the samples from before are removed.
    pub fn append(&mut self, answer: Samples) {
        if self.0.back().is_some_and(|known| answer.newest < known.number) {
            self.0.clear();
        }
        for sample in answer.samples {
            if self.0.back().is_none_or(|newest| sample.number > newest.number) {
                self.0.push_back(sample);
            }
        }
        let newest = self.0.back().map_or(0, |sample| sample.number);
        self.0.retain(|sample| newest - sample.number < SAMPLES as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::fixture;

    #[test]
    fn shows_the_longest_busy_worker_and_the_newest_request_first() {
        let Snapshot { state, .. } = Snapshot::new(fixture::state(), SampleHistory::default());
        assert_eq!(state.busy.iter().map(|busy| busy.worker).collect::<Vec<_>>(), [7, 0]);
        assert_eq!(state.recent.iter().map(|request| request.status).collect::<Vec<_>>(), [502, 200]);
    }

    #[test]
    fn keeps_two_minutes_and_starts_anew_after_a_restart() {
        let numbers = |history: &SampleHistory| {
            let numbers: Vec<_> = history.samples().map(|sample| sample.number).collect();
            (numbers.len(), numbers.first().copied(), numbers.last().copied())
        };
        let none = |newest| Samples { newest, samples: Vec::new() };
        let mut history = SampleHistory::default();
        assert_eq!(history.path(), "/api/history");
        history.append(fixture::samples(1..=100));
        assert_eq!(history.path(), "/api/history?after=100");
        history.append(fixture::samples(100..=130));
        assert_eq!(numbers(&history), (SAMPLES, Some(11), Some(130)));
        history.append(none(130));
        assert_eq!(numbers(&history), (SAMPLES, Some(11), Some(130)), "nothing new");
        history.append(none(5));
        assert_eq!(numbers(&history), (0, None, None), "it has been started again");
        history.append(fixture::samples(1..=5));
        history.append(fixture::samples(1000..=1001));
        assert_eq!(
            numbers(&history),
            (2, Some(1000), Some(1001)),
            "samples older than two minutes are removed"
        );
    }
}

//! The health of a backend as it is reported and logged.

use super::checks::CheckState;
use std::time::Instant;

/// A change of health brought about by a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// It went down.
    Down,
    /// It came up.
    Up,
    /// Its ejection ended.
    Readmitted,
}

/// The health of a backend, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// `checking`, `up` or `down`.
    pub state: CheckState,
    /// The time of the last change.
    pub since: Instant,
    /// The last error or status, or what was observed.
    pub why: String,
    /// When it was last drained or resumed, or `None`.
    pub drain_changed: Option<Instant>,
}

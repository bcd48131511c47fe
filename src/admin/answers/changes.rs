//! The answers to changes of the backends, and to a request that fails.

use super::state::BackendState;
use serde::{Deserialize, Serialize};

/// All backends, or the added ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backends {
    /// The backends.
    pub backends: Vec<BackendState>,
}

/// The result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Names of the backends.
    pub removed: Vec<String>,
}

/// The result of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Names of the backends that are new.
    pub added: Vec<String>,
    /// Names of the backends that are gone.
    pub removed: Vec<String>,
    /// Names of the backends that stay.
    pub kept: Vec<String>,
}

/// The reason why a request was not served, or a change not made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence.
    pub error: String,
    /// Every single reason, after a reload that failed; left out otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

//! The result of a change of the backends.

use crate::backend::instance::Backend;
use std::sync::Arc;

/// The difference that a change made.
#[derive(Debug, Default)]
pub struct Changes {
    /// New backends.
    pub added: Vec<Arc<Backend>>,
    /// Names of removed backends.
    pub removed: Vec<String>,
    /// Names of backends that stay.
    pub kept: Vec<String>,
}

/// The reason why a change was refused: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such backend.
    #[error("{0}")]
    Unknown(String),
    /// The backend exists already.
    #[error("{0}")]
    Duplicate(String),
    /// The request is understood, but invalid.
    #[error("{0}")]
    Invalid(String),
    /// The request is valid, but not possible in the current state.
    #[error("{0}")]
    #[cfg_attr(not(feature = "cli"), allow(dead_code))] // only a demo refuses for this reason
    NotNow(String),
}

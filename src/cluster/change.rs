//! What a change of the backends brings, and why one is not made.

use crate::backend::Backend;
use std::sync::Arc;

/// What a change has brought.
#[derive(Debug, Default)]
pub struct Changes {
    /// Backends that are new.
    pub added: Vec<Arc<Backend>>,
    /// Names of the backends that are gone.
    pub removed: Vec<String>,
    /// Names of the backends that stay.
    pub kept: Vec<String>,
}

/// Why a change was not made: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such backend.
    #[error("{0}")]
    Unknown(String),
    /// There is such a backend already.
    #[error("{0}")]
    Duplicate(String),
    /// It was understood, and makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It makes sense, and cannot be done as things are.
    #[error("{0}")]
    NotNow(String),
}

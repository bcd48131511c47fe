//! The backends as a group: which there are, how that changes, and what workers read of it.

pub mod change;
pub mod health;
pub mod membership;
pub mod names;
pub mod options;
pub mod snapshot;
pub mod swap;

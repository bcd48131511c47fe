//! The backends as a group: the members, their changes, and the snapshot that workers read.

pub mod change;
pub mod health;
pub mod membership;
pub mod names;
pub mod options;
pub mod registry;
pub mod snapshot;
pub mod swap;

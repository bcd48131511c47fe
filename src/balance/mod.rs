//! Step 4: which backend gets a request.

pub mod affinity;
pub mod candidates;
pub mod rotation;
pub mod selector;
pub mod strategies;

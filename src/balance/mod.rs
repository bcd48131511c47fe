//! Step 4: which backend a request is sent to.

pub mod affinity;
pub mod candidates;
pub mod rotation;
pub mod selector;
pub mod strategies;
pub mod strategy;

//! Stands in for the module of the same name in turnwheel, with the sources that are model-checked.

// A part of each file is unused here. It is the source itself, so that a change there is checked here.
#[allow(dead_code)]
#[path = "../../../src/backend/limit.rs"]
pub mod limit;
#[allow(dead_code)]
#[path = "../../../src/backend/waiting_queue.rs"]
pub mod waiting_queue;

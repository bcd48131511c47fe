//! Stands in for the module of the same name in turnwheel, with the source that is model-checked.

#[path = "../../../src/cluster/swap.rs"]
pub mod swap;

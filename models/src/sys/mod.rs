//! Stands in for the module of the same name in turnwheel.

pub mod sync;

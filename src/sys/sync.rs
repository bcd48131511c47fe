//! The locks and atomics of code that is model-checked.
//!
//! [`limit`](crate::backend::limit) and [`swap`](crate::cluster::swap) import them from here and never from `std::sync`. In
//! `models/` a module of the same name replaces this one with types whose scheduling a model checker controls.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};

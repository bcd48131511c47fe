//! Where code that is model-checked has its locks and atomics from.
//!
//! [`limit`](crate::backend::limit) and [`current`](crate::cluster::swap) name this module and never `std::sync`. Here
//! that is the same; in `models/` a module of the same name stands in for it, whose types let a model
//! checker decide who runs next.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};

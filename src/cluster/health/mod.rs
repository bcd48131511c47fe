//! Beside the path: the health of backends.
//!
//! Two pure modules judge a backend:
//!
//! - [`checks`](crate::backend::checks): active health checks. Consecutive failures take it down, consecutive successes
//!   bring it up.
//! - [`ejection`](crate::backend::ejection): passive. Consecutive failed requests eject it at once, without waiting for
//!   the next check. It returns once it has shown that what failed works again.
//!
//! [`probe`] makes one check over a connection of its own; [`prober`] makes one for each backend whenever it is due by
//! the [`schedule`]. [`snapshot`](crate::cluster::snapshot) decides about ejecting the last usable backend.

pub mod options;
pub mod probe;
pub mod prober;
pub mod schedule;
pub mod statuses;

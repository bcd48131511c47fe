//! Sticky sessions: a cookie that brings a client back to the backend that it had before.
//!
//! It takes precedence over the [`strategy`](crate::balance::strategy), which is used for requests whose cookie names no
//! usable backend.
//!
//! The cookie's value is an [`AffinityToken`]: a keyed hash of the backend's address. It reveals nothing about the
//! network of the balancer, and without the key none can be made. No state is kept per client, and nothing is decoded:
//! the balancer compares the token with those of its backends, so a client cannot name any other address.

pub mod cookie;
pub mod session;
pub mod token;

pub use cookie::{BadCookieName, CookieName};
pub use session::{Affinity, AffinityCookie, AffinityOptions};
pub use token::{AffinityKey, AffinityToken};

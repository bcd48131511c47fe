//! Beside the path of a request: a listener for operators, the live page and Prometheus.
//!
//! It is the parked edge and a queue of its own, with two workers that answer from [`control::Control`] and
//! [`control::Insight`] (in the demo also [`control::DemoControls`]) instead of forwarding. So it answers while all
//! workers of the traffic are busy, and limits its clients as the traffic's edge does. [`guard`] decides which
//! requests are served, `routes` which path is which action, `api` carries it out, [`answers`] are the JSON types,
//! and `page` is the live page.

pub mod answers;
mod api;
pub mod control;
mod demo_controls;
pub(crate) mod fake;
mod fields;
pub mod guard;
mod handler;
pub mod listener;
mod membership_control;
pub mod options;
pub mod overview;
mod page;
mod reply;
mod routes;
pub mod token;

pub use control::{BackendChange, Control, DemoControls, Insight, TrafficChange};
pub use listener::{Admin, RunningAdmin};
pub use options::{AdminOptions, LISTEN};
pub use overview::Overview;
pub use token::{AdminToken, BadToken};

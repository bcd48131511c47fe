//! Beside the path of a request: a listener for operators, the live page and Prometheus.
//!
//! It is the parked edge and a queue of its own, with two workers that answer from [`control::Control`] and
//! [`control::Insight`] (in the demo also [`control::DemoControls`]) instead of forwarding. So it answers while all
//! workers of the traffic are busy, and limits its clients as the traffic's edge does. [`guard`] decides which
//! requests are served, `routes` which path is which action, `api` carries it out, [`answers`] are the JSON types,
//! and `page` is the live page.

pub mod answers;
pub mod api;
pub mod control;
pub mod demo_controls;
pub(crate) mod fake;
pub mod fields;
pub mod guard;
pub mod handler;
pub mod listener;
pub mod membership_control;
pub mod options;
pub mod overview;
pub mod page;
pub mod reply;
pub mod routes;
pub mod token;

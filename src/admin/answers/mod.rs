//! The JSON answers of the admin API as types: the listener writes them, `turnwheel top` and `turnwheel reload` read
//! them, and docs/admin-api.md describes them.
//!
//! Their fields are a contract: fields are added, and none is removed or changes its meaning. Unknown fields are
//! ignored on reading, so that an older `top` understands a newer balancer. A field that is added has to be an
//! `Option`, which reads as `None` from an older balancer that does not send it.

pub mod changes;
pub mod contract;
pub mod demo;
pub(crate) mod fixture;
pub mod history;
pub mod probes;
pub mod state;

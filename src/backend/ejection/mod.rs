//! Passive ejection of one backend: failed requests take it out of rotation for a while. Pure.

pub mod options;
pub mod tracker;

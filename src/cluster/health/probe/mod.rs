//! One probe of one backend: [`run`] makes it, over a connection of its own.

pub mod handle;
mod http_call;
mod reason;
pub mod run;

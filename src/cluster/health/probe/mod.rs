//! One probe of one backend: [`run`] makes it, over a connection of its own.

pub mod handle;
pub mod http_call;
pub mod reason;
pub mod run;

//! The demo: backends that greet with their names, and traffic. Their settings can be changed through the admin listener:
//! see [`DemoControls`](crate::admin::control::DemoControls).

mod backend;
mod behaviour;
mod load_generator;
mod running;

pub use backend::{DemoBackend, RunningBackend};
pub use running::{Demo, RunningDemo};

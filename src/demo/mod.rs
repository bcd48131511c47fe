//! The demo: backends that greet with their names, and traffic. Their settings can be changed through the admin listener:
//! see [`DemoControls`](crate::admin::control::DemoControls).

// Without the command line, only a demo backend is built, for programs that try the library out.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

pub mod backend;
pub mod behaviour;
pub mod load_generator;
pub mod running;

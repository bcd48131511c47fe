//! Tests of the live page in a browser: turnwheel is started, headless Chromium opens the page of its admin
//! listener, keys are pressed, and what the page shows is read from its document. `elements.rs` names the
//! attributes that are read.

mod appearance;
mod backend_state;
mod chromium;
mod console;
mod demo_controls;
mod drain;
mod elements;
mod find_chromium;
mod invitation;
mod isolation;
mod outage;
mod page;
mod processes;
mod rotation;
mod token;

use std::time::Duration;

/// The deadline of every wait in a test. Generous, because several browsers may share the machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two checks of a condition that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

//! The live page as a person in front of a browser meets it: the program is started, Chromium opens what its
//! admin listener serves at `/`, keys are pressed, and what the page shows is read from its document. The
//! attributes that are read are named in `hooks.rs`.

mod absence;
mod chromium;
mod drain;
mod heard;
mod hooks;
mod looks;
mod page;
mod programs;
mod props;
mod quiet;
mod standing;
mod token;
mod turns;

use std::time::Duration;

/// How long anything may take that has to happen at all. Generous: two browsers share the machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long to wait between two looks at the page.
const GLANCE: Duration = Duration::from_millis(20);

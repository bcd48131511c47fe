//! Signals that stop the program.

use crate::cli::failure::Failure;
use crate::sys::shutdown::{self, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_usize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The exit code after a second signal: what a shell reports for a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// The signals, by the names that the log shows.
const SIGNALS: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

/// How often the number of a signal is looked up, a millisecond apart, before the stop goes on without a name.
const LOOKUPS: u32 = 100;

/// Has Ctrl-C, SIGTERM and SIGHUP ask for a clean stop, and a second one of them end the program at once.
///
/// # Errors
/// When the operating system does not take the handlers.
pub fn stop_on_signals() -> Result<Stop, Failure> {
    let (handle, stop) = shutdown::pair();
    let last = Arc::new(AtomicUsize::new(0));
    let received = Arc::clone(&last);
    let mut asked = false;
    let installed = ctrlc::set_handler(move || {
        if asked {
            std::process::exit(INTERRUPTED);
        }
        asked = true;
        match name_of(&received) {
            Some(name) => handle.stop_because(name),
            None => handle.stop(),
        }
    });
    installed.map_err(|error| Failure::from(format!("cannot listen for signals: {error}")))?;
    // ctrlc does not say which signal came. This goes on top of its handlers and calls them, so it has to come second.
    for (number, _) in SIGNALS {
        register_usize(number, Arc::clone(&last), number.unsigned_abs() as usize)
            .map_err(|error| Failure::from(format!("cannot listen for signals: {error}")))?;
    }
    Ok(stop)
}

/// Returns the name of the signal that was received, or `None` if its number does not arrive.
fn name_of(received: &AtomicUsize) -> Option<&'static str> {
    // ctrlc's own handler runs before the one that stores the number.
    (0..LOOKUPS).find_map(|_| {
        let number = received.load(SeqCst);
        let found = SIGNALS.iter().find(|(signal, _)| signal.unsigned_abs() as usize == number);
        if found.is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        found.map(|(_, name)| *name)
    })
}

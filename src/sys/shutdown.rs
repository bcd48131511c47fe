//! The signal that stops a running balancer.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::time::Duration;

/// Returns a handle that gives the stop signal, and the receiver that waits for it.
///
/// ```
/// use std::time::Duration;
///
/// let (handle, stop) = turnwheel::shutdown::pair();
/// assert!(!stop.within(Duration::from_millis(1)));
/// handle.stop_because("SIGTERM");
/// assert_eq!(stop.wait(), Some("SIGTERM"));
/// ```
pub fn pair() -> (StopHandle, Stop) {
    let (sender, receiver) = bounded(1);
    (StopHandle(sender), Stop(receiver))
}

/// Gives the stop signal, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Sender<Option<&'static str>>);

impl StopHandle {
    /// Gives the stop signal. Further calls have no effect.
    pub fn stop(&self) {
        self.send(None);
    }

    /// Gives the stop signal with a reason for the log: the name of a signal, for example.
    pub fn stop_because(&self, reason: &'static str) {
        self.send(Some(reason));
    }

    fn send(&self, reason: Option<&'static str>) {
        let _ = self.0.try_send(reason); // full: the signal has been given already
    }
}

/// Waits for the stop signal, which is also given when all handles have been dropped.
#[derive(Debug)]
pub struct Stop(Receiver<Option<&'static str>>);

impl Stop {
    /// Waits for the signal. Returns the reason that was given with it, or `None` where there was none.
    pub fn wait(&self) -> Option<&'static str> {
        self.0.recv().unwrap_or(None) // an error means that all handles have been dropped
    }

    /// Waits for the signal for at most this time. Returns whether it was given.
    pub fn within(&self, timeout: Duration) -> bool {
        self.0.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout)
    }
}

//! The signal that stops a running balancer.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::time::Duration;

/// Returns a handle that gives the stop signal, and the receiver that waits for it.
///
/// ```
/// use std::time::Duration;
///
/// let (handle, stop) = turnwheel::sys::shutdown::pair();
/// assert!(!stop.within(Duration::from_millis(1)));
/// handle.stop();
/// stop.wait();
/// ```
pub fn pair() -> (StopHandle, Stop) {
    let (sender, receiver) = bounded(1);
    (StopHandle(sender), Stop(receiver))
}

/// Gives the stop signal, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Sender<()>);

impl StopHandle {
    /// Gives the stop signal. Further calls have no effect.
    pub fn stop(&self) {
        let _ = self.0.try_send(()); // full: the signal has been given already
    }
}

/// Waits for the stop signal, which is also given when all handles have been dropped.
#[derive(Debug)]
pub struct Stop(Receiver<()>);

impl Stop {
    /// Waits for the signal.
    pub fn wait(&self) {
        let _ = self.0.recv(); // an error means that all handles have been dropped
    }

    /// Waits for the signal for at most this time. Returns whether it was given.
    pub fn within(&self, timeout: Duration) -> bool {
        self.0.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout)
    }
}

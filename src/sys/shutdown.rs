//! How a running balancer is told to stop.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::time::Duration;

/// Makes a pair: whoever holds the handle can stop whoever waits on the signal.
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

/// Stops a balancer, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Sender<()>);

impl StopHandle {
    /// Asks it to stop. Further calls change nothing.
    pub fn stop(&self) {
        let _ = self.0.try_send(()); // full: it has been asked already
    }
}

/// The signal to stop. It is given, too, when all handles are dropped.
#[derive(Debug)]
pub struct Stop(Receiver<()>);

impl Stop {
    /// Waits for the signal.
    pub fn wait(&self) {
        let _ = self.0.recv(); // an error is a signal too: nobody is left to give another
    }

    /// Waits for the signal, so long at most. True if it came.
    pub fn within(&self, patience: Duration) -> bool {
        self.0.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

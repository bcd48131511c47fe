//! The settings of a demo backend: they can be changed while it runs, and outlast a stop and a start.

use crate::admin::answers::demo::DemoBackendState;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The address of a demo backend, and how it responds. Its threads read the settings with each request.
pub struct Behaviour {
    /// Address of the backend, also its name in the admin API.
    pub address: SocketAddr,
    greeting: String,
    error_text: String,
    /// In nanoseconds, since the command line accepts delays below the milliseconds of the admin API.
    delay: AtomicU64,
    error_percent: AtomicU32,
    responses: AtomicU64,
    runs: AtomicBool,
    /// Notified when the delay changes or the backend stops; delayed responses wait on it.
    changed: Condvar,
    waiting: Mutex<()>,
}

impl Behaviour {
    /// Creates the settings of a backend that greets with this name, or with its port as `:8081`, and makes no errors.
    pub fn new(address: SocketAddr, name: Option<&str>, delay: Duration) -> Self {
        let name = name.map_or_else(|| format!(":{}", address.port()), str::to_owned);
        Behaviour {
            address,
            greeting: format!("Hello from backend server on {name}\n"),
            error_text: format!("An error on purpose from backend server on {name}\n"),
            delay: AtomicU64::new(nanos(delay)),
            error_percent: AtomicU32::new(0),
            responses: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            changed: Condvar::new(),
            waiting: Mutex::new(()),
        }
    }

    /// Returns the delay of each response.
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay.load(Relaxed))
    }

    /// Changes the delay, also that of responses that are being delayed.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.store(nanos(delay), Relaxed);
        self.wake();
    }

    /// Makes this many of each hundred responses a 500.
    pub fn set_error_percent(&self, percent: u32) {
        self.error_percent.store(percent, Relaxed);
    }

    /// Returns whether the backend runs.
    pub fn runs(&self) -> bool {
        self.runs.load(Relaxed)
    }

    /// Records whether the backend runs.
    pub fn set_runs(&self, runs: bool) {
        self.runs.store(runs, Relaxed);
    }

    /// Waits for the delay, or until `leaving` is set.
    ///
    /// The time counts from the call and against the current delay, so that a delay that is shortened from a minute to
    /// nothing ends at once.
    pub fn wait(&self, leaving: &AtomicBool) {
        if self.delay().is_zero() {
            return;
        }
        let began = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = self.delay().saturating_sub(began.elapsed());
            if left.is_zero() || leaving.load(SeqCst) {
                return;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes every delayed response check the delay and `leaving` again.
    pub fn wake(&self) {
        // With the lock held, no thread is between its check and its wait, where it would miss the notification.
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Returns whether the next response is a success, and its text.
    pub fn next_reply(&self) -> (bool, &str) {
        let number = self.responses.fetch_add(1, Relaxed);
        match is_error(number, self.error_percent.load(Relaxed)) {
            true => (false, &self.error_text),
            false => (true, &self.greeting),
        }
    }

    /// Returns the settings as the admin API shows them.
    pub fn state(&self) -> DemoBackendState {
        DemoBackendState {
            name: self.address.to_string(),
            running: self.runs(),
            delay_ms: self.delay().as_millis() as u64,
            error_percent: self.error_percent.load(Relaxed),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns whether the response of this number, counted from 0, is an error. Errors are spread evenly: with 10 % every
/// tenth response is one.
fn is_error(number: u64, percent: u32) -> bool {
    let errors_before = |number: u64| number * u64::from(percent) / 100;
    let number = number % 100; // the pattern repeats each hundred, and so the product cannot overflow
    errors_before(number + 1) > errors_before(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const LONG: Duration = Duration::from_secs(3600);

    fn behaviour(delay: Duration) -> Arc<Behaviour> {
        Arc::new(Behaviour::new("127.0.0.1:8081".parse().unwrap(), None, delay))
    }

    fn errors(percent: u32, numbers: std::ops::Range<u64>) -> Vec<u64> {
        numbers.filter(|number| is_error(*number, percent)).collect()
    }

    #[test]
    fn spreads_errors_evenly() {
        assert_eq!(errors(0, 0..1000), [0; 0]);
        assert_eq!(errors(100, 0..1000).len(), 1000);
        assert_eq!(errors(10, 0..35), [9, 19, 29]);
        assert_eq!(errors(50, 0..8), [1, 3, 5, 7]);
        assert_eq!(errors(1, 0..300), [99, 199, 299]);
        for percent in 0..=100 {
            assert_eq!(errors(percent, 17..117).len() as u32, percent, "in any hundred");
        }
        assert_eq!(errors(50, u64::MAX - 20..u64::MAX).len(), 10, "after any number of responses");
    }

    #[test]
    fn keeps_gaps_between_errors_equal_but_for_one() {
        for percent in 1..=100 {
            let all = errors(percent, 0..1000);
            let gaps: Vec<_> = all.windows(2).map(|two| two[1] - two[0]).collect();
            let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
            assert!(most - least <= 1, "{percent} %: {gaps:?}");
        }
    }

    #[test]
    fn names_the_backend_in_either_response() {
        let behaviour = behaviour(Duration::ZERO);
        assert_eq!(behaviour.next_reply(), (true, "Hello from backend server on :8081\n"));
        behaviour.set_error_percent(100);
        assert_eq!(behaviour.next_reply(), (false, "An error on purpose from backend server on :8081\n"));
    }

    #[test]
    fn applies_a_shorter_delay_to_responses_that_are_being_delayed() {
        let behaviour = behaviour(LONG);
        let waiter = {
            let behaviour = Arc::clone(&behaviour);
            thread::spawn(move || behaviour.wait(&AtomicBool::new(false)))
        };
        behaviour.set_delay(Duration::from_secs(1800));
        assert!(!waiter.is_finished());
        behaviour.set_delay(Duration::ZERO);
        waiter.join().unwrap();
    }

    #[test]
    fn ends_every_wait_when_the_backend_stops_and_keeps_the_delay() {
        let (behaviour, leaving) = (behaviour(LONG), Arc::new(AtomicBool::new(false)));
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let (behaviour, leaving) = (Arc::clone(&behaviour), Arc::clone(&leaving));
                thread::spawn(move || behaviour.wait(&leaving))
            })
            .collect();
        leaving.store(true, SeqCst);
        behaviour.wake();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(behaviour.delay(), LONG);
    }

    #[test]
    fn waits_for_the_whole_delay() {
        let behaviour = behaviour(Duration::from_millis(20));
        let began = Instant::now();
        behaviour.wait(&AtomicBool::new(false));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}

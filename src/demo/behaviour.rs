//! The behaviour that a demo backend plays: what stays while it stops and starts again, and what can be changed
//! while it runs.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who a demo backend is, and how it behaves. Whoever answers reads it with each request.
pub struct Behaviour {
    /// Where it is.
    pub address: SocketAddr,
    greeting: String,
    apology: String,
    /// In nanoseconds: the command line knows shorter ones than the admin listener.
    delay: AtomicU64,
    error_percent: AtomicU32,
    replies: AtomicU64,
    runs: AtomicBool,
    /// Whoever thinks waits for time to pass, or for this.
    changed: Condvar,
    mind: Mutex<()>,
}

impl Behaviour {
    /// A backend at this address that is called so, or by its port as `:8081`, and makes no errors.
    pub fn new(address: SocketAddr, name: Option<&str>, delay: Duration) -> Self {
        let name = name.map_or_else(|| format!(":{}", address.port()), str::to_owned);
        Behaviour {
            address,
            greeting: format!("Hello from backend server on {name}\n"),
            apology: format!("An error on purpose from backend server on {name}\n"),
            delay: AtomicU64::new(nanos(delay)),
            error_percent: AtomicU32::new(0),
            replies: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            changed: Condvar::new(),
            mind: Mutex::new(()),
        }
    }

    /// How long it thinks about each request.
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay.load(Relaxed))
    }

    /// Changes that, for requests that are being thought about, too.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.store(nanos(delay), Relaxed);
        self.wake();
    }

    /// So many of a hundred replies are a 500 from now on.
    pub fn set_error_percent(&self, percent: u32) {
        self.error_percent.store(percent, Relaxed);
    }

    /// Does it run?
    pub fn runs(&self) -> bool {
        self.runs.load(Relaxed)
    }

    /// It does now, or does no longer.
    pub fn set_runs(&self, runs: bool) {
        self.runs.store(runs, Relaxed);
    }

    /// Thinks about a request, until `leaving` says that there is no more time to.
    ///
    /// The time counts from here, by the delay of the moment: when somebody turns a minute into nothing, nobody sits
    /// the minute out.
    pub fn think(&self, leaving: &AtomicBool) {
        if self.delay().is_zero() {
            return;
        }
        let began = Instant::now();
        let mut mind = self.mind.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = self.delay().saturating_sub(began.elapsed());
            if left.is_zero() || leaving.load(SeqCst) {
                return;
            }
            mind = self.changed.wait_timeout(mind, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has everybody who thinks look up.
    pub fn wake(&self) {
        // Whoever has looked already waits by now, and whoever has not sees the change.
        drop(self.mind.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// The next reply's text, and whether it is one that went well.
    pub fn next_reply(&self) -> (bool, &str) {
        let number = self.replies.fetch_add(1, Relaxed);
        match is_error(number, self.error_percent.load(Relaxed)) {
            true => (false, &self.apology),
            false => (true, &self.greeting),
        }
    }

    /// How things are, as JSON.
    pub fn show(&self) -> Value {
        json!({
            "name": self.address.to_string(),
            "running": self.runs(),
            "delay_ms": self.delay().as_millis() as u64,
            "error_percent": self.error_percent.load(Relaxed),
        })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Is the reply of this number, from 0, one of those? They are spread as evenly as can be: with 10 % it is every
/// tenth.
fn is_error(number: u64, percent: u32) -> bool {
    let until = |number: u64| number * u64::from(percent) / 100;
    let number = number % 100; // it begins anew with each hundred, and no product is too large
    until(number + 1) > until(number)
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
    fn errors_are_spread_evenly() {
        assert_eq!(errors(0, 0..1000), [0; 0]);
        assert_eq!(errors(100, 0..1000).len(), 1000);
        assert_eq!(errors(10, 0..35), [9, 19, 29]);
        assert_eq!(errors(50, 0..8), [1, 3, 5, 7]);
        assert_eq!(errors(1, 0..300), [99, 199, 299]);
        for percent in 0..=100 {
            assert_eq!(errors(percent, 17..117).len() as u32, percent, "any hundred has so many");
        }
        assert_eq!(errors(50, u64::MAX - 20..u64::MAX).len(), 10, "however long it runs");
    }

    #[test]
    fn gaps_between_errors_differ_by_one_at_most() {
        for percent in 1..=100 {
            let all = errors(percent, 0..1000);
            let gaps: Vec<_> = all.windows(2).map(|two| two[1] - two[0]).collect();
            let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
            assert!(most - least <= 1, "{percent} %: {gaps:?}");
        }
    }

    #[test]
    fn it_says_who_it_is_either_way() {
        let behaviour = behaviour(Duration::ZERO);
        assert_eq!(behaviour.next_reply(), (true, "Hello from backend server on :8081\n"));
        behaviour.set_error_percent(100);
        assert_eq!(behaviour.next_reply(), (false, "An error on purpose from backend server on :8081\n"));
    }

    #[test]
    fn a_shorter_delay_holds_for_what_is_being_thought_about() {
        let behaviour = behaviour(LONG);
        let thinker = {
            let behaviour = Arc::clone(&behaviour);
            thread::spawn(move || behaviour.think(&AtomicBool::new(false)))
        };
        behaviour.set_delay(Duration::from_secs(1800));
        assert!(!thinker.is_finished());
        behaviour.set_delay(Duration::ZERO);
        thinker.join().unwrap();
    }

    #[test]
    fn whoever_leaves_thinks_no_longer_and_keeps_the_delay() {
        let (behaviour, leaving) = (behaviour(LONG), Arc::new(AtomicBool::new(false)));
        let thinkers: Vec<_> = (0..8)
            .map(|_| {
                let (behaviour, leaving) = (Arc::clone(&behaviour), Arc::clone(&leaving));
                thread::spawn(move || behaviour.think(&leaving))
            })
            .collect();
        leaving.store(true, SeqCst);
        behaviour.wake();
        thinkers.into_iter().for_each(|thinker| thinker.join().unwrap());
        assert_eq!(behaviour.delay(), LONG);
    }

    #[test]
    fn it_thinks_for_as_long_as_it_is_told() {
        let behaviour = behaviour(Duration::from_millis(20));
        let began = Instant::now();
        behaviour.think(&AtomicBool::new(false));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}

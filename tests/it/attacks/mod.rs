//! Hostile clients. During each attack an ordinary client is served within a second, and after it the
//! balancer has released its threads, descriptors and memory.

mod exhaustion;
mod heavy;
mod hostile_clients;
mod nonsense;
mod slow;

use crate::backend::{Received, Recorder};
use crate::bed::{Balancer, DEADLINE, eventually};
use crate::watch::{Figures, Guest, need_descriptors};
use std::thread;
use std::time::{Duration, Instant};

/// Memory in KiB that need not be released: the buffers of workers that were idle before, and what the
/// allocator keeps of two hundred bodies. It does not grow with further attacks.
const RETAINED: u64 = 16 << 10;

/// Descriptors that the largest attack needs in the test's process, with some to spare.
const DESCRIPTORS: u64 = 3000;

/// A balancer that is attacked, and its backend.
struct AttackedBalancer {
    backend: Recorder,
    balancer: Balancer,
}

impl AttackedBalancer {
    /// Starts a backend and the balancer with these flags. Idle connections to the backend are closed soon, so
    /// that descriptors can be counted.
    fn with(flags: &[&str]) -> Self {
        need_descriptors(DESCRIPTORS);
        let backend = Recorder::pouring();
        let all = [&["--edge=parked", "--upstream-idle-timeout=100ms"], flags].concat();
        let balancer = Balancer::serve(&[backend.addr], &all);
        AttackedBalancer { backend, balancer }
    }

    /// Returns the balancer's figures while no request is in progress.
    fn idle_figures(&self) -> Figures {
        assert_eq!(self.balancer.get("/").status, 200);
        eventually("the connections to the backend are closed", || self.backend.open_connections() == 0);
        Figures::of(self.balancer.pid())
    }

    /// Asserts that the backend has received no complete upload. The ordinary client sends none.
    #[track_caller]
    fn assert_no_upload_complete(&self) {
        let requests = self.backend.requests();
        let is_expected = |request: &Received| request.request_line().starts_with("GET ") || !request.whole;
        assert!(requests.iter().all(is_expected));
    }

    /// Asserts that the ordinary client is served during this attack, and that nothing is left after it.
    #[track_caller]
    fn withstands(&self, attack: impl FnOnce(&Balancer)) {
        let before = self.idle_figures();
        let guest = Guest::of(self.balancer.addr);
        attack(&self.balancer);
        guest.was_served();
        let mut now = self.idle_figures();
        let began = Instant::now();
        while !is_released(before, now) {
            assert!(began.elapsed() < DEADLINE, "{now:?} instead of {before:?}");
            thread::sleep(Duration::from_millis(10));
            now = self.idle_figures();
        }
        println!("before: {before:?}, afterwards: {now:?}");
    }
}

fn is_released(before: Figures, now: Figures) -> bool {
    now.threads == before.threads
        && now.descriptors <= before.descriptors
        && now.resident <= before.resident + RETAINED
}

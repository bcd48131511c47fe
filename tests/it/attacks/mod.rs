//! What strangers may try. Whatever it is, an ordinary client is served within a second all the while,
//! and when it is over the balancer has its threads, descriptors and memory back.

mod crowd;
mod exhaustion;
mod heavy;
mod nonsense;
mod slow;

use crate::backend::{Received, Recorder};
use crate::bed::{Balancer, DEADLINE, eventually};
use crate::watch::{Figures, Guest, need_descriptors};
use std::thread;
use std::time::{Duration, Instant};

/// Memory that may stay behind, in KiB: the buffers of workers that had nothing to do before, and what the
/// allocator keeps of two hundred bodies for the next ones. It is the same after ten such attacks.
const KEPT: u64 = 16 << 10;

/// Descriptors that the largest crowd takes here, with something to spare.
const DESCRIPTORS: u64 = 3000;

/// The balancer in front of a backend, not yet under attack.
struct Siege {
    backend: Recorder,
    balancer: Balancer,
}

impl Siege {
    /// A backend and, with these flags, the balancer. Connections to backends are given up soon, so that
    /// descriptors can be counted.
    fn with(flags: &[&str]) -> Self {
        need_descriptors(DESCRIPTORS);
        let backend = Recorder::pouring();
        let all = [&["--edge=parked", "--upstream-idle-timeout=100ms"], flags].concat();
        let balancer = Balancer::serve(&[backend.addr], &all);
        Siege { backend, balancer }
    }

    /// Figures once nothing is under way.
    fn at_rest(&self) -> Figures {
        assert_eq!(self.balancer.get("/").status, 200);
        eventually("the backend's connections are given up", || self.backend.open_connections() == 0);
        Figures::of(self.balancer.pid())
    }

    /// Asserts that no upload has looked whole to the backend. The ordinary client's requests are no uploads.
    #[track_caller]
    fn never_forwards_an_upload_as_whole(&self) {
        let requests = self.backend.requests();
        let is_sound = |request: &Received| request.request_line().starts_with("GET ") || !request.whole;
        assert!(requests.iter().all(is_sound));
    }

    /// Asserts that this attack harms nobody while it lasts, and leaves nothing behind.
    #[track_caller]
    fn withstands(&self, attack: impl FnOnce(&Balancer)) {
        let before = self.at_rest();
        let guest = Guest::of(self.balancer.addr);
        attack(&self.balancer);
        guest.was_served();
        let mut now = self.at_rest();
        let began = Instant::now();
        while !is_as_before(before, now) {
            assert!(began.elapsed() < DEADLINE, "it keeps {now:?} instead of {before:?}");
            thread::sleep(Duration::from_millis(10));
            now = self.at_rest();
        }
        println!("before: {before:?}, afterwards: {now:?}");
    }
}

fn is_as_before(before: Figures, now: Figures) -> bool {
    now.threads == before.threads
        && now.descriptors <= before.descriptors
        && now.resident <= before.resident + KEPT
}

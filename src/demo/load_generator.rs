//! The demo's own traffic: a number of requests a second from a number of clients.
//!
//! The clients share one schedule: each takes the next due time, waits until then, sends a request and waits for the
//! response. So the rate is even with any number of clients, and slow responses make it lower.

use crate::admin::answers::demo::TrafficState;
use crate::error::StartError;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use ureq::Agent;

/// The timeout of a request, longer than the longest delay of a backend, which is a minute.
const TIMEOUT: Duration = Duration::from_secs(70);

/// The longest time that a connection is kept idle. The balancer keeps it longer, so that no request is sent on a
/// connection that is being closed, which would count as failed.
const IDLE: Duration = Duration::from_secs(5);

/// The most that clients may lag behind the schedule, in nanoseconds. Requests that were due earlier are left out.
const CATCH_UP: u64 = 1_000_000_000;

/// The time for requests in flight to finish when the traffic ends. After that they are aborted.
const GRACE: Duration = Duration::from_millis(300);

/// The time for clients to end once their requests are aborted.
const ABORT: Duration = Duration::from_millis(500);

/// The settings and counters of the traffic. They exist without traffic, too.
pub struct LoadGenerator {
    url: Arc<str>,
    rate: AtomicU32,
    clients: AtomicU32,
    counters: Arc<LoadCounters>,
}

/// Requests since the start.
#[derive(Default)]
struct LoadCounters {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl LoadGenerator {
    /// Creates a generator for the balancer at this address. There is no traffic yet.
    pub fn to(address: SocketAddr) -> Self {
        LoadGenerator {
            url: format!("http://{address}/").into(),
            rate: AtomicU32::new(0),
            clients: AtomicU32::new(4),
            counters: Arc::default(),
        }
    }

    /// Changes the rate or the number of clients: ends the running clients, and starts others unless the rate is 0.
    /// `None` leaves a setting as it is.
    ///
    /// # Errors
    /// When a thread cannot be started. There is no traffic then.
    pub fn change(
        &self,
        running: &mut Option<RunningLoad>,
        rate: Option<u32>,
        clients: Option<u32>,
    ) -> Result<(), StartError> {
        let before = (self.rate.load(Relaxed), self.clients.load(Relaxed));
        let (rate, clients) = (rate.unwrap_or(before.0), clients.unwrap_or(before.1));
        if (rate, clients) == before {
            return Ok(());
        }
        self.end(running);
        self.clients.store(clients, Relaxed);
        if rate > 0 {
            *running = Some(RunningLoad::start(&self.url, rate, clients, &self.counters)?);
        }
        self.rate.store(rate, Relaxed);
        Ok(())
    }

    /// Ends the traffic, if there is any.
    pub fn end(&self, running: &mut Option<RunningLoad>) {
        self.rate.store(0, Relaxed);
        if let Some(running) = running.take() {
            running.end();
        }
    }

    /// Returns settings and counters as the admin API shows them.
    pub fn state(&self) -> TrafficState {
        // `failed` is read first, so that it never exceeds `sent`.
        let failed = self.counters.failed.load(Relaxed);
        TrafficState {
            rate: self.rate.load(Relaxed),
            clients: self.clients.load(Relaxed),
            sent: self.counters.sent.load(Relaxed),
            failed,
        }
    }
}

/// Running clients.
pub struct RunningLoad {
    agent: Agent,
    stop: Sender<()>,
    threads: ThreadGroup,
}

impl RunningLoad {
    fn start(
        url: &Arc<str>,
        rate: u32,
        clients: u32,
        counters: &Arc<LoadCounters>,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = bounded(0);
        let running = RunningLoad { agent: agent(clients as usize), stop, threads: ThreadGroup::default() };
        let schedule = Arc::new(Schedule::new(rate));
        for number in 0..clients {
            let client = LoadClient {
                agent: running.agent.clone(),
                url: Arc::clone(url),
                schedule: Arc::clone(&schedule),
                stopped: stopped.clone(),
                counters: Arc::clone(counters),
            };
            running.threads.start(format!("traffic-{number}"), move || client.run())?;
        }
        Ok(running)
    }

    /// Ends the clients. Requests in flight are finished within [`GRACE`] or aborted; no request is sent after this.
    pub fn end(self) {
        let RunningLoad { agent, stop, threads } = self;
        drop(stop);
        if threads.join(Instant::now() + GRACE) > 0 {
            agent.shutdown();
            threads.join(Instant::now() + ABORT);
        }
    }
}

/// Creates the HTTP client that all load clients share. It keeps a connection for each of them.
fn agent(clients: usize) -> Agent {
    // A proxy named in the environment is not for connections within this process.
    let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
    let config = config.max_idle_connections(clients).max_idle_connections_per_host(clients);
    Agent::new_with_config(config.max_idle_age(IDLE).timeout_global(Some(TIMEOUT)).build())
}

/// One client: a thread that sends requests one after the other.
struct LoadClient {
    agent: Agent,
    url: Arc<str>,
    schedule: Arc<Schedule>,
    /// Closed when it is time to stop.
    stopped: Receiver<()>,
    counters: Arc<LoadCounters>,
}

impl LoadClient {
    fn run(self) {
        while self.continues_after(self.schedule.wait()) {
            self.counters.sent.fetch_add(1, Relaxed);
            let failed = match self.request() {
                Ok(served) => !served,
                // Once stopped, the request was aborted here and has not failed.
                Err(_) => self.continues_after(Duration::ZERO),
            };
            if failed {
                self.counters.failed.fetch_add(1, Relaxed);
            }
        }
    }

    /// Waits, and returns whether to continue.
    fn continues_after(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }

    /// Sends a request and reads the response to its end, so that the connection can be used again. Returns whether the
    /// status is below 500.
    fn request(&self) -> Result<bool, ureq::Error> {
        let mut response = self.agent.get(&*self.url).call()?;
        io::copy(&mut response.body_mut().as_reader(), &mut io::sink())?;
        Ok(response.status().as_u16() < 500)
    }
}

/// The due times of requests, in nanoseconds since `began`.
struct Schedule {
    began: Instant,
    step: u64,
    next: AtomicU64,
}

impl Schedule {
    /// Creates a schedule of this many requests a second, the first one due now.
    fn new(rate: u32) -> Self {
        let step = 1_000_000_000 / u64::from(rate.max(1));
        Schedule { began: Instant::now(), step, next: AtomicU64::new(0) }
    }

    /// Takes the next due time, and returns how long it is until then.
    fn wait(&self) -> Duration {
        let now = self.began.elapsed().as_nanos() as u64;
        Duration::from_nanos(self.take(now).saturating_sub(now))
    }

    fn take(&self, now: u64) -> u64 {
        let following = |next| Some(due(next, now) + self.step);
        let (Ok(next) | Err(next)) = self.next.fetch_update(Relaxed, Relaxed, following);
        due(next, now)
    }
}

/// Returns the due time of the next request. Late clients catch up, by [`CATCH_UP`] at most.
fn due(next: u64, now: u64) -> u64 {
    next.max(now.saturating_sub(CATCH_UP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(schedule: &Schedule, now: u64, count: usize) -> Vec<u64> {
        (0..count).map(|_| schedule.take(now)).collect()
    }

    #[test]
    fn makes_requests_due_at_an_even_rate() {
        let schedule = Schedule::new(4);
        assert_eq!(times(&schedule, 0, 5), [0, SECOND / 4, SECOND / 2, SECOND * 3 / 4, SECOND]);
        assert_eq!(schedule.take(SECOND * 5 / 4), SECOND * 5 / 4, "a client in time changes nothing");
    }

    #[test]
    fn lets_late_clients_catch_up() {
        let schedule = Schedule::new(4);
        assert_eq!(times(&schedule, SECOND, 6), [0, 1, 2, 3, 4, 5].map(|turn| turn * SECOND / 4));
    }

    #[test]
    fn limits_how_far_clients_catch_up() {
        let schedule = Schedule::new(100);
        schedule.take(0);
        let now = 3600 * SECOND;
        let late = times(&schedule, now, 1000).into_iter().filter(|due| *due < now).count();
        assert_eq!(late, 100, "one second of requests");
    }

    #[test]
    fn gives_each_due_time_to_one_client() {
        let schedule = Arc::new(Schedule::new(1000));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let schedule = Arc::clone(&schedule);
                std::thread::spawn(move || times(&schedule, 0, 500))
            })
            .collect();
        let mut all: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..4000).map(|turn| turn * SECOND / 1000).collect::<Vec<_>>());
    }
}

//! Traffic for the lesson: so many requests a second, from so many clients.
//!
//! The clients share one timetable: whoever is free takes the next time on it, waits until then, asks, and waits for
//! the reply. So the pace is even however many they are, and slow replies make it a slower one.

use crate::error::StartError;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use ureq::Agent;

/// A backend may think for a minute; whoever has not replied by then will not.
const PATIENCE: Duration = Duration::from_secs(70);

/// Connections are left before the balancer would close them: a request that meets the end of one would count as
/// failed.
const IDLE: Duration = Duration::from_secs(5);

/// How far behind the timetable clients may be. What is beyond that is left out.
const CATCH_UP: u64 = 1_000_000_000;

/// How long requests under way may take to finish when the traffic ends. Longer ones are broken off.
const GRACE: Duration = Duration::from_millis(300);

/// How long clients may take to end once they have been.
const CUT_OFF: Duration = Duration::from_millis(500);

/// The traffic as it is seen, whether there is any or not.
pub struct Traffic {
    url: Arc<str>,
    rate: AtomicU32,
    clients: AtomicU32,
    tally: Arc<Tally>,
}

/// What clients have done since the start.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Traffic {
    /// No traffic yet, to this address.
    pub fn to(address: SocketAddr) -> Self {
        Traffic {
            url: format!("http://{address}/").into(),
            rate: AtomicU32::new(0),
            clients: AtomicU32::new(4),
            tally: Arc::default(),
        }
    }

    /// Lets the generator go, if there is one, and has another one in its place, unless the rate is 0. What is left out
    /// stays as it is.
    ///
    /// # Errors
    /// When a thread cannot be started. Then there is no traffic.
    pub fn change(
        &self,
        generator: &mut Option<LoadGenerator>,
        rate: Option<u32>,
        clients: Option<u32>,
    ) -> Result<(), StartError> {
        let before = (self.rate.load(Relaxed), self.clients.load(Relaxed));
        let (rate, clients) = (rate.unwrap_or(before.0), clients.unwrap_or(before.1));
        if (rate, clients) == before {
            return Ok(());
        }
        self.end(generator);
        self.clients.store(clients, Relaxed);
        if rate > 0 {
            *generator = Some(LoadGenerator::start(&self.url, rate, clients, &self.tally)?);
        }
        self.rate.store(rate, Relaxed);
        Ok(())
    }

    /// Lets the generator go, if there is one.
    pub fn end(&self, generator: &mut Option<LoadGenerator>) {
        self.rate.store(0, Relaxed);
        if let Some(generator) = generator.take() {
            generator.end();
        }
    }

    /// How things are, as JSON.
    pub fn show(&self) -> Value {
        // In this order: none is seen to have failed that is not seen to have been sent.
        let failed = self.tally.failed.load(Relaxed);
        json!({
            "rate": self.rate.load(Relaxed),
            "clients": self.clients.load(Relaxed),
            "sent": self.tally.sent.load(Relaxed),
            "failed": failed,
        })
    }
}

/// Clients at work.
pub struct LoadGenerator {
    agent: Agent,
    stop: Sender<()>,
    threads: ThreadGroup,
}

impl LoadGenerator {
    fn start(url: &Arc<str>, rate: u32, clients: u32, tally: &Arc<Tally>) -> Result<Self, StartError> {
        let (stop, stopped) = bounded(0);
        let generator =
            LoadGenerator { agent: agent(clients as usize), stop, threads: ThreadGroup::default() };
        let timetable = Arc::new(Timetable::of(rate));
        for number in 0..clients {
            let client = Client {
                agent: generator.agent.clone(),
                url: Arc::clone(url),
                timetable: Arc::clone(&timetable),
                stopped: stopped.clone(),
                tally: Arc::clone(tally),
            };
            generator.threads.start(format!("traffic-{number}"), move || client.run())?;
        }
        Ok(generator)
    }

    /// Has the clients finish what they have begun, or breaks it off. Nothing more is sent after this.
    pub fn end(self) {
        let LoadGenerator { agent, stop, threads } = self;
        drop(stop);
        if threads.join(Instant::now() + GRACE) > 0 {
            agent.shutdown();
            threads.join(Instant::now() + CUT_OFF);
        }
    }
}

/// What all clients ask through. It keeps a connection for each of them.
fn agent(clients: usize) -> Agent {
    // Whatever proxy the environment names, it is not between the demo and itself.
    let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
    let config = config.max_idle_connections(clients).max_idle_connections_per_host(clients);
    Agent::new_with_config(config.max_idle_age(IDLE).timeout_global(Some(PATIENCE)).build())
}

/// One of the generator.
struct Client {
    agent: Agent,
    url: Arc<str>,
    timetable: Arc<Timetable>,
    /// Closed when it is time to stop.
    stopped: Receiver<()>,
    tally: Arc<Tally>,
}

impl Client {
    fn run(self) {
        while self.goes_on_after(self.timetable.wait()) {
            self.tally.sent.fetch_add(1, Relaxed);
            let failed = match self.ask() {
                Ok(served) => !served,
                Err(_) => self.goes_on_after(Duration::ZERO), // or it was broken off, and nobody has failed
            };
            if failed {
                self.tally.failed.fetch_add(1, Relaxed);
            }
        }
    }

    fn goes_on_after(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }

    /// Asks, and reads the reply to its end: the next request has the same connection then. False if the reply is
    /// none that one asks for.
    fn ask(&self) -> Result<bool, ureq::Error> {
        let mut reply = self.agent.get(&*self.url).call()?;
        io::copy(&mut reply.body_mut().as_reader(), &mut io::sink())?;
        Ok(reply.status().as_u16() < 500)
    }
}

/// When requests are due. Times are in nanoseconds since it was begun.
struct Timetable {
    began: Instant,
    step: u64,
    next: AtomicU64,
}

impl Timetable {
    /// So many requests a second, the first one now.
    fn of(rate: u32) -> Self {
        let step = 1_000_000_000 / u64::from(rate.max(1));
        Timetable { began: Instant::now(), step, next: AtomicU64::new(0) }
    }

    /// Takes the next time. How long is it until then?
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

/// When the next request is due. Clients that are late catch up on what they have missed, but not on everything.
fn due(next: u64, now: u64) -> u64 {
    next.max(now.saturating_sub(CATCH_UP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(timetable: &Timetable, now: u64, count: usize) -> Vec<u64> {
        (0..count).map(|_| timetable.take(now)).collect()
    }

    #[test]
    fn requests_are_due_at_an_even_pace() {
        let timetable = Timetable::of(4);
        assert_eq!(times(&timetable, 0, 5), [0, SECOND / 4, SECOND / 2, SECOND * 3 / 4, SECOND]);
        assert_eq!(timetable.take(SECOND * 5 / 4), SECOND * 5 / 4, "whoever is in time changes nothing");
    }

    #[test]
    fn whoever_is_a_little_late_catches_up() {
        let timetable = Timetable::of(4);
        assert_eq!(times(&timetable, SECOND, 6), [0, 1, 2, 3, 4, 5].map(|turn| turn * SECOND / 4));
    }

    #[test]
    fn there_is_no_endless_debt() {
        let timetable = Timetable::of(100);
        timetable.take(0);
        let now = 3600 * SECOND;
        let late = times(&timetable, now, 1000).into_iter().filter(|due| *due < now).count();
        assert_eq!(late, 100, "what a second has room for");
    }

    #[test]
    fn each_time_is_given_to_one_client() {
        let timetable = Arc::new(Timetable::of(1000));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let timetable = Arc::clone(&timetable);
                std::thread::spawn(move || times(&timetable, 0, 500))
            })
            .collect();
        let mut all: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..4000).map(|turn| turn * SECOND / 1000).collect::<Vec<_>>());
    }
}

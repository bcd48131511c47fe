//! The load generator: a number of connections driven by one thread, in a closed or an open loop.
//!
//! Established tools do not report the replies of each connection, which a comparison of schedulers needs, or
//! require more than Rust. Where wrk is installed, the rate is cross-checked against it.

mod connection;
mod reply_parser;
mod stats;

use crate::results::Load;
use anyhow::{Context, Result};
use connection::{LoadConnection, Step};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use stats::LoadStats;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Size of the read buffer in bytes.
const READ_SIZE: usize = 256 << 10;

/// Delay before a connection sends again after a failure.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Longest wait for events.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// Settings of one load.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// Addresses to connect to, assigned to the connections in turn.
    pub targets: Vec<SocketAddr>,
    /// Number of connections.
    pub connections: usize,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
    /// Requests per second in an open loop; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Seed of the random arrival times: equal seeds give equal times.
    pub seed: u64,
    /// Time over which the first requests of a closed loop are spread, so that equal delays do not keep the
    /// replies synchronized.
    pub spread: Duration,
    /// Duration of the load before the window.
    pub warm_up: Duration,
    /// Duration of the window, in which replies count.
    pub window: Duration,
}

/// An action and its time, counted from the first request.
pub type TimedAction<'a> = (Duration, Box<dyn FnOnce() + 'a>);

struct Generator<'a> {
    settings: &'a LoadSettings,
    request: Vec<u8>,
    poll: Poll,
    connections: Vec<LoadConnection>,
    stats: LoadStats,
    /// Connections to send on, and when, in order of time.
    due: VecDeque<(Instant, usize)>,
    /// Open loop: due times of requests without a connection, and connections without a request.
    waiting: VecDeque<Instant>,
    free: VecDeque<usize>,
    clock: Option<Clock>,
}

/// Arrival times of an open loop: a Poisson process, as with many independent clients.
struct Clock {
    rate: f64,
    random: fastrand::Rng,
    next: Instant,
    /// Finer than the poller's own timeout, which is in milliseconds.
    timer: TimerFd,
}

/// Runs the load. `actions` must be in order of time.
///
/// # Errors
/// Returns an error if a connection cannot be opened.
pub fn run(settings: &LoadSettings, actions: Vec<TimedAction<'_>>) -> Result<Load> {
    let poll = Poll::new()?;
    let connections = open(settings, &poll)?;
    let began = Instant::now();
    let window = began + settings.warm_up;
    let mut generator = Generator {
        settings,
        request: request(settings.keep_alive),
        poll,
        stats: LoadStats::new(settings.connections, window, window + settings.window),
        due: VecDeque::new(),
        waiting: VecDeque::new(),
        free: VecDeque::new(),
        clock: None,
        connections,
    };
    generator.begin(began)?;
    generator.work(began, actions.into())?;
    let unanswered = generator.settings.connections - generator.free.len() + generator.waiting.len();
    Ok(generator.stats.finish(settings.window, settings.rate.map(|_| unanswered as u64)))
}

fn request(keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    format!("GET / HTTP/1.1\r\nHost: compare\r\n{connection}\r\n").into_bytes()
}

/// Opens all connections one by one, because a burst would measure the listener's backlog.
fn open(settings: &LoadSettings, poll: &Poll) -> Result<Vec<LoadConnection>> {
    let mut connections = Vec::with_capacity(settings.connections);
    for slot in 0..settings.connections {
        let target = settings.targets[slot % settings.targets.len()];
        let mut connection = LoadConnection::new(target, settings.keep_alive);
        if settings.keep_alive {
            connection
                .connect(poll, Token(slot))
                .with_context(|| format!("connection {slot} to {target}"))?;
        }
        connections.push(connection);
    }
    Ok(connections)
}

impl Generator<'_> {
    /// Schedules the first requests.
    fn begin(&mut self, began: Instant) -> Result<()> {
        let slots = 0..self.settings.connections;
        let Some(rate) = self.settings.rate else {
            let gap = self.settings.spread.div_f64(slots.len().max(1) as f64);
            self.due = slots.map(|slot| (began + gap.mul_f64(slot as f64), slot)).collect();
            return Ok(());
        };
        self.free = slots.collect();
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        let token = Token(self.settings.connections);
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.clock =
            Some(Clock { rate, random: fastrand::Rng::with_seed(self.settings.seed), next: began, timer });
        Ok(())
    }

    fn work(&mut self, began: Instant, mut actions: VecDeque<TimedAction<'_>>) -> Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; READ_SIZE]);
        let end = began + self.settings.warm_up + self.settings.window;
        loop {
            let now = Instant::now();
            while actions.front().is_some_and(|(time, _)| began + *time <= now) {
                if let Some((_, act)) = actions.pop_front() {
                    act();
                }
            }
            if now >= end && actions.is_empty() {
                return Ok(());
            }
            self.send_due(now)?;
            let next = actions.front().map(|(time, _)| began + *time);
            let until =
                [Some(end), next, self.due.front().map(|(time, _)| *time)].into_iter().flatten().min();
            let timeout = until.map_or(MAX_WAIT, |until| until.saturating_duration_since(now)).min(MAX_WAIT);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                if event.token().0 < self.connections.len() {
                    self.on_event(event.token().0, event.is_read_closed() || event.is_error(), &mut buffer);
                }
            }
        }
    }

    fn send_due(&mut self, now: Instant) -> Result<()> {
        while self.due.front().is_some_and(|(time, _)| *time <= now) {
            if let Some((_, slot)) = self.due.pop_front() {
                self.release(slot, now);
            }
        }
        if let Some(clock) = &mut self.clock {
            let due = clock.take_due(now)?;
            self.stats.due(&due);
            self.waiting.extend(due);
        }
        while !self.waiting.is_empty() {
            let Some(slot) = self.free.pop_front() else { break };
            if let Some(due) = self.waiting.pop_front() {
                self.send(slot, due);
            }
        }
        Ok(())
    }

    /// Marks a connection as free: a closed loop sends its next request at once.
    fn release(&mut self, slot: usize, now: Instant) {
        match self.clock {
            None => self.send(slot, now),
            Some(_) => self.free.push_back(slot),
        }
    }

    fn send(&mut self, slot: usize, due: Instant) {
        let step = self.connections[slot].send_request(due, &self.request, &self.poll, Token(slot));
        self.apply(slot, step);
    }

    fn on_event(&mut self, slot: usize, closing: bool, buffer: &mut [u8]) {
        let step = self.connections[slot].on_event(&self.request, closing, buffer);
        self.apply(slot, step);
    }

    fn apply(&mut self, slot: usize, step: Step) {
        let now = Instant::now();
        match step {
            Step::Pending => {}
            Step::Complete { due, status, body } => {
                self.stats.reply(slot, now, due, status, body);
                self.release(slot, now);
            }
            Step::Failed { due, kind } => {
                self.stats.error(now, due, kind);
                self.due.push_back((now + RETRY_DELAY, slot));
            }
        }
    }
}

impl Clock {
    /// Returns the due times up to `now`, and sets the timer for the next one.
    fn take_due(&mut self, now: Instant) -> Result<Vec<Instant>> {
        let mut due = Vec::new();
        while self.next <= now {
            due.push(self.next);
            let gap = -(1.0 - self.random.f64()).ln() / self.rate;
            self.next += Duration::from_secs_f64(gap);
        }
        let wait = (self.next - now).max(Duration::from_nanos(1));
        self.timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    const MS: Duration = Duration::from_millis(1);

    /// Starts a server for one connection that replies at once, except for a pause before its tenth reply.
    fn pauses_once(pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            for number in 1.. {
                if !stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {
                    return;
                }
                thread::sleep(if number == 10 { pause } else { Duration::ZERO });
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_err() {
                    return;
                }
            }
        });
        address
    }

    fn settings(target: SocketAddr, rate: Option<f64>) -> LoadSettings {
        LoadSettings {
            targets: vec![target],
            connections: 1,
            keep_alive: true,
            rate,
            seed: 1,
            spread: Duration::ZERO,
            warm_up: Duration::ZERO,
            window: 1000 * MS,
        }
    }

    #[test]
    fn an_open_loop_counts_a_pause_in_the_latency_of_every_request_due_meanwhile() {
        let pause = 400 * MS;
        let open = run(&settings(pauses_once(pause), Some(200.0)), Vec::new()).unwrap();
        let offered = open.offered.unwrap();
        assert!((150.0..250.0).contains(&offered), "{offered}");
        // Two in five requests fall into the pause, and wait for 200 ms on average.
        assert!(open.latency.p90 > 200_000.0, "{:?}", open.latency);
        let closed = run(&settings(pauses_once(pause), None), Vec::new()).unwrap();
        assert!(closed.latency.p99 < closed.latency.max, "one request of many: {:?}", closed.latency);
        assert!(closed.latency.max >= 390_000.0, "{:?}", closed.latency);
    }

    #[test]
    fn runs_timed_actions_in_order_and_not_early() {
        let (address, seen) = (pauses_once(Duration::ZERO), std::cell::RefCell::new(Vec::new()));
        let began = Instant::now();
        let moment = |ms: u32| -> TimedAction<'_> {
            let seen = &seen;
            (ms * MS, Box::new(move || seen.borrow_mut().push((ms, began.elapsed()))))
        };
        run(&settings(address, None), vec![moment(0), moment(300), moment(1000)]).unwrap();
        let seen = seen.into_inner();
        assert_eq!(seen.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [0, 300, 1000]);
        assert!(seen.iter().all(|(ms, at)| *at >= *ms * MS), "{seen:?}");
    }

    #[test]
    fn counts_a_close_without_a_reply_as_an_error_and_reconnects() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        let load = run(&settings(address, None), Vec::new()).unwrap();
        assert_eq!((load.good, load.nothing), (0, 1));
        assert!(load.errors["closed"] > 2, "{:?}", load.errors);
    }
}

//! The clients: so many connections from one thread, in a closed loop or an open one.
//!
//! Well-kept tools for this exist, and none of them says how many replies each connection got, which a
//! comparison of schedulers wants to know, or needs nothing but Rust. Where wrk is installed, the rates are
//! checked against its.

mod client;
mod reply;
mod tally;

use crate::results::Load;
use anyhow::{Context, Result};
use client::{Client, Step};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};
use tally::Tally;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// How long a connection rests after a failure.
const BREATH: Duration = Duration::from_millis(10);

/// The longest wait for anything.
const LOOK_UP: Duration = Duration::from_millis(50);

/// What is to be asked.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whom. Connections are dealt out in turn.
    pub targets: Vec<SocketAddr>,
    /// How many connections.
    pub connections: usize,
    /// Does each ask more than once?
    pub keep_alive: bool,
    /// So many requests a second in an open loop. Nothing: a closed loop.
    pub rate: Option<f64>,
    /// Whom chance obeys: the same requests are due at the same times for all who have the same seed.
    pub seed: u64,
    /// The first requests of a closed loop are spread over this time, so that replies that all take as long
    /// do not come all at once for ever.
    pub spread: Duration,
    /// Load that does not count, before that which does.
    pub warm_up: Duration,
    /// How long it counts.
    pub window: Duration,
}

/// Something to be done at a time, counted from the first request.
pub type Moment<'a> = (Duration, Box<dyn FnOnce() + 'a>);

struct Generator<'a> {
    setup: &'a Setup,
    request: Vec<u8>,
    poll: Poll,
    clients: Vec<Client>,
    tally: Tally,
    /// Whose turn it is to ask, and from when. In order of time.
    due: VecDeque<(Instant, usize)>,
    /// Open loop: requests that are due and have no connection yet, and connections without a request.
    waiting: VecDeque<Instant>,
    free: VecDeque<usize>,
    clock: Option<Clock>,
}

/// When the requests of an open loop are due: at random, independently of each other, as those of many
/// clients are.
struct Clock {
    rate: f64,
    random: fastrand::Rng,
    next: Instant,
    /// The poller's own patience is counted in milliseconds.
    timer: TimerFd,
}

/// Asks. `moments` must be in order.
///
/// # Errors
/// When connections cannot be opened.
pub fn run(setup: &Setup, moments: Vec<Moment<'_>>) -> Result<Load> {
    let poll = Poll::new()?;
    let clients = open(setup, &poll)?;
    let began = Instant::now();
    let window = began + setup.warm_up;
    let mut generator = Generator {
        setup,
        request: request(setup.keep_alive),
        poll,
        tally: Tally::new(setup.connections, window, window + setup.window),
        due: VecDeque::new(),
        waiting: VecDeque::new(),
        free: VecDeque::new(),
        clock: None,
        clients,
    };
    generator.begin(began)?;
    generator.work(began, moments.into())?;
    let unanswered = generator.setup.connections - generator.free.len() + generator.waiting.len();
    Ok(generator.tally.finish(setup.window, setup.rate.map(|_| unanswered as u64)))
}

fn request(keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    format!("GET / HTTP/1.1\r\nHost: compare\r\n{connection}\r\n").into_bytes()
}

/// Opens all connections, one after the other: a crowd that comes at once measures the listener's backlog.
fn open(setup: &Setup, poll: &Poll) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(setup.connections);
    for slot in 0..setup.connections {
        let target = setup.targets[slot % setup.targets.len()];
        let mut client = Client::new(target, setup.keep_alive);
        if setup.keep_alive {
            client.open_now(poll, Token(slot)).with_context(|| format!("connection {slot} to {target}"))?;
        }
        clients.push(client);
    }
    Ok(clients)
}

impl Generator<'_> {
    /// Says who asks first, and when.
    fn begin(&mut self, began: Instant) -> Result<()> {
        let slots = 0..self.setup.connections;
        let Some(rate) = self.setup.rate else {
            let gap = self.setup.spread.div_f64(slots.len().max(1) as f64);
            self.due = slots.map(|slot| (began + gap.mul_f64(slot as f64), slot)).collect();
            return Ok(());
        };
        self.free = slots.collect();
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        let token = Token(self.setup.connections);
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.clock =
            Some(Clock { rate, random: fastrand::Rng::with_seed(self.setup.seed), next: began, timer });
        Ok(())
    }

    fn work(&mut self, began: Instant, mut moments: VecDeque<Moment<'_>>) -> Result<()> {
        let (mut events, mut piece) = (Events::with_capacity(1024), vec![0; PIECE]);
        let end = began + self.setup.warm_up + self.setup.window;
        loop {
            let now = Instant::now();
            while moments.front().is_some_and(|(time, _)| began + *time <= now) {
                if let Some((_, act)) = moments.pop_front() {
                    act();
                }
            }
            if now >= end && moments.is_empty() {
                return Ok(());
            }
            self.ask_who_is_due(now)?;
            let next = moments.front().map(|(time, _)| began + *time);
            let until =
                [Some(end), next, self.due.front().map(|(time, _)| *time)].into_iter().flatten().min();
            let patience = until.map_or(LOOK_UP, |until| until.saturating_duration_since(now)).min(LOOK_UP);
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                if event.token().0 < self.clients.len() {
                    self.visit(event.token().0, event.is_read_closed() || event.is_error(), &mut piece);
                }
            }
        }
    }

    fn ask_who_is_due(&mut self, now: Instant) -> Result<()> {
        while self.due.front().is_some_and(|(time, _)| *time <= now) {
            if let Some((_, slot)) = self.due.pop_front() {
                self.is_free(slot, now);
            }
        }
        if let Some(clock) = &mut self.clock {
            let due = clock.strike(now)?;
            self.tally.due(&due);
            self.waiting.extend(due);
        }
        while !self.waiting.is_empty() {
            let Some(slot) = self.free.pop_front() else { break };
            if let Some(due) = self.waiting.pop_front() {
                self.ask(slot, due);
            }
        }
        Ok(())
    }

    /// A connection may ask again.
    fn is_free(&mut self, slot: usize, now: Instant) {
        match self.clock {
            None => self.ask(slot, now),
            Some(_) => self.free.push_back(slot),
        }
    }

    fn ask(&mut self, slot: usize, due: Instant) {
        let step = self.clients[slot].ask(due, &self.request, &self.poll, Token(slot));
        self.follow(slot, step);
    }

    fn visit(&mut self, slot: usize, ends: bool, piece: &mut [u8]) {
        let step = self.clients[slot].go_on(&self.request, ends, piece);
        self.follow(slot, step);
    }

    fn follow(&mut self, slot: usize, step: Step) {
        let now = Instant::now();
        match step {
            Step::Waits => {}
            Step::Whole { due, status, body } => {
                self.tally.reply(slot, now, due, status, body);
                self.is_free(slot, now);
            }
            Step::Failed { due, word } => {
                self.tally.error(now, due, word);
                self.due.push_back((now + BREATH, slot));
            }
        }
    }
}

impl Clock {
    /// All requests that are due by now. Sets the timer for the next.
    fn strike(&mut self, now: Instant) -> Result<Vec<Instant>> {
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

    /// A server for one connection that replies at once, but pauses before its tenth reply.
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

    fn setup(target: SocketAddr, rate: Option<f64>) -> Setup {
        Setup {
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
    fn in_an_open_loop_a_pause_is_in_the_latency_of_all_who_came_meanwhile() {
        let pause = 400 * MS;
        let open = run(&setup(pauses_once(pause), Some(200.0)), Vec::new()).unwrap();
        let offered = open.offered.unwrap();
        assert!((150.0..250.0).contains(&offered), "{offered}");
        // Two in five came during the pause, and waited for 200 ms on average.
        assert!(open.latency.p90 > 200_000.0, "{:?}", open.latency);
        let closed = run(&setup(pauses_once(pause), None), Vec::new()).unwrap();
        assert!(closed.latency.p99 < closed.latency.max, "one request of many: {:?}", closed.latency);
        assert!(closed.latency.max >= 390_000.0, "{:?}", closed.latency);
    }

    #[test]
    fn moments_come_in_order_and_in_time() {
        let (address, seen) = (pauses_once(Duration::ZERO), std::cell::RefCell::new(Vec::new()));
        let began = Instant::now();
        let moment = |ms: u32| -> Moment<'_> {
            let seen = &seen;
            (ms * MS, Box::new(move || seen.borrow_mut().push((ms, began.elapsed()))))
        };
        run(&setup(address, None), vec![moment(0), moment(300), moment(1000)]).unwrap();
        let seen = seen.into_inner();
        assert_eq!(seen.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [0, 300, 1000]);
        assert!(seen.iter().all(|(ms, at)| *at >= *ms * MS), "{seen:?}");
    }

    #[test]
    fn a_connection_that_ends_without_a_reply_is_an_error_and_is_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        let load = run(&setup(address, None), Vec::new()).unwrap();
        assert_eq!((load.good, load.nothing), (0, 1));
        assert!(load.errors["closed"] > 2, "{:?}", load.errors);
    }
}

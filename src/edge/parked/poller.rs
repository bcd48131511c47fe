//! The thread that waits for all connections at once.

use super::EdgeState;
use super::buffer_budget::TrimPolicy;
use super::connection::{Checked, Connection, Phase, Step};
use super::slab::{WAKE, WakeUp};
use crate::edge::{ClientStream, Exchange, socket};
use crate::error::Refusal;
use crate::observe::Outcome;
use crate::queue::JobSender;
use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::{Events, Poll};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Sockets that are reported at a time.
const EVENTS: usize = 1024;

/// Bytes that are read at a time. One such buffer for all connections.
const PIECE: usize = 64 << 10;

/// Reads of one connection before others have their turn.
const TURN: usize = 16;

/// Reads what has come, without ever waiting for it, and offers each request that is whole at the
/// queue's jobs.
pub struct Poller {
    pub poll: Poll,
    pub wake_ups: Receiver<WakeUp>,
    pub jobs: JobSender,
    pub shared: Arc<EdgeState>,
    /// How often it looks whose time is over.
    pub tick: Duration,
}

impl Poller {
    /// Works until the edge is finished.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut piece = vec![0; PIECE];
        let mut next_look = Instant::now() + self.tick;
        let (mut draining, mut trim) = (false, TrimPolicy::default());
        while !self.shared.finished.load(SeqCst) {
            let watches = self.shared.slab.taken() > 0 || trim.is_pending();
            let patience = watches.then_some(self.tick);
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!("the poller cannot wait for connections: {error}");
                std::thread::sleep(self.tick);
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.visit(event.token().0, hangs_up(event), &mut piece);
            }
            // Those that call again while they are looked at have their turn the next time.
            for (number, ends) in self.wake_ups.try_iter().take(self.wake_ups.len()) {
                self.visit(number, ends, &mut piece);
            }
            let now = Instant::now();
            if now >= next_look {
                next_look = now + self.tick;
                trim.look(&self.shared.buffer_budget);
                self.shared.slab.fetch_expired(Some(now)).for_each(|connection| self.expire(connection));
            }
            if !draining && self.shared.draining.load(SeqCst) {
                draining = true;
                // Whoever waits for nothing is let go, and whoever has just sent something is served.
                let all = self.shared.slab.fetch_expired(None);
                all.for_each(|connection| self.look_at(connection, &mut piece));
            }
        }
        self.shared.slab.fetch_expired(None).for_each(|connection| self.cut_off(connection));
    }

    /// A connection has something to be read, and perhaps its end.
    fn visit(&self, number: usize, ends: bool, piece: &mut [u8]) {
        if let Some(mut connection) = self.shared.slab.fetch(number, ends) {
            connection.unread |= ends;
            self.look_at(connection, piece);
        }
    }

    fn look_at(&self, connection: Box<Connection>, piece: &mut [u8]) {
        guarded(|| self.read(connection, piece));
    }

    /// Reads what has come.
    fn read(&self, mut connection: Box<Connection>, piece: &mut [u8]) {
        let mut step = if connection.input.is_empty() { Step::More } else { connection.take_in(&[]) };
        for _ in 0..TURN {
            if !matches!(step, Step::More) {
                return self.go(connection, step);
            }
            step = match socket::receive_now(&connection.stream, piece) {
                Ok(n) if n > 0 => {
                    connection.unread |= n == piece.len();
                    connection.take_in(&piece[..n])
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => Step::More,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.unread = false;
                    return self.park(connection);
                }
                Ok(_) | Err(_) => match connection.cut_short() {
                    Some(step) => step,
                    None => return, // dropped, and so closed
                },
            };
        }
        match step {
            Step::More => connection.park(true),
            step => self.go(connection, step),
        }
    }

    fn park(&self, connection: Box<Connection>) {
        if matches!(connection.phase, Phase::Idle) && self.shared.draining.load(SeqCst) {
            return; // nothing has come, and nothing more is wait for
        }
        connection.park(false);
    }

    /// A connection's time is over.
    fn expire(&self, mut connection: Box<Connection>) {
        guarded(|| {
            if let Some(step) = connection.expire() {
                self.go(connection, step);
            }
        });
    }

    /// The edge is finished. Whose upload is not whole by now has been too slow; nobody else waits for a word.
    fn cut_off(&self, mut connection: Box<Connection>) {
        guarded(|| {
            if matches!(connection.phase, Phase::Gathering(..)) {
                let step = connection.give_up(Refusal::ClientTooSlow);
                self.go(connection, step);
            }
        });
    }

    fn go(&self, connection: Box<Connection>, step: Step) {
        match step {
            Step::More => self.park(connection),
            Step::Ready(checked) => self.jobs.offer(self.exchange(connection, checked)),
            Step::Refuse(refusal, Some(checked)) => {
                self.jobs.recorder().refuse(self.exchange(connection, *checked), refusal);
            }
            Step::Refuse(refusal, None) => {
                let outcome = Outcome::refused(None, connection.peer, Instant::now(), refusal);
                self.jobs.recorder().record(&outcome);
                connection.refuse(refusal, None);
            }
        }
    }

    fn exchange(&self, connection: Box<Connection>, checked: Checked) -> Exchange {
        Exchange::new(checked, connection.peer, self.shared.options.limits.body, connection)
    }
}

/// A panic costs one connection: nobody would wait for the others if this thread ended.
fn guarded(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("a connection made the poller panic; it goes on with the others");
    }
}

fn hangs_up(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

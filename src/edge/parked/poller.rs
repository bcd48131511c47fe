//! The thread that waits for events on all parked connections.

use crate::edge::exchange::Exchange;
use crate::edge::parked::buffer_budget::TrimPolicy;
use crate::edge::parked::connection::{CheckedHead, Connection, ConnectionPhase, Connections, NextAction};
use crate::edge::parked::slab::{WAKE, WakeUp};
use crate::edge::parked::state::ParkedState;
use crate::edge::socket;
use crate::error::Refusal;
use crate::queue::sender::JobSender;
use crate::sys::memory;
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

/// Size of the one read buffer for all connections.
const READ_BUFFER: usize = 64 << 10;

/// The most reads of one connection in a row, before other connections are read.
const READS_IN_A_ROW: usize = 16;

/// Reads what has arrived, without ever blocking on a client, and offers each complete request to the
/// queue.
pub struct Poller {
    pub poll: Poll,
    pub wake_ups: Receiver<WakeUp>,
    pub jobs: JobSender,
    pub state: Arc<ParkedState>,
    pub slab: Arc<Connections>,
    /// The interval between two checks of the deadlines.
    pub tick: Duration,
}

impl Poller {
    /// Serves until the edge is finished.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BUFFER];
        let mut next_check = Instant::now() + self.tick;
        let (mut draining, mut trim_policy) = (false, TrimPolicy::default());
        while !self.state.finished.load(SeqCst) {
            let has_deadlines = self.slab.claimed() > 0 || trim_policy.is_pending();
            self.wait(&mut events, has_deadlines.then_some(self.tick));
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.visit(event.token().0, is_end(event), &mut buffer);
            }
            // Wake-ups that are sent during this loop are handled in the next round, after new events.
            for WakeUp { slot, ended } in self.wake_ups.try_iter().take(self.wake_ups.len()) {
                self.visit(slot, ended, &mut buffer);
            }
            let now = Instant::now();
            if now >= next_check {
                next_check = now + self.tick;
                if trim_policy.should_trim(self.state.buffer_budget.used()) {
                    memory::release_free_memory();
                }
                self.slab.take_out_expired(Some(now)).for_each(|connection| self.expire(connection));
            }
            if !draining && self.state.draining.load(SeqCst) {
                draining = true;
                // Idle connections are closed, and requests that have just arrived are served.
                let all = self.slab.take_out_expired(None);
                all.for_each(|connection| self.read_guarded(connection, &mut buffer));
            }
        }
        self.slab.take_out_expired(None).for_each(|connection| self.cut_off(connection));
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) {
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!("cannot wait for connections; retrying: {error}");
            std::thread::sleep(self.tick);
        }
    }

    /// Reads from a connection that has input, and perhaps the end of its stream.
    fn visit(&self, slot: usize, ended: bool, buffer: &mut [u8]) {
        if let Some(mut connection) = self.slab.take_out(slot, ended) {
            connection.unreported_input |= ended;
            self.read_guarded(connection, buffer);
        }
    }

    fn read_guarded(&self, connection: Box<Connection>, buffer: &mut [u8]) {
        catch_panic(|| self.read(connection, buffer));
    }

    /// Reads what has arrived, and acts on it.
    fn read(&self, mut connection: Box<Connection>, buffer: &mut [u8]) {
        let mut action =
            if connection.input.is_empty() { NextAction::ReadMore } else { connection.process(&[]) };
        for _ in 0..READS_IN_A_ROW {
            if !matches!(action, NextAction::ReadMore) {
                return self.perform(connection, action);
            }
            action = match socket::receive_now(&connection.stream, buffer) {
                Ok(n) if n > 0 => {
                    connection.unreported_input |= n == buffer.len();
                    connection.process(&buffer[..n])
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => NextAction::ReadMore,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.unreported_input = false;
                    return self.park(connection);
                }
                Ok(_) | Err(_) => match connection.on_end_of_stream() {
                    Some(action) => action,
                    None => return, // the drop closes it
                },
            };
        }
        match action {
            NextAction::ReadMore => connection.park(true),
            action => self.perform(connection, action),
        }
    }

    /// Parks a connection whose input has been read, or closes it if it is idle while the edge drains.
    fn park(&self, connection: Box<Connection>) {
        if matches!(connection.phase, ConnectionPhase::Idle) && self.state.draining.load(SeqCst) {
            return; // the drop closes it
        }
        connection.park(false);
    }

    /// Acts on a connection whose deadline has passed.
    fn expire(&self, mut connection: Box<Connection>) {
        catch_panic(|| {
            if let Some(action) = connection.on_deadline() {
                self.perform(connection, action);
            }
        });
    }

    /// Ends a connection once the edge is finished. An incomplete upload is refused as too slow; any other
    /// connection is closed without a reply.
    fn cut_off(&self, mut connection: Box<Connection>) {
        catch_panic(|| {
            if matches!(connection.phase, ConnectionPhase::BufferingBody(..)) {
                let action = connection.abandon(Refusal::ClientTooSlow);
                self.perform(connection, action);
            }
        });
    }

    fn perform(&self, connection: Box<Connection>, action: NextAction) {
        match action {
            NextAction::ReadMore => self.park(connection),
            NextAction::Dispatch(checked) => self.jobs.offer(self.exchange(connection, checked)),
            NextAction::Refuse(refusal, Some(checked)) => {
                self.jobs.recorder().refuse(self.exchange(connection, *checked), refusal);
            }
            NextAction::Refuse(refusal, None) => {
                let (peer, now) = (connection.peer, Instant::now());
                self.jobs.recorder().refuse_stream(connection, peer, now, refusal);
            }
        }
    }

    fn exchange(&self, connection: Box<Connection>, checked: CheckedHead) -> Exchange {
        Exchange::new(checked, connection.peer, self.state.options.limits.body, connection)
    }
}

/// Runs work on one connection. A panic ends that connection only: the poller goes on.
fn catch_panic(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("a connection was closed after a panic in the poller");
    }
}

fn is_end(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

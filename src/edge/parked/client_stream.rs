//! A worker's side of a connection: reading the body, writing the reply, and parking the connection again.

use crate::edge::client_stream::ClientStream;
use crate::edge::framing::AfterReply;
use crate::edge::parked::body::decoder::BodyDecoder;
use crate::edge::parked::connection::{Connection, ConnectionPhase, RequestBody};
use crate::edge::parked::slow_client::{SlowClientPolicy, WaitRefused};
use crate::edge::{response, socket};
use crate::error::Refusal;
use http::request;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

/// Bytes of a chunked body that are read at a time, framing included.
const CHUNKED_READ: usize = 32 << 10;

impl ClientStream for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let RequestBody { buffered, consumed, .. } = &mut self.body;
        if *consumed < buffered.len() {
            let n = (&buffered[*consumed..]).read(buf)?;
            *consumed += n;
            return Ok(n);
        }
        if self.body.decoder.is_over() || buf.is_empty() {
            return Ok(0);
        }
        let pending_continue = mem::take(&mut self.body.pending_continue);
        self.send(pending_continue)?;
        self.read_unbuffered(buf)
    }

    fn buffered(&self) -> u64 {
        self.body.buffered.len() as u64
    }

    fn may_keep_alive(&self) -> bool {
        let max_requests = self.state.options.max_requests_per_connection;
        self.body.decoder.is_over()
            && !self.state.stopping.load(Relaxed)
            && (max_requests == 0 || self.served + 1 < max_requests)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !mem::replace(&mut self.replying, true) {
            self.client_wait.change_direction();
        }
        self.send(bytes)
    }

    fn finish(mut self: Box<Self>, after: AfterReply) {
        let mut has_input = self.unreported_input;
        match after {
            AfterReply::KeepAlive => {
                has_input |= !self.input.is_empty();
                self.become_idle();
            }
            AfterReply::Close => {
                has_input |= !self.input.is_empty() || !self.body.decoder.is_over();
                let _ = self.stream.shutdown(Shutdown::Write); // fails when the client is gone
                self.start_lingering();
            }
            AfterReply::Abort => return self.abort(),
        }
        self.park(has_input);
    }

    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        let may_keep_alive = self.may_keep_alive() && !refusal.distrusts_connection();
        let (bytes, after) = response::refusal(refusal, request, may_keep_alive);
        match socket::send_now(&self.stream, &bytes) {
            Ok(n) if n == bytes.len() => self.finish(after),
            _ => self.abort(), // no thread waits for a client to read a refusal
        }
    }
}

impl Connection {
    /// Reads body bytes that have not been buffered.
    fn read_unbuffered(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let (taken, written) = self.body.decoder.decode(&self.input, buf).map_err(io::Error::other)?;
            self.input.drain(..taken);
            if written > 0 || self.body.decoder.is_over() {
                return Ok(written);
            }
            if let BodyDecoder::Sized(left) = self.body.decoder {
                let room = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let n = self.receive(&mut buf[..room])?;
                self.body.decoder.advance(n);
                return Ok(n);
            }
            let mut input = mem::take(&mut self.input);
            input.resize(CHUNKED_READ, 0);
            let n = self.receive(&mut input)?;
            input.truncate(n);
            self.input = input;
        }
    }

    /// Waits for bytes of a body for as long as the slow-client policy allows. Bytes that arrive late are still
    /// returned: they may complete the body, and then the client was not too slow.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.client_wait.check().map_err(|_| io::Error::other(Refusal::ClientTooSlow))?;
        if !mem::replace(&mut self.unwatched, true) {
            self.slab.unwatch(self.stream.as_raw_fd());
        }
        loop {
            let began = Instant::now();
            let read =
                if self.may_wait() { self.stream.read(buf) } else { socket::receive_now(&self.stream, buf) };
            let n = match read {
                Ok(0) => return Err(io::Error::other(Refusal::ClientGone)),
                Ok(n) => n,
                Err(error) if is_pause(&error) => 0,
                Err(_) => return Err(io::Error::other(Refusal::ClientGone)),
            };
            let waited = self.record_wait(began, n, self.state.upload_policy);
            match waited {
                _ if n > 0 => return Ok(n),
                Err(_) => return Err(io::Error::other(Refusal::ClientTooSlow)),
                Ok(()) => {}
            }
        }
    }

    /// Writes all of `bytes`, and waits for the client for as long as the slow-client policy allows.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.client_wait.check().map_err(|_| ErrorKind::TimedOut)?;
            let began = Instant::now();
            let written = if self.may_wait() {
                self.stream.write(bytes)
            } else {
                socket::send_now(&self.stream, bytes)
            };
            let n = match written {
                Ok(n) => n,
                Err(error) if is_pause(&error) => 0,
                Err(error) => return Err(error),
            };
            bytes = &bytes[n..];
            let waited = self.record_wait(began, n, self.state.reply_policy);
            if !bytes.is_empty() {
                waited.map_err(|_| ErrorKind::TimedOut)?;
            }
        }
        Ok(())
    }

    /// Returns whether the worker may wait for the client: under congestion, only with a permit.
    fn may_wait(&mut self) -> bool {
        !self.state.congestion.is_on() || self.client_wait.acquire_permit(&self.state.slow_client_permits)
    }

    /// Records a wait for the client since `began` in which `moved` bytes were moved. Fails if the client
    /// may not be waited for any longer.
    fn record_wait(
        &mut self,
        began: Instant,
        moved: usize,
        policy: SlowClientPolicy,
    ) -> Result<(), WaitRefused> {
        if self.state.finished.load(Relaxed) {
            return Err(WaitRefused::TooSlow);
        }
        let recorded = match moved == 0 && !self.may_wait() {
            true => Err(WaitRefused::NoPermit),
            false => {
                self.client_wait.record(began.elapsed(), moved, &policy, &self.state.slow_client_permits)
            }
        };
        if recorded == Err(WaitRefused::NoPermit) {
            let cut_off = self.state.cut_off.fetch_add(1, Relaxed) + 1;
            if cut_off.is_power_of_two() {
                tracing::warn!(
                    ended = cut_off,
                    "half of the workers wait for slow clients: cutting off further slow clients"
                );
            }
        }
        recorded
    }

    /// Parks the connection in its slot. `has_input` is whether there are unread bytes already.
    pub fn park(mut self: Box<Self>, has_input: bool) {
        if self.state.finished.load(SeqCst) || !self.watch_again() {
            return; // the drop closes it
        }
        // While the balancer drains, the poller closes idle connections.
        let idle = matches!(self.phase, ConnectionPhase::Idle);
        let has_input = has_input || (idle && self.state.draining.load(SeqCst));
        let (slab, slot, deadline) = (Arc::clone(&self.slab), self.slot, self.deadline);
        slab.park(slot, self, deadline, has_input);
    }

    /// Makes the poller report this connection's readiness again. Returns whether that worked.
    fn watch_again(&mut self) -> bool {
        let unwatched = mem::take(&mut self.unwatched);
        !unwatched || self.slab.watch(self.slot, self.stream.as_raw_fd()).is_ok()
    }

    /// Closes the connection with a reset, which the client sees as an error.
    fn abort(self: Box<Self>) {
        socket::reset_when_closed(&self.stream);
    }
}

/// Returns whether the error is the socket's timeout, without a byte moved.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

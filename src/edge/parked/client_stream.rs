//! A connection while a worker has it: reading its body, writing its reply, and giving it back.

use super::body::Incoming;
use super::connection::{Connection, Phase, Upload};
use super::slow_client::{SlowClientPolicy, TooSlow};
use crate::edge::response::{self, End};
use crate::edge::{ClientStream, socket};
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
const PIECE: usize = 32 << 10;

impl ClientStream for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Upload { gathered, given, .. } = &mut self.upload;
        if *given < gathered.len() {
            let n = (&gathered[*given..]).read(buf)?;
            *given += n;
            return Ok(n);
        }
        if self.upload.incoming.is_over() || buf.is_empty() {
            return Ok(0);
        }
        let go_ahead = mem::take(&mut self.upload.go_ahead);
        self.send(go_ahead)?;
        self.read_on(buf)
    }

    fn gathered(&self) -> u64 {
        self.upload.gathered.len() as u64
    }

    fn may_keep(&self) -> bool {
        let most = self.edge.options.max_requests_per_connection;
        self.upload.incoming.is_over()
            && !self.edge.stopping.load(Relaxed)
            && (most == 0 || self.served + 1 < most)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !mem::replace(&mut self.replying, true) {
            self.wait.turn_round();
        }
        self.send(bytes)
    }

    fn end(mut self: Box<Self>, end: End) {
        let mut again = self.unread;
        match end {
            End::Keep => {
                again |= !self.input.is_empty();
                self.rest();
            }
            End::Close => {
                again |= !self.input.is_empty() || !self.upload.incoming.is_over();
                let _ = self.stream.shutdown(Shutdown::Write); // it fails when the client is gone
                self.linger();
            }
            End::Abort => return self.abort(),
        }
        self.park(again);
    }

    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
        let (bytes, end) =
            response::refusal(refusal, request, self.may_keep() && !refusal.distrusts_connection());
        match socket::send_now(&self.stream, &bytes) {
            Ok(n) if n == bytes.len() => self.end(end),
            _ => self.abort(), // nobody waits for a client to read a refusal
        }
    }
}

impl Connection {
    /// Reads body bytes that have not been gathered.
    fn read_on(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let (taken, put) = self.upload.incoming.decode(&self.input, buf).map_err(io::Error::other)?;
            self.input.drain(..taken);
            if put > 0 || self.upload.incoming.is_over() {
                return Ok(put);
            }
            if let Incoming::Sized(left) = self.upload.incoming {
                let room = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let n = self.receive(&mut buf[..room])?;
                self.upload.incoming.took(n);
                return Ok(n);
            }
            let mut piece = mem::take(&mut self.input);
            piece.resize(PIECE, 0);
            let n = self.receive(&mut piece)?;
            piece.truncate(n);
            self.input = piece;
        }
    }

    /// Waits for bytes of a body, as long as this client may be wait for. Those that come late are the
    /// last: they may be the end of the body, and then nothing was late.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wait.may_go_on().map_err(|_| io::Error::other(Refusal::ClientTooSlow))?;
        if !mem::replace(&mut self.ignored, true) {
            self.edge.slab.ignore(self.stream.as_raw_fd());
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
            let patience = self.note(began, n, self.edge.upload_policy);
            match patience {
                _ if n > 0 => return Ok(n),
                Err(_) => return Err(io::Error::other(Refusal::ClientTooSlow)),
                Ok(()) => {}
            }
        }
    }

    /// Waits for the client to take it all, as long as it may be wait for.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait.may_go_on().map_err(|_| ErrorKind::TimedOut)?;
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
            let patience = self.note(began, n, self.edge.reply_policy);
            if !bytes.is_empty() {
                patience.map_err(|_| ErrorKind::TimedOut)?;
            }
        }
        Ok(())
    }

    /// May the client be wait for at all?
    fn may_wait(&mut self) -> bool {
        !self.edge.congestion.is_on() || self.wait.has_permit(&self.edge.permits)
    }

    /// May the client be wait for any longer?
    fn note(&mut self, began: Instant, moved: usize, policy: SlowClientPolicy) -> Result<(), TooSlow> {
        if self.edge.finished.load(Relaxed) {
            return Err(TooSlow::Client);
        }
        let noted = match moved == 0 && !self.may_wait() {
            true => Err(TooSlow::NoPermit),
            false => self.wait.note(began.elapsed(), moved, &policy, &self.edge.permits),
        };
        if noted == Err(TooSlow::NoPermit) {
            let ended = self.edge.ended.fetch_add(1, Relaxed) + 1;
            if ended.is_power_of_two() {
                tracing::warn!(ended, "slow clients hold half of the workers: further ones are cut off");
            }
        }
        noted
    }

    /// Goes back to its slot. `again`: there is something to look at already.
    pub fn park(mut self: Box<Self>, again: bool) {
        let edge = Arc::clone(&self.edge);
        if edge.finished.load(SeqCst) || !self.is_watched() {
            return; // dropped, and so closed
        }
        // While the balancer is stopping, whoever waits for nothing is let go.
        let idle = matches!(self.phase, Phase::Idle);
        edge.slab.park(self, again || (idle && edge.draining.load(SeqCst)));
    }

    /// Makes sure that the poller hears of it.
    fn is_watched(&mut self) -> bool {
        let ignored = mem::take(&mut self.ignored);
        !ignored || self.edge.slab.watch(self.slot(), self.stream.as_raw_fd()).is_ok()
    }

    /// Cuts it off visibly.
    fn abort(self: Box<Self>) {
        socket::reset_when_closed(&self.stream);
    }
}

/// Is it only that nothing has moved for a moment?
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

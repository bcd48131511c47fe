//! The simplest load balancer: one thread per connection, with the standard library only.
//!
//! Reading order: this file, [`connection`] (a client's loop), [`request`], [`reply`] and [`head`] (parsing), [`body`]
//! and [`relay`] (bodies), [`upstream`] (round robin and the connection pool).
//!
//! There is no queue, no limit and no graceful shutdown, which is part of the lesson:
//!
//! * A connection occupies a thread for its whole life, idle or not. The only limit is the system's: starting
//!   the next thread fails.
//! * std has no signal handling: SIGTERM and Ctrl-C kill the program, and requests in progress break off.
//! * std cannot raise the limit on file descriptors: for more than about five hundred connections, start the
//!   program under a larger `ulimit -n`. Otherwise clients can use all descriptors and leave none for
//!   connections to backends, and the reply is 502.
//! * std cannot reset a connection: a truncated reply without a length looks complete to an HTTP/1.0 client.
//! * Timeouts are socket timeouts: they limit a single read or write, never a whole head or body.

mod args;
mod body;
mod connection;
mod head;
mod relay;
mod reply;
mod request;
mod upstream;

use args::Settings;
use connection::Connection;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use upstream::Upstreams;

/// Delay after a failed `accept`, which most likely means that no descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Stack size of a connection's thread in bytes. Buffers are on the heap; the rest is for a panic's backtrace.
const STACK: usize = 256 << 10;

fn main() -> ExitCode {
    let settings = match args::parse(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into())) {
        Ok(settings) => settings,
        Err(why) => {
            log_error(&why);
            return ExitCode::from(2);
        }
    };
    let Err(why) = run(&settings);
    log_error(&why);
    ExitCode::FAILURE
}

/// Serves until the process is killed.
fn run(settings: &Settings) -> Result<Infallible, String> {
    let upstreams = Arc::new(Upstreams::resolve(&settings.backends, settings.reply_head_timeout)?);
    // std fixes the backlog at 128 connections.
    let listener = TcpListener::bind(&settings.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    // A closed pipe must not stop the server.
    let _ = writeln!(out, "Load balancer is listening on {address}").and_then(|()| out.flush());
    loop {
        match listener.accept() {
            Ok((stream, peer)) => start(stream, peer, Arc::clone(&upstreams)),
            Err(error) => {
                log_error(&format!("cannot accept a connection: {error}"));
                thread::sleep(ACCEPT_RETRY_DELAY);
            }
        }
    }
}

/// Starts a thread for the connection. A panic ends only that thread and its connection.
fn start(stream: TcpStream, peer: SocketAddr, upstreams: Arc<Upstreams>) {
    let thread = thread::Builder::new().name("connection".into()).stack_size(STACK);
    let started = thread.spawn(move || {
        // Fails only if the client has disconnected.
        if let Ok(connection) = Connection::new(stream, peer, &upstreams) {
            connection.serve();
        }
    });
    if let Err(error) = started {
        // The stream was moved into the closure and is closed.
        log_error(&format!("cannot start a thread, so the connection is closed: {error}"));
    }
}

/// Writes a line to standard error. `eprintln!` would panic on a closed pipe.
fn log_error(why: &str) {
    let _ = writeln!(io::stderr(), "turnwheel-threads: {why}");
}

//! The load balancer that everybody writes first: a thread for each connection, on std alone.
//!
//! Read it in this order: here, [`connection`] (one client's loop), [`head`] and [`message`] (what a
//! head says, and what of it is passed on), [`relay`] (moving bodies), [`upstream`] (whose turn it is, and the pool).
//!
//! There is no queue, no limit and no orderly end, and that is part of the lesson:
//!
//! * A connection costs a thread for as long as it lives, idle or not. How many there may be is for the system
//!   to say, and it says so by failing to start the next one.
//! * std knows no signals: SIGTERM and Ctrl-C kill the program, and what was under way breaks off.
//! * std cannot raise the limit on file descriptors: start it under a larger `ulimit -n` for more than about five
//!   hundred connections. Below, clients can take all of them, and none is left for the backends: 502.
//! * std cannot reset a connection: a broken reply to an HTTP/1.0 client that was promised no length looks whole.
//! * Timeouts are those of a socket: for the next bytes, and never for the whole of something.

mod args;
mod connection;
mod head;
mod message;
mod relay;
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

/// How long accepting rests when it fails: most likely there are no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

/// A connection's thread needs little: its buffers are on the heap. The rest is room for a panic's report.
const STACK: usize = 256 << 10;

fn main() -> ExitCode {
    let settings = match args::parse(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into())) {
        Ok(settings) => settings,
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    let Err(why) = run(&settings);
    complain(&why);
    ExitCode::FAILURE
}

/// Serves until the process is killed.
fn run(settings: &Settings) -> Result<Infallible, String> {
    let upstreams = Arc::new(Upstreams::resolve(&settings.backends, settings.reply_head_timeout)?);
    // Up to 128 connections wait to be accepted: that is std's number, and it cannot be changed.
    let listener = TcpListener::bind(&settings.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    // If nobody reads it (a closed pipe), the work goes on.
    let _ = writeln!(out, "Load balancer is listening on {address}").and_then(|()| out.flush());
    loop {
        match listener.accept() {
            Ok((stream, peer)) => start(stream, peer, Arc::clone(&upstreams)),
            Err(error) => {
                complain(&format!("a connection was not accepted: {error}"));
                thread::sleep(BREATH);
            }
        }
    }
}

/// Gives the connection a thread of its own. A panic ends that thread and its connection, and nothing else.
fn start(stream: TcpStream, peer: SocketAddr, upstreams: Arc<Upstreams>) {
    let thread = thread::Builder::new().name("connection".into()).stack_size(STACK);
    let started = thread.spawn(move || {
        // Fails only if the client has gone already.
        if let Ok(connection) = Connection::new(stream, peer, &upstreams) {
            connection.serve();
        }
    });
    if let Err(error) = started {
        // The stream went with the closure: it is closed.
        complain(&format!("no thread for a connection, which is closed: {error}"));
    }
}

/// A line on standard error. Not `eprintln!`, which panics if nobody reads it.
fn complain(why: &str) {
    let _ = writeln!(io::stderr(), "turnwheel-threads: {why}");
}

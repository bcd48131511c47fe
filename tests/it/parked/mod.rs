//! Behaviour that the parked edge has and the tiny-http edge does not.

mod deadlines;
mod ending;
mod expecting;
mod limits;
mod order;
mod permits;
mod stopping;
mod uploads;

use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// A body that is larger than the edge buffers before a worker gets the request.
const LARGE: usize = 100_000;

/// A long time for a client on the same machine.
const SECOND: Duration = Duration::from_secs(1);

/// Starts the balancer with this edge, whichever edge the other tests run with.
pub fn parked(backend: &Recorder, flags: &[&str]) -> Balancer {
    Balancer::serve(&[backend.addr], &[&["--edge=parked"], flags].concat())
}

/// Connects from this address of this machine.
pub fn connect_from(source: [u8; 4], addr: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&addr.into(), DEADLINE).unwrap();
    Client::over(socket.into())
}

fn sized(length: usize) -> String {
    format!("Content-Length: {length}")
}

/// Returns the head of an upload.
fn post(framing: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")
}

/// Returns a body in chunks of this size, with the last chunk.
fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let mut bytes: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Returns bytes among which a lost, doubled or moved one is detected.
fn pattern(length: usize) -> Vec<u8> {
    (0..251u8).cycle().take(length).collect()
}

/// Sends bytes in a thread of its own, `at_a_time` bytes and then a pause, until the connection fails.
fn trickle(client: &Client, bytes: Vec<u8>, at_a_time: usize, pause: Duration) {
    let mut stream = client.stream.try_clone().unwrap();
    thread::spawn(move || {
        bytes
            .chunks(at_a_time)
            .take_while(|piece| stream.write_all(piece).is_ok())
            .for_each(|_| thread::sleep(pause));
    });
}

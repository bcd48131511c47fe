//! Attacks that take their time.

use super::Siege;
use super::slow::{clients_that_stop_reading, large_chunk, promised_bodies, slow_bodies};
use crate::bed::Client;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Comes and goes, each time in another way.
fn come_and_go(addr: SocketAddr, number: usize) {
    let mut client = Client::connect(addr);
    match number % 5 {
        0 => {}
        1 => client.send(&GET[..20]),
        2 => assert_eq!(client.request(GET).status, 200),
        3 => client.send(GET), // and does not wait for the reply
        _ => client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello"),
    }
    if number.is_multiple_of(2) {
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
#[ignore = "heavy: two hundred clients of each kind"]
fn two_hundred_bodies_that_trickle() {
    slow_bodies(200, "Content-Length: 10000", "", "x");
    slow_bodies(200, "Content-Length: 100000", "", "x");
    slow_bodies(200, "Transfer-Encoding: chunked", "", "1\r\nx\r\n");
    slow_bodies(200, "Transfer-Encoding: chunked", &large_chunk(), "1\r\nx\r\n");
}

#[test]
#[ignore = "heavy: two hundred clients"]
fn two_hundred_bodies_that_are_promised_and_do_not_come() {
    promised_bodies(200);
}

#[test]
#[ignore = "heavy: two hundred clients, and what the buffers between take"]
fn two_hundred_clients_that_stop_reading() {
    clients_that_stop_reading(200);
}

#[test]
#[ignore = "heavy: a thousand clients"]
fn a_thousand_large_bodies_that_trickle() {
    slow_bodies(1000, "Content-Length: 100000", "", "x");
}

#[test]
#[ignore = "heavy: ten thousand connections"]
fn ten_thousand_connections_that_come_and_go() {
    Siege::with(&[]).withstands(|balancer| {
        thread::scope(|scope| {
            for part in 0..4 {
                scope.spawn(move || {
                    (0..2500).for_each(|number| come_and_go(balancer.addr, 4 * number + part))
                });
            }
        });
    });
}

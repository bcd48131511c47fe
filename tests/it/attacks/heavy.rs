//! Attacks that take long.

use super::AttackedBalancer;
use super::slow::{announced_bodies, clients_that_stop_reading, large_chunk, slow_bodies};
use crate::bed::Client;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Opens and closes a connection in one of several ways, by its number.
fn connect_and_leave(addr: SocketAddr, number: usize) {
    let mut client = Client::connect(addr);
    match number % 5 {
        0 => {}
        1 => client.send(&GET[..20]),
        2 => assert_eq!(client.request(GET).status, 200),
        3 => client.send(GET), // without waiting for the reply
        _ => client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello"),
    }
    if number.is_multiple_of(2) {
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
#[ignore = "heavy: two hundred clients of each kind"]
fn withstands_two_hundred_slow_bodies() {
    slow_bodies(200, "Content-Length: 10000", "", "x");
    slow_bodies(200, "Content-Length: 100000", "", "x");
    slow_bodies(200, "Transfer-Encoding: chunked", "", "1\r\nx\r\n");
    slow_bodies(200, "Transfer-Encoding: chunked", &large_chunk(), "1\r\nx\r\n");
}

#[test]
#[ignore = "heavy: two hundred clients"]
fn withstands_two_hundred_announced_bodies_that_never_come() {
    announced_bodies(200);
}

#[test]
#[ignore = "heavy: two hundred clients, and what the buffers between take"]
fn withstands_two_hundred_clients_that_stop_reading() {
    clients_that_stop_reading(200);
}

#[test]
#[ignore = "heavy: a thousand clients"]
fn withstands_a_thousand_large_slow_bodies() {
    slow_bodies(1000, "Content-Length: 100000", "", "x");
}

#[test]
#[ignore = "heavy: ten thousand connections"]
fn withstands_ten_thousand_short_connections() {
    AttackedBalancer::with(&[]).withstands(|balancer| {
        thread::scope(|scope| {
            for part in 0..4 {
                scope.spawn(move || {
                    (0..2500).for_each(|number| connect_and_leave(balancer.addr, 4 * number + part))
                });
            }
        });
    });
}

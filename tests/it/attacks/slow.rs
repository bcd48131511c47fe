//! Slow clients and silent clients.

use super::AttackedBalancer;
use super::hostile_clients::{HostileClients, assert_all_replied};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(20);

/// Clients in a test where each may hold a worker for a moment: enough for a build without optimization.
/// [`super::heavy`] has twice as many.
const SOME: usize = 100;

#[test]
fn withstands_five_hundred_slow_heads() {
    AttackedBalancer::with(&["--client-head-timeout=1s"]).withstands(|balancer| {
        let clients = HostileClients::connect(500, balancer.addr, "GET / HTTP/1.1\r\nHost: test\r\nX-Long: ");
        assert_all_replied(&clients.send_until_closed(b"x", PAUSE), 500, 408);
    });
}

/// Sends `count` slow bodies: `first` with the head, and `then` every 20 ms. Asserts that all get 408.
pub fn slow_bodies(count: usize, framing: &str, first: &str, then: &str) {
    let attacked = AttackedBalancer::with(&["--client-body-timeout=500ms", "--min-body-rate=1KiB"]);
    attacked.withstands(|balancer| {
        let begin = format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{first}");
        let clients = HostileClients::connect(count, balancer.addr, begin);
        assert_all_replied(&clients.send_until_closed(then.as_bytes(), PAUSE), count, 408);
    });
    attacked.assert_no_upload_complete();
}

/// Returns a chunk that is larger than the edge buffers before a worker gets the request.
pub fn large_chunk() -> String {
    format!("11170\r\n{}\r\n", "x".repeat(70_000))
}

#[test]
fn withstands_a_hundred_small_slow_sized_bodies() {
    slow_bodies(SOME, "Content-Length: 10000", "", "x");
}

#[test]
fn withstands_a_hundred_large_slow_sized_bodies() {
    slow_bodies(SOME, "Content-Length: 100000", "", "x");
}

#[test]
fn withstands_a_hundred_small_slow_chunked_bodies() {
    slow_bodies(SOME, "Transfer-Encoding: chunked", "", "1\r\nx\r\n");
}

#[test]
fn withstands_a_hundred_large_slow_chunked_bodies() {
    slow_bodies(SOME, "Transfer-Encoding: chunked", &large_chunk(), "1\r\nx\r\n");
}

pub fn announced_bodies(count: usize) {
    let attacked = AttackedBalancer::with(&["--client-body-timeout=1s"]);
    attacked.withstands(|balancer| {
        let begin = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let replies = HostileClients::connect(count, balancer.addr, begin).send_until_closed(b"", PAUSE);
        let replies: Vec<_> =
            replies.iter().map(|reply| reply.replacen("HTTP/1.1 100 Continue\r\n\r\n", "", 1)).collect();
        assert_all_replied(&replies, count, 408);
    });
}

#[test]
fn withstands_a_hundred_announced_bodies_that_never_come() {
    announced_bodies(SOME);
}

/// Makes a worker wait briefly with every request of each client.
pub fn slowly_responding_clients(count: usize, workers: &str) {
    AttackedBalancer::with(&[workers]).withstands(|balancer| {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let clients = HostileClients::connect(count, balancer.addr, head);
        clients.respond_slowly(
            Duration::from_millis(80),
            format!("hello{head}").as_bytes(),
            Duration::from_secs(3),
        );
    });
}

#[test]
fn withstands_a_hundred_clients_that_delay_each_request() {
    slowly_responding_clients(SOME, "--workers=4");
}

pub fn clients_that_stop_reading(count: usize) {
    AttackedBalancer::with(&["--client-write-timeout=1s"]).withstands(|balancer| {
        let clients =
            HostileClients::connect(count, balancer.addr, "GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
        clients.until_reset();
    });
}

#[test]
fn withstands_fifty_clients_that_stop_reading() {
    // Each client leaves megabytes in buffers, which take long in a build without optimization.
    clients_that_stop_reading(50);
}

#[test]
fn withstands_a_thousand_silent_connections() {
    AttackedBalancer::with(&["--idle-timeout=1s"]).withstands(|balancer| {
        let replies = HostileClients::connect(1000, balancer.addr, "").send_until_closed(b"", PAUSE);
        assert_eq!(replies, vec![""; 1000]);
    });
}

#[test]
fn withstands_three_hundred_connections_of_one_client() {
    let flags = ["--max-connections=100", "--max-connections-per-client=20", "--idle-timeout=1s"];
    AttackedBalancer::with(&flags).withstands(|balancer| {
        // They have another address than the ordinary client, and stay until the balancer closes them.
        let replies = HostileClients::connect_from([127, 0, 0, 9], 300, balancer.addr, "")
            .send_until_closed(b"", PAUSE);
        let refused: Vec<_> = replies.iter().filter(|reply| !reply.is_empty()).cloned().collect();
        assert!(refused.len() >= 64, "refused with a reply: {}", refused.len());
        assert_all_replied(&refused, refused.len(), 503);
    });
}

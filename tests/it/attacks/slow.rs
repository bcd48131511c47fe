//! Clients that take their time, or all of it.

use super::Siege;
use super::crowd::{Crowd, assert_all_told};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(20);

/// Where each of them may hold a worker for a moment, so many are enough for a build that is not
/// optimized. [`super::heavy`] has twice as many.
const SOME: usize = 100;

#[test]
fn five_hundred_heads_that_trickle() {
    Siege::with(&["--client-head-timeout=1s"]).withstands(|balancer| {
        let crowd = Crowd::of(500, balancer.addr, "GET / HTTP/1.1\r\nHost: test\r\nX-Long: ");
        assert_all_told(&crowd.until_thrown_out(b"x", PAUSE), 500, 408);
    });
}

/// Bodies that come slowly, `then` every 20 ms. All of their clients are told that they were too slow.
pub fn slow_bodies(count: usize, framing: &str, first: &str, then: &str) {
    let siege = Siege::with(&["--client-body-timeout=500ms", "--min-body-rate=1KiB"]);
    siege.withstands(|balancer| {
        let begin = format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{first}");
        let crowd = Crowd::of(count, balancer.addr, begin);
        assert_all_told(&crowd.until_thrown_out(then.as_bytes(), PAUSE), count, 408);
    });
    siege.never_forwards_an_upload_as_whole();
}

/// A chunk that is more than is gathered before a worker is asked.
pub fn large_chunk() -> String {
    format!("11170\r\n{}\r\n", "x".repeat(70_000))
}

#[test]
fn a_hundred_small_sized_bodies_that_trickle() {
    slow_bodies(SOME, "Content-Length: 10000", "", "x");
}

#[test]
fn a_hundred_large_sized_bodies_that_trickle() {
    slow_bodies(SOME, "Content-Length: 100000", "", "x");
}

#[test]
fn a_hundred_small_bodies_in_chunks_that_trickle() {
    slow_bodies(SOME, "Transfer-Encoding: chunked", "", "1\r\nx\r\n");
}

#[test]
fn a_hundred_large_bodies_in_chunks_that_trickle() {
    slow_bodies(SOME, "Transfer-Encoding: chunked", &large_chunk(), "1\r\nx\r\n");
}

pub fn promised_bodies(count: usize) {
    let siege = Siege::with(&["--client-body-timeout=1s"]);
    siege.withstands(|balancer| {
        let begin = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let told = Crowd::of(count, balancer.addr, begin).until_thrown_out(b"", PAUSE);
        let told: Vec<_> =
            told.iter().map(|told| told.replacen("HTTP/1.1 100 Continue\r\n\r\n", "", 1)).collect();
        assert_all_told(&told, count, 408);
    });
}

#[test]
fn a_hundred_bodies_that_are_promised_and_do_not_come() {
    promised_bodies(SOME);
}

/// Each makes a worker wait for a moment, with every one of its requests.
pub fn clients_that_dally(count: usize, workers: &str) {
    Siege::with(&[workers]).withstands(|balancer| {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let crowd = Crowd::of(count, balancer.addr, head);
        crowd.dally(Duration::from_millis(80), format!("hello{head}").as_bytes(), Duration::from_secs(3));
    });
}

#[test]
fn a_hundred_clients_that_dally_a_moment_with_each_request() {
    clients_that_dally(SOME, "--workers=4");
}

pub fn clients_that_stop_reading(count: usize) {
    Siege::with(&["--client-write-timeout=1s"]).withstands(|balancer| {
        let crowd = Crowd::of(count, balancer.addr, "GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
        crowd.until_reset();
    });
}

#[test]
fn fifty_clients_that_stop_reading() {
    // Each of them leaves megabytes in buffers: a build that is not optimized takes its time for those.
    clients_that_stop_reading(50);
}

#[test]
fn a_thousand_connections_that_say_nothing() {
    Siege::with(&["--idle-timeout=1s"]).withstands(|balancer| {
        let told = Crowd::of(1000, balancer.addr, "").until_thrown_out(b"", PAUSE);
        assert_eq!(told, vec![""; 1000]);
    });
}

#[test]
fn three_hundred_connections_of_a_client_that_may_have_twenty() {
    let flags = ["--max-connections=100", "--max-connections-per-client=20", "--idle-timeout=1s"];
    Siege::with(&flags).withstands(|balancer| {
        // They come from elsewhere than the ordinary client, and stay until they are closed.
        let told = Crowd::from([127, 0, 0, 9], 300, balancer.addr, "").until_thrown_out(b"", PAUSE);
        let refused: Vec<_> = told.iter().filter(|told| !told.is_empty()).cloned().collect();
        assert!(refused.len() >= 64, "so many at least are told: {}", refused.len());
        assert_all_told(&refused, refused.len(), 503);
    });
}

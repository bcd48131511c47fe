//! Timeouts of clients, and the replies once they have passed.

use super::{CHUNKED, GET, SECOND, parked, pattern, post, sized, trickle};
use crate::backend::Recorder;
use crate::bed::{Client, DEADLINE, Ending};
use std::thread;
use std::time::{Duration, Instant};

/// A timeout that is short, but longer than any accidental pause.
const LIMIT: Duration = Duration::from_millis(300);
const A_BYTE_AT_A_TIME: Duration = Duration::from_millis(20);

/// Asserts that the client gets 408 soon after the timeout and not before it, and that the connection ends.
#[track_caller]
fn assert_too_slow(client: &mut Client, began: Instant) {
    let reply = client.read_reply();
    let took = began.elapsed();
    assert_eq!((reply.status, reply.header("Connection")), (408, Some("close")), "{}", reply.raw_head);
    assert!(LIMIT <= took && took < LIMIT + 2 * SECOND, "after {took:?}");
    assert!(client.is_closed_within(DEADLINE));
}

/// Asserts that the connection ends without a reply soon after the timeout and not before it.
#[track_caller]
fn assert_silent_end(client: &mut Client, began: Instant) {
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    let took = began.elapsed();
    assert!(LIMIT <= took && took < LIMIT + 2 * SECOND, "after {took:?}");
}

#[test]
fn replies_408_to_a_head_that_is_not_complete_in_time() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--client-head-timeout=300ms"]);
    for part in ["G", "GET / HTTP/1.1\r\nHost: te", "\r\nGET / HTTP/1.1\r\nHost: test\r\n"] {
        let mut client = balancer.client();
        let began = Instant::now();
        client.send(part);
        assert_too_slow(&mut client, began);
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn limits_the_total_time_for_a_head() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--client-head-timeout=300ms"]);
    let mut client = balancer.client();
    let head = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {}", "x".repeat(1000));
    let began = Instant::now();
    trickle(&client, head.into(), 1, A_BYTE_AT_A_TIME);
    assert_too_slow(&mut client, began);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn restarts_the_head_timeout_with_each_request() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--client-head-timeout=300ms"]);
    let mut client = balancer.client();
    let began = Instant::now();
    while began.elapsed() < 2 * LIMIT {
        assert_eq!(client.request(GET).text(), "hello");
        thread::sleep(A_BYTE_AT_A_TIME);
    }
    let began = Instant::now();
    client.send(&GET[..20]);
    assert_too_slow(&mut client, began);
}

#[test]
fn limits_the_time_for_a_pipelined_head() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--client-head-timeout=300ms"]);
    let mut client = balancer.client();
    let began = Instant::now();
    client.send(format!("{GET}{}", &GET[..20]));
    assert_eq!(client.read_reply().text(), "hello");
    assert_too_slow(&mut client, began);
}

#[test]
fn closes_a_new_idle_connection_without_a_reply() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--idle-timeout=300ms"]);
    for nothing in ["", "\r\n", "\r\n\r\n", "\r\n\r"] {
        let began = Instant::now();
        let mut client = balancer.client();
        client.send(nothing);
        assert_silent_end(&mut client, began);
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn closes_a_kept_idle_connection_without_a_reply() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--idle-timeout=300ms"]);
    let mut client = balancer.client();
    assert_eq!(client.request(GET).text(), "hello");
    let began = Instant::now();
    assert_silent_end(&mut client, began);
}

#[test]
fn keeps_a_connection_that_is_used() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--idle-timeout=1s"]);
    let mut client = balancer.client();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(client.request(GET).text(), "hello");
        thread::sleep(A_BYTE_AT_A_TIME);
    }
}

#[test]
fn replies_408_to_a_pause_in_a_small_upload_before_forwarding() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--client-body-timeout=300ms"]);
    for sent in [0, 1, 999] {
        let mut client = balancer.client();
        let began = Instant::now();
        client.send(post(&sized(1000)));
        client.send(pattern(sent));
        assert_too_slow(&mut client, began);
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn waits_for_a_small_upload_that_goes_on() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--client-body-timeout=1s", "--min-body-rate=0B"]);
    let mut client = balancer.client();
    client.send(post(&sized(75)));
    let began = Instant::now();
    trickle(&client, pattern(75), 1, A_BYTE_AT_A_TIME);
    assert_eq!(client.read_reply().text(), "hello");
    assert!(began.elapsed() > SECOND, "it took longer than the longest pause");
    assert_eq!(backend.only_request().body, pattern(75));
}

#[test]
fn replies_408_to_a_pause_in_a_chunked_upload_and_never_completes_it() {
    let backend = Recorder::hello("taken for whole");
    let balancer = parked(&backend, &["--client-body-timeout=300ms"]);
    let mut client = balancer.client();
    client.send(post(CHUNKED));
    client.send("5\r\nhello\r\n");
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.header("Connection")), (408, Some("close")), "{}", reply.raw_head);
    assert!(client.is_closed_within(DEADLINE));
    assert!(backend.requests().iter().all(|request| !request.whole));
}

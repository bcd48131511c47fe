//! Several requests on one connection: all are served, in order and one at a time.

use super::{CHUNKED, GET, LARGE, in_chunks, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, eventually};
use crate::watch::{Guest, is_stopped, unsent};
use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// A backend that echoes, takes `delay` for each request of the pipeline, and counts how many of those it has
/// at a time at most.
fn counting(delay: Duration) -> (Recorder, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let backend = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            if request.target().starts_with("/piped") {
                seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::sleep(delay);
                now.fetch_sub(1, SeqCst);
            }
            conversation.send(request.echo());
        }
    });
    (backend, most)
}

fn piped(count: usize) -> String {
    (0..count).map(|number| format!("GET /piped/{number} HTTP/1.1\r\nHost: test\r\n\r\n")).collect()
}

#[test]
fn serves_pipelined_requests_in_order_and_one_at_a_time() {
    let (backend, most) = counting(Duration::from_millis(5));
    let balancer = parked(&backend, &["--workers=8"]);
    let mut client = balancer.client();
    client.send(piped(50));
    for number in 0..50 {
        assert_eq!(client.read_reply().text(), format!("/piped/{number}"));
    }
    assert_eq!(most.load(SeqCst), 1, "never two at a time");
    assert_eq!(backend.requests().len(), 50);
}

#[test]
fn holds_one_worker_for_a_client_that_pipelines() {
    let (backend, most) = counting(Duration::from_millis(20));
    let balancer = parked(&backend, &["--workers=2"]);
    let mut client = balancer.client();
    client.send(piped(1000));
    let guest = Guest::of(balancer.addr);
    for number in 0..30 {
        assert_eq!(client.read_reply().text(), format!("/piped/{number}"));
    }
    guest.was_served();
    assert_eq!(most.load(SeqCst), 1);
}

#[test]
fn finds_a_request_behind_a_body() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for size in [0, 5, 60_000, LARGE] {
        let body = pattern(size);
        for (framing, bytes) in [(sized(size), body.clone()), (CHUNKED.into(), in_chunks(&body, 30_000))] {
            client.send([post(&framing).as_bytes(), &bytes, GET.as_bytes()].concat());
            assert_eq!([client.read_reply().text(), client.read_reply().text()], ["hello"; 2], "{framing}");
            let [.., upload, get] = &backend.requests()[..] else { panic!("two requests") };
            assert!(upload.whole && upload.body == body, "{framing}");
            assert_eq!(get.request_line(), "GET / HTTP/1.1");
        }
    }
}

/// Sends these bytes while the balancer's process is stopped, and resumes it. Returns whether the kernel had
/// taken all of them by then, which the test cannot control.
fn arrives_at_once(balancer: &Balancer, client: &Client, bytes: &[u8]) -> bool {
    balancer.signal(libc::SIGSTOP);
    is_stopped(balancer.pid());
    thread::scope(|scope| {
        let sending = scope.spawn(|| (&client.stream).write_all(bytes));
        let began = Instant::now();
        let is_there = || sending.is_finished() && unsent(client) == 0;
        while !is_there() && began.elapsed() < Duration::from_millis(500) {
            thread::sleep(Duration::from_millis(1));
        }
        let at_once = is_there();
        balancer.signal(libc::SIGCONT);
        sending.join().unwrap().unwrap();
        at_once
    })
}

/// Asserts that `count` requests are found in these bytes, also when all of them arrive at once and no later
/// event reports the last one.
#[track_caller]
fn assert_all_found(balancer: &Balancer, bytes: &[u8], count: usize) {
    eventually("all bytes have arrived at once", || {
        let mut client = balancer.client();
        // The kernel takes more at once on a connection over which more has been sent.
        client.send([post(&sized(8 << 20)).as_bytes(), &pattern(8 << 20)].concat());
        assert_eq!(client.read_reply().text(), "hello");
        let at_once = arrives_at_once(balancer, &client, bytes);
        for number in 0..count {
            assert_eq!(client.read_reply().text(), "hello", "{number} of {count}");
        }
        at_once
    });
}

#[test]
fn finds_a_request_that_arrives_together_with_a_large_body() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let body = pattern(LARGE);
    for (framing, bytes) in [(sized(LARGE), body.clone()), (CHUNKED.into(), in_chunks(&body, 30_000))] {
        assert_all_found(&balancer, &[post(&framing).as_bytes(), &bytes, GET.as_bytes()].concat(), 2);
    }
}

#[test]
fn finds_pipelined_requests_wherever_the_edge_stops_reading() {
    // Requests of 1 KiB: one of them ends where a buffer of any power of two is full.
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let padding = "x".repeat(1024 - "GET / HTTP/1.1\r\nHost: test\r\nX-Padding: \r\n\r\n".len());
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Padding: {padding}\r\n\r\n");
    assert_eq!(request.len(), 1024);
    for count in [33, 65, 129] {
        assert_all_found(&balancer, request.repeat(count).as_bytes(), count);
    }
}

#[test]
fn keeps_an_http_1_0_connection_only_on_request() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for option in ["keep-alive", "Keep-Alive", "x, keep-alive"] {
        let reply = client.request(format!("GET / HTTP/1.0\r\nConnection: {option}\r\n\r\n"));
        assert_eq!((reply.text(), reply.header("Connection")), ("hello", Some("keep-alive")), "{option}");
    }
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: close\r\n\r\n"] {
        let mut client = balancer.client();
        let reply = client.request(request);
        assert_eq!((reply.text(), reply.header("Connection")), ("hello", Some("close")));
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    }
    // A connection whose end is the end of the body cannot be kept.
    let endless = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send("HTTP/1.1 200 OK\r\n\r\nuntil here");
    });
    let balancer = parked(&endless, &[]);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.read_head().unwrap().header("Connection"), Some("close"));
    assert_eq!(client.read_to_end_of_connection(), (b"until here".to_vec(), Ending::Finished));
}

#[test]
fn serves_all_requests_that_precede_a_half_close() {
    let (backend, most) = counting(Duration::from_millis(5));
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    client.send(piped(20));
    client.stream.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(client.read_reply().text(), format!("/piped/{number}"));
    }
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    assert_eq!(most.load(SeqCst), 1);
}

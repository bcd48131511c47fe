//! The end of connections: after a half-close and after a refusal.

use super::{CHUNKED, GET, LARGE, SECOND, in_chunks, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Balancer, Ending, eventually};
use crate::watch::Figures;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

/// A slow backend: the client's half-close arrives long before the reply.
fn leisurely() -> Recorder {
    Recorder::new(|conversation| {
        while conversation.read_request().is_some() {
            thread::sleep(Duration::from_millis(100));
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    })
}

#[test]
fn replies_after_a_half_close_and_then_closes() {
    for backend in [Recorder::hello("hello"), leisurely()] {
        // Only the client's half-close can end these connections.
        let balancer = parked(&backend, &["--idle-timeout=60s", "--upstream-idle-timeout=100ms"]);
        assert_eq!(balancer.get("/").text(), "hello");
        let before = Figures::of(balancer.pid()).descriptors;
        let large = [post(&sized(LARGE)).as_bytes(), &pattern(LARGE)].concat();
        let chunks = [post(CHUNKED).as_bytes(), &in_chunks(&pattern(LARGE), 30_000)].concat();
        for request in [
            GET.as_bytes(),
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
            &large,
            &chunks,
        ] {
            let mut client = balancer.client();
            client.send(request);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read_reply().text(), "hello");
            let began = Instant::now();
            assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
            assert!(began.elapsed() < SECOND, "it took {:?}", began.elapsed());
            // The client's end stays open: the balancer closes its own.
            eventually("the descriptors are released", || Figures::of(balancer.pid()).descriptors <= before);
            drop(client);
        }
    }
}

#[test]
fn serves_a_pipelined_request_before_a_half_close_and_then_closes() {
    let backend = leisurely();
    let balancer = parked(&backend, &["--idle-timeout=60s"]);
    let mut client = balancer.client();
    client.send(GET);
    eventually("the first request is under way", || backend.requests().len() == 1);
    client.send(GET);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!([client.read_reply().text(), client.read_reply().text()], ["hello"; 2]);
    let began = Instant::now();
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    assert!(began.elapsed() < SECOND, "it took {:?}", began.elapsed());
}

#[test]
fn closes_an_idle_connection_at_once_after_a_half_close() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--idle-timeout=60s"]);
    for request in ["", GET, "GET / HT"] {
        let mut client = balancer.client();
        if request == GET {
            assert_eq!(client.request(GET).text(), "hello");
        } else {
            client.send(request);
        }
        let began = Instant::now();
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
        assert!(began.elapsed() < SECOND, "{request:?}: it took {:?}", began.elapsed());
    }
}

/// Asserts that a client that sends this and a mebibyte more before it reads still gets the reply.
#[track_caller]
fn assert_refused(balancer: &Balancer, request: &str, status: u16) {
    let mut client = balancer.client();
    client.send(request);
    client.send(vec![b'x'; 1 << 20]);
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.header("Connection")), (status, Some("close")), "{request:.60}");
    assert!(reply.text().ends_with('\n'), "{request:.60}: the reply is complete");
}

#[test]
fn delivers_a_refusal_to_a_client_that_is_still_sending() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--max-body=100KiB", "--max-uri=100B"]);
    let long = "x".repeat(20_000);
    for (status, request) in [
        (400, "POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\n"),
        (400, &post("Content-Length: 1048576\r\nTransfer-Encoding: chunked")),
        (400, &post(CHUNKED)),
        (413, &post(&sized(1 << 20))),
        (413, &format!("{}100000\r\n", post(CHUNKED))),
        (417, &post(&format!("Expect: the best\r\n{}", sized(50_000)))),
        (501, "CONNECT test:1 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: test\r\n\r\n"),
        (431, &format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}")),
        (414, &format!("GET /{long}")),
    ] {
        assert_refused(&balancer, request, status);
    }
    assert!(backend.requests().iter().all(|request| !request.whole));
}

#[test]
fn delivers_a_refused_connections_reply_to_a_client_that_sends_at_once() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--max-connections=1"]);
    let mut one = balancer.client();
    assert_eq!(one.request(GET).status, 200);
    for _ in 0..5 {
        assert_refused(&balancer, &post(&sized(1 << 20)), 503);
    }
}

#[test]
fn delivers_the_last_reply_to_a_client_that_is_still_sending() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    for _ in 0..5 {
        let mut client = balancer.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.send(vec![b'x'; 1 << 20]);
        let reply = client.read_reply();
        assert_eq!((reply.text(), reply.header("Connection")), ("hello", Some("close")));
    }
}

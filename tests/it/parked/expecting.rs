//! `Expect: 100-continue`, and replies that come before the upload.

use super::{CHUNKED, LARGE, in_chunks, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Client, DEADLINE};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn expecting(framing: &str) -> String {
    post(&format!("{framing}\r\nExpect: 100-continue"))
}

#[track_caller]
fn assert_gets_100_continue(client: &mut Client) {
    assert_eq!(client.read_head().unwrap().raw_head, CONTINUE);
}

#[test]
fn sends_100_continue_once_to_a_client_that_waits_for_it() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for size in [5, LARGE] {
        let body = pattern(size);
        for (framing, bytes) in [(sized(size), body.clone()), (CHUNKED.into(), in_chunks(&body, 30_000))] {
            client.send(expecting(&framing));
            assert_gets_100_continue(&mut client);
            client.send(bytes);
            assert_eq!(client.read_reply().text(), "hello");
            let request = backend.last_request();
            assert!(request.whole && request.body == body, "{framing}");
            assert_eq!(request.header("Expect"), None);
        }
    }
}

#[test]
fn serves_a_client_that_does_not_wait_for_100_continue() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for size in [5, LARGE] {
        client.send([expecting(&sized(size)).as_bytes(), &pattern(size)].concat());
        let mut reply = client.read_reply();
        if reply.status == 100 {
            reply = client.read_reply(); // the edge may have sent 100 before it read the body
        }
        assert_eq!(reply.text(), "hello");
        assert!(backend.last_request().body == pattern(size));
    }
}

#[test]
fn never_sends_100_continue_to_an_http_1_0_client() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    for size in [5, LARGE] {
        let mut client = balancer.client();
        client.send(expecting(&sized(size)).replace("HTTP/1.1", "HTTP/1.0"));
        client.send(pattern(size));
        assert_eq!(client.read_reply().text(), "hello");
    }
}

#[test]
fn refuses_a_large_body_without_100_continue() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--max-body=1KiB"]);
    let mut client = balancer.client();
    assert_eq!(client.request(expecting(&sized(LARGE))).status, 413, "413 instead of 100");
    assert!(client.is_closed_within(DEADLINE));
    assert_eq!(backend.connections(), 0);
}

#[test]
fn replies_408_to_a_client_that_sends_nothing_after_100_continue() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--client-body-timeout=300ms"]);
    for framing in [sized(5), sized(LARGE), CHUNKED.into()] {
        let mut client = balancer.client();
        client.send(expecting(&framing));
        assert_gets_100_continue(&mut client);
        assert_eq!(client.read_reply().status, 408, "{framing}");
        assert!(client.is_closed_within(DEADLINE));
    }
    assert!(backend.requests().iter().all(|request| !request.whole));
}

#[test]
fn relays_a_backends_refusal_of_an_unread_upload() {
    let backend = Recorder::new(|conversation| {
        conversation.read_head();
        conversation.send("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nless");
    });
    let balancer = parked(&backend, &[]);
    for expects in [false, true] {
        let mut client = balancer.client();
        let framing = sized(50 << 20);
        if expects {
            client.send(expecting(&framing));
            assert_gets_100_continue(&mut client);
        } else {
            client.send(post(&framing));
        }
        client.send(pattern(5 << 20));
        // The client sends no more than this.
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.text()), (413, "less"), "expects: {expects}");
        assert_eq!(reply.header("Connection"), Some("close"));
        assert!(client.is_closed_within(DEADLINE));
    }
}

#[test]
fn holds_no_worker_while_a_small_body_is_awaited() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=1"]);
    let mut promising = balancer.client();
    promising.send(expecting(&sized(5)));
    assert_gets_100_continue(&mut promising);
    assert_eq!(balancer.get("/").text(), "hello", "the one worker is free");
    assert_eq!(promising.request("hello").text(), "hello");
}

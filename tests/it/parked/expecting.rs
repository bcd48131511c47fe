//! `Expect: 100-continue`, and replies that do not wait for the upload.

use super::{CHUNKED, LARGE, in_chunks, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Client, DEADLINE};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn expecting(framing: &str) -> String {
    post(&format!("{framing}\r\nExpect: 100-continue"))
}

#[track_caller]
fn assert_told_to_continue(client: &mut Client) {
    assert_eq!(client.read_head().unwrap().raw_head, CONTINUE);
}

#[test]
fn a_client_that_waits_for_it_is_told_to_continue_and_nothing_else() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for size in [5, LARGE] {
        let body = pattern(size);
        for (framing, bytes) in [(sized(size), body.clone()), (CHUNKED.into(), in_chunks(&body, 30_000))] {
            client.send(expecting(&framing));
            assert_told_to_continue(&mut client);
            client.send(bytes);
            assert_eq!(client.read_reply().text(), "hello");
            let request = backend.last_request();
            assert!(request.whole && request.body == body, "{framing}");
            assert_eq!(request.header("Expect"), None);
        }
    }
}

#[test]
fn a_client_that_does_not_wait_for_it_is_served() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    for size in [5, LARGE] {
        client.send([expecting(&sized(size)).as_bytes(), &pattern(size)].concat());
        let mut reply = client.read_reply();
        if reply.status == 100 {
            reply = client.read_reply(); // it may have been said before the body was seen
        }
        assert_eq!(reply.text(), "hello");
        assert!(backend.last_request().body == pattern(size));
    }
}

#[test]
fn an_http_1_0_client_is_never_told_to_continue() {
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
fn a_body_that_will_be_refused_is_not_asked_for() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--max-body=1KiB"]);
    let mut client = balancer.client();
    assert_eq!(client.request(expecting(&sized(LARGE))).status, 413, "and not 100");
    assert!(client.is_closed_within(DEADLINE));
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_client_that_is_told_to_continue_and_does_not_is_408() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &["--client-body-timeout=300ms"]);
    for framing in [sized(5), sized(LARGE), CHUNKED.into()] {
        let mut client = balancer.client();
        client.send(expecting(&framing));
        assert_told_to_continue(&mut client);
        assert_eq!(client.read_reply().status, 408, "{framing}");
        assert!(client.is_closed_within(DEADLINE));
    }
    assert!(backend.requests().iter().all(|request| !request.whole));
}

#[test]
fn a_backend_that_refuses_an_upload_without_reading_it_is_relayed() {
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
            assert_told_to_continue(&mut client);
        } else {
            client.send(post(&framing));
        }
        client.send(pattern(5 << 20));
        // More will only be sent if somebody wants it.
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.text()), (413, "less"), "expects: {expects}");
        assert_eq!(reply.header("Connection"), Some("close"));
        assert!(client.is_closed_within(DEADLINE));
    }
}

#[test]
fn a_small_body_that_is_promised_holds_no_worker() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=1"]);
    let mut promising = balancer.client();
    promising.send(expecting(&sized(5)));
    assert_told_to_continue(&mut promising);
    assert_eq!(balancer.get("/").text(), "hello", "the one worker is free");
    assert_eq!(promising.request("hello").text(), "hello");
}

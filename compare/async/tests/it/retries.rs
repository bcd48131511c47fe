use crate::bed::{Backend, Balancer, HELLO, Peer, dead_port, get, header};
use std::time::{Duration, Instant};

const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld";

#[test]
fn skips_an_unreachable_backend_for_any_method() {
    let (_socket, dead) = dead_port();
    let backend = Backend::run(|mut peer, _| {
        while let Some(head) = peer.head() {
            if head.starts_with("POST") {
                peer.expect("world");
            }
            peer.send(HELLO);
        }
    });
    let balancer = Balancer::serve(&[dead, backend.addr], &[]);
    for _ in 0..2 {
        assert!(get(balancer.addr, "/").ends_with("hello"));
        let (head, body) = Peer::connect(balancer.addr).ask(POST);
        assert_eq!((&head[..15], body.as_str()), ("HTTP/1.1 200 OK", "hello"));
    }
}

#[test]
fn answers_502_without_a_reachable_backend() {
    let (_socket, dead) = dead_port();
    let balancer = Balancer::serve(&[dead], &[]);
    let reply = get(balancer.addr, "/");
    assert!(reply.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{reply}");
    assert!(reply.ends_with("no server gave a usable reply\n"), "{reply}");
}

#[test]
fn answers_504_if_the_backend_does_not_reply() {
    let backend = Backend::run(|mut peer, _| {
        peer.head();
        peer.head(); // returns when the balancer gives up
    });
    let balancer = Balancer::serve(&[backend.addr], &["--reply-head-timeout=100ms"]);
    let began = Instant::now();
    let reply = get(balancer.addr, "/");
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(reply.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{reply}");
    assert!(reply.ends_with("the server took too long to reply\n"), "{reply}");
    assert_eq!(backend.accepted(), 1); // a timeout is not retried
}

/// Starts a backend that answers the first request on its first connection and closes at the second.
fn closes_after_one_reply() -> Backend {
    Backend::run(|mut peer, number| {
        if number == 1 {
            peer.head();
            peer.send(HELLO);
            peer.head();
        } else {
            while peer.head().is_some() {
                peer.send(HELLO);
            }
        }
    })
}

#[test]
fn replaces_a_stale_connection() {
    let backend = closes_after_one_reply();
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..3 {
        let (head, body) = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((&head[..15], body.as_str()), ("HTTP/1.1 200 OK", "hello"));
    }
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn does_not_retry_a_request_that_must_not_be_repeated() {
    let backend = closes_after_one_reply();
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, _) = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn answers_502_if_the_reply_has_no_valid_framing() {
    let backend = Backend::answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let reply = get(balancer.addr, "/");
    assert!(reply.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{reply}");
    assert_eq!(header(&reply, "content-type"), Some("text/plain; charset=utf-8"));
}

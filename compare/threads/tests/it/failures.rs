use crate::bed::{Backend, Balancer, DEADLINE, HELLO, Peer, dead_port, get, header};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld";

#[test]
fn skips_an_unreachable_backend_for_any_method() {
    let (_stream, dead) = dead_port();
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
fn answers_502_without_a_reachable_backend_and_keeps_the_client() {
    let (_stream, dead) = dead_port();
    let balancer = Balancer::serve(&[dead, dead], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..2 {
        let (head, body) = client.ask(GET);
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        assert_eq!(header(&head, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(body, "no backend gave a usable reply\n");
        client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"); // a HEAD has no body
        assert!(client.head().unwrap().starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    }
    // The unread upload prevents reuse.
    client.send(POST);
    assert_eq!(header(&client.rest(), "connection"), Some("close"));
}

#[test]
fn answers_504_if_the_backend_does_not_reply_and_does_not_retry() {
    let backend = Backend::run(|mut peer, _| {
        peer.head();
        peer.head(); // returns when the balancer gives up
    });
    let balancer = Balancer::serve(&[backend.addr], &["--reply-head-timeout=100ms"]);
    let began = Instant::now();
    let reply = get(balancer.addr, "/");
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(reply.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{reply}");
    assert!(reply.ends_with("the backend took too long\n"), "{reply}");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn answers_502_for_an_ambiguous_reply() {
    for reply in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let backend = Backend::answers(reply);
        let balancer = Balancer::serve(&[backend.addr], &[]);
        let said = get(balancer.addr, "/");
        assert!(said.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{reply}: {said}");
        assert_eq!(backend.accepted(), 1);
    }
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
        let (head, body) = client.ask(GET);
        assert_eq!((&head[..15], body.as_str()), ("HTTP/1.1 200 OK", "hello"));
    }
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn does_not_retry_a_request_that_must_not_be_repeated() {
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld",
    ] {
        let backend = closes_after_one_reply();
        let balancer = Balancer::serve(&[backend.addr], &[]);
        let mut client = Peer::connect(balancer.addr);
        client.ask(GET);
        let (head, _) = client.ask(request);
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{request}: {head}");
        assert_eq!(backend.accepted(), 1, "{request}");
    }
}

#[test]
fn only_requests_that_must_not_be_repeated_fail_if_a_backend_closes_without_a_reply() {
    let silent = Backend::run(|mut peer, _| drop(peer.head()));
    let other = Backend::answers(HELLO);
    let balancer = Balancer::serve(&[silent.addr, other.addr], &[]);
    // The silent backend is first, and then every other time.
    for (request, status) in
        [(GET, "200"), (GET, "200"), ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "502")]
    {
        let (head, _) = Peer::connect(balancer.addr).ask(request);
        assert_eq!(&head[9..12], status, "{request}");
    }
    assert_eq!(silent.accepted(), 2);
}

#[test]
fn refuses_an_invalid_request_before_any_backend_receives_it() {
    let backend = Backend::answers(HELLO);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(16 << 10));
    for (request, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: h\n\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "501"),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", "417"),
        (&long, "431"),
    ] {
        let mut client = Peer::connect(balancer.addr);
        client.send(&format!("{request}{GET}")); // the following request is not trusted either
        let reply = client.rest();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1").count(), 1 + usize::from(status == "505"), "{request}: {reply}");
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn answers_400_to_malformed_chunks_and_sends_no_last_chunk() {
    let (send, seen) = std::sync::mpsc::channel();
    let backend = Backend::run(move |mut peer, _| {
        peer.head();
        send.send(peer.rest()).unwrap();
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n");
    let reply = client.rest();
    assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{reply}");
    let forwarded = seen.recv_timeout(DEADLINE).unwrap();
    assert!(!forwarded.contains("0\r\n"), "{forwarded}");
}

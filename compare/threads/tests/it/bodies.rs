use crate::bed::{Backend, Balancer, DEADLINE, HELLO, Peer, get, header};
use std::sync::{Mutex, mpsc};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn streams_a_chunked_reply_without_its_trailers() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::run(move |mut peer, _| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nfirst\r\n");
            wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            peer.send("6;ext=1\r\nsecond\r\n0\r\nX: dropped\r\n\r\n");
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..2 {
        client.send(GET);
        let head = client.head().unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
        client.expect("5\r\nfirst\r\n"); // relayed before the second is sent
        go.send(()).unwrap();
        client.expect("6\r\nsecond\r\n0\r\n\r\n");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn relays_the_start_of_a_sized_reply_before_its_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::run(move |mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        peer.send("world");
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send(GET);
    client.head().unwrap();
    client.expect("hello");
    go.send(()).unwrap();
    client.expect("world");
}

#[test]
fn chunks_a_reply_that_ends_with_its_connection() {
    let backend = Backend::run(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..2 {
        client.send(GET);
        let head = client.head().unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
        client.expect("5\r\nhello\r\n0\r\n\r\n");
    }
    let mut client = Peer::connect(balancer.addr);
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with("\r\n\r\nhello"));
}

#[test]
fn streams_a_chunked_upload_with_any_method() {
    let (saw, seen) = mpsc::channel();
    let backend = Backend::run(move |mut peer, _| {
        while let Some(head) = peer.head() {
            assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
            peer.expect("5\r\nfirst\r\n");
            saw.send(()).unwrap();
            peer.expect("6\r\nsecond\r\n0\r\n\r\n");
            peer.send(HELLO);
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for method in ["POST", "GET"] {
        client.send(&format!(
            "{method} / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        ));
        seen.recv_timeout(DEADLINE).unwrap(); // relayed before the second is sent
        let (_, body) = client.ask("6\r\nsecond\r\n0\r\nX: dropped\r\n\r\n");
        assert_eq!(body, "hello", "{method}");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn relays_large_bodies_completely_in_both_directions() {
    const SIZE: usize = 8 << 20;
    let backend = Backend::run(|mut peer, _| {
        while let Some(head) = peer.head() {
            let length = header(&head, "content-length").unwrap().parse().unwrap();
            peer.expect(&"x".repeat(length));
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            peer.send(&"x".repeat(length));
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..2 {
        client.send(&format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"));
        let (head, body) = client.ask(&"x".repeat(SIZE));
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(body.len() == SIZE && body.bytes().all(|byte| byte == b'x'));
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn answers_100_continue_to_a_client_that_expects_it() {
    let backend = Backend::run(|mut peer, _| {
        let head = peer.head().unwrap();
        assert_eq!(header(&head, "expect"), None);
        peer.expect("world");
        peer.send(HELLO);
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 Continue"));
    assert_eq!(client.ask("world").1, "hello");
}

#[test]
fn relays_a_reply_that_precedes_the_end_of_the_upload() {
    let backend = Backend::run(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while client.try_send(&chunk) {}
    let reply = client.rest();
    assert!(reply.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{reply}");
    assert_eq!(header(&reply, "connection"), Some("close"), "{reply}");
}

#[test]
fn a_truncated_reply_is_visibly_incomplete() {
    for (sent, seen) in [
        ("Content-Length: 10\r\n\r\nhello", "hello"),
        ("Content-Length: 10\r\n\r\n", ""),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "3\r\nhel\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX", "5\r\nhello\r\n"),
    ] {
        let backend = Backend::run(move |mut peer, _| {
            peer.head();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{sent}"));
        });
        let balancer = Balancer::serve(&[backend.addr], &[]);
        let mut client = Peer::connect(balancer.addr);
        client.send(GET);
        assert!(client.head().unwrap().starts_with("HTTP/1.1 200 OK\r\n"), "{sent}");
        assert_eq!(client.rest(), seen, "{sent}"); // without the last chunk
    }
}

#[test]
fn discards_a_connection_with_unexpected_bytes_after_a_reply() {
    let backend = Backend::answers(&format!("{HELLO}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));
    let balancer = Balancer::serve(&[backend.addr], &[]);
    for _ in 0..3 {
        assert!(get(balancer.addr, "/").ends_with("hello"));
    }
}

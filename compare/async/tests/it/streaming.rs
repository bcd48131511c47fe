use crate::bed::{Backend, Balancer, HELLO, Peer, header};
use std::sync::Mutex;
use std::sync::mpsc;

#[test]
fn streams_a_chunked_reply() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::run(move |mut peer, _| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nfirst\r\n");
            wait.lock().unwrap().recv().unwrap();
            peer.send("6\r\nsecond\r\n0\r\nX: dropped\r\n\r\n");
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = client.head().unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
        client.expect("5\r\nfirst\r\n"); // relayed before the second is sent
        go.send(()).unwrap();
        client.expect("6\r\nsecond\r\n0\r\n\r\n");
    }
    assert_eq!(backend.accepted(), 1);
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
        seen.recv().unwrap(); // relayed before the second is sent
        let (_, body) = client.ask("6\r\nsecond\r\n0\r\n\r\n");
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
fn a_truncated_reply_is_visibly_incomplete() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::run(move |mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        wait.lock().unwrap().recv().unwrap();
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!(header(&head, "content-length"), Some("10"));
    client.expect("hello");
    go.send(()).unwrap();
    assert_eq!(client.rest(), "");
}

use crate::bed::{Backend, Balancer, HELLO, Peer, get, header};
use std::sync::mpsc;

fn named(name: &str) -> Backend {
    Backend::answers(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

#[test]
fn alternates_between_two_backends() {
    let backends = [named("one"), named("two")];
    let addrs = [backends[0].addr, backends[1].addr];
    for runtime in ["multi-thread", "current-thread"] {
        let balancer = Balancer::serve(&addrs, &["--runtime", runtime, "--threads", "2"]);
        let bodies: Vec<_> = (0..6).map(|_| get(balancer.addr, "/").split_off(3)).collect();
        for (turn, reply) in bodies.iter().enumerate() {
            assert!(reply.ends_with(["one", "two"][turn % 2]), "turn {turn}: {reply}");
        }
    }
}

#[test]
fn strips_hop_by_hop_headers_and_adds_forwarding_headers() {
    let (send, seen) = mpsc::channel();
    let backend = Backend::run(move |mut peer, _| {
        while let Some(head) = peer.head() {
            send.send(head).unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Kept: 1\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nConnection: x-gone\r\n\r\n");
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    let (reply, _) = client.ask(
        "GET /a/../b?c=%2F HTTP/1.1\r\nHost: example\r\nX-Kept: 1\r\nX-Private: 1\r\nTE: trailers\r\n\
         Connection: x-private\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    );
    let head = seen.recv().unwrap();
    assert!(head.starts_with("GET /a/../b?c=%2F HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", Some("example")),
        ("x-kept", Some("1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("example")),
        ("x-forwarded-proto", Some("http")),
        ("via", Some("1.1 turnwheel")),
        ("x-private", None),
        ("te", None),
        ("connection", None),
    ] {
        assert_eq!(header(&head, name), value, "{name} in {head}");
    }
    for (name, value) in [("x-kept", Some("1")), ("x-gone", None), ("keep-alive", None), ("connection", None)]
    {
        assert_eq!(header(&reply, name), value, "{name} in {reply}");
    }
    assert!(header(&reply, "date").is_some());
}

#[test]
fn replies_without_a_body_keep_the_connections_open() {
    let backend = Backend::run(|mut peer, _| {
        while let Some(head) = peer.head() {
            let reply = match head.split(' ').nth(1) {
                Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Some("/chunked-head") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some("/204") => "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
                Some("/empty") => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                _ => HELLO,
            };
            peer.send(reply);
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for (request, status, length) in [
        ("HEAD /head", "200 OK", Some("5")),
        ("HEAD /chunked-head", "200 OK", None),
        ("GET /204", "204 No Content", None),
        ("GET /304", "304 Not Modified", None),
        ("GET /empty", "200 OK", Some("0")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.head().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        assert_eq!(header(&head, "content-length"), length, "{request}: {head}");
        // A body byte here would make this head invalid.
        let (_, body) = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(body, "hello", "after {request}");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn answers_an_http_1_0_client_in_its_version() {
    let backend =
        Backend::answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("GET / HTTP/1.0\r\n\r\n");
    let reply = client.rest();
    assert!(reply.starts_with("HTTP/1.0 200 OK\r\n") && reply.ends_with("\r\n\r\nhello"), "{reply}");
    assert_eq!(header(&reply, "transfer-encoding"), None);
}

#[test]
fn refuses_an_invalid_request_with_turnwheels_texts() {
    let backend = Backend::answers(HELLO);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    for (request, status, text) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400",
            "bad request: there is more than one Host header\n",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400", "bad request: there is no Host header\n"),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405", "this method is not allowed here\n"),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "501", "this method is not implemented\n"),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", "417", "this expectation cannot be met\n"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n",
            "413",
            "the request body is too large\n",
        ),
    ] {
        let mut client = Peer::connect(balancer.addr);
        client.send(request);
        let reply = client.rest(); // closed, because the connection cannot be trusted
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
        assert!(reply.ends_with(&format!("\r\n\r\n{text}")), "{request}: {reply}");
    }
    assert_eq!(backend.accepted(), 0);
}

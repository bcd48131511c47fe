use crate::bed::{Backend, Balancer, DEADLINE, HELLO, Peer, get, header};
use std::sync::mpsc;
use std::thread;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn named(name: &str) -> Backend {
    Backend::answers(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

#[test]
fn alternates_between_two_backends() {
    let backends = [named("one"), named("two")];
    let balancer = Balancer::serve(&[backends[0].addr, backends[1].addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    for turn in 0..6 {
        // Round robin is over requests, whatever their connection.
        let body = if turn < 3 { client.ask(GET).1 } else { get(balancer.addr, "/") };
        assert!(body.ends_with(["one", "two"][turn % 2]), "turn {turn}: {body}");
    }
    assert_eq!([backends[0].accepted(), backends[1].accepted()], [1, 1]);
}

#[test]
fn answers_pipelined_requests_in_order() {
    let backend = named("one");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send(&GET.repeat(3));
    for _ in 0..3 {
        assert_eq!(client.ask("").1, "one");
    }
}

#[test]
fn strips_hop_by_hop_headers_and_adds_forwarding_headers() {
    let (send, seen) = mpsc::channel();
    let backend = Backend::run(move |mut peer, _| {
        while let Some(head) = peer.head() {
            send.send(head).unwrap();
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Kept: 1\r\nX-Gone: 1\r\nProxy-Authenticate: x\r\n\
                 Keep-Alive: timeout=5\r\nConnection: x-gone\r\n\r\n",
            );
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let (reply, _) = Peer::connect(balancer.addr).ask(
        "GET /a/../b?c=%2F HTTP/1.1\r\nHost: example\r\nX-Kept: 1\r\nX-Private: 1\r\nTE: trailers\r\n\
         Connection: x-private, keep-alive\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Port: 1\r\n\
         Forwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nUpgrade: h2c\r\nVia: 1.1 other\r\n\r\n",
    );
    assert_eq!(
        seen.recv_timeout(DEADLINE).unwrap(),
        "GET /a/../b?c=%2F HTTP/1.1\r\nHost: example\r\nX-Kept: 1\r\nVia: 1.1 other\r\n\
         X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example\r\n\
         Via: 1.1 turnwheel\r\n\r\n"
    );
    assert_eq!(reply, "HTTP/1.1 200 OK\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n");
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
                Some("/hints") => {
                    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"
                }
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
        ("GET /hints", "200", Some("0")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.head().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        assert_eq!(header(&head, "content-length"), length, "{request}: {head}");
        // A body byte here would make this head invalid.
        assert_eq!(client.ask(GET).1, "hello", "after {request}");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_must_ask_for_keep_alive() {
    let backend = Backend::run(|mut peer, _| {
        while let Some(head) = peer.head() {
            assert!(head.contains("\r\nVia: 1.0 turnwheel\r\n"), "{head}");
            assert!(header(&head, "host").is_some_and(|host| host.starts_with("127.0.0.1:")), "{head}");
            match head.starts_with("GET /chunked ") {
                true => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
                }
                false => peer.send(HELLO),
            }
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    let (head, body) = client.ask("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_eq!((header(&head, "connection"), body.as_str()), (Some("keep-alive"), "hello"));
    client.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = client.rest();
    assert_eq!(header(&reply, "transfer-encoding"), None, "{reply}");
    assert!(reply.ends_with("\r\nConnection: close\r\n\r\nhello"), "{reply}");
    let mut client = Peer::connect(balancer.addr);
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with("hello"));
}

#[test]
fn closes_the_connection_if_the_client_asks() {
    let backend = Backend::answers(HELLO);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let reply = get(balancer.addr, "/");
    assert_eq!(header(&reply, "connection"), Some("close"), "{reply}");
}

#[test]
fn fifty_concurrent_clients_get_their_own_bodies() {
    let echo = || {
        Backend::run(|mut peer, _| {
            while let Some(head) = peer.head() {
                let body = head.split(' ').nth(1).unwrap().repeat(1000);
                peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            }
        })
    };
    let backends = [echo(), echo()];
    let balancer = Balancer::serve(&[backends[0].addr, backends[1].addr], &[]);
    thread::scope(|scope| {
        for client in 0..50 {
            let addr = balancer.addr;
            scope.spawn(move || {
                let mut peer = Peer::connect(addr);
                for turn in 0..20 {
                    let path = format!("/{client}-{turn}/");
                    let (_, body) = peer.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
                    assert_eq!(body, path.repeat(1000));
                }
            });
        }
    });
}

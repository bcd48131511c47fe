//! The balancer's own replies and when they are sent: 413, 414, 431, 502, 503, 504.

use crate::backend::Recorder;
use crate::bed::{Balancer, DEADLINE, Reply, dead_port, eventually};
use crossbeam_channel::{bounded, unbounded};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Asserts that a reply is a refusal: one line of text that names no inside address.
#[track_caller]
fn assert_refusal(reply: &Reply, status: u16, backends: &[SocketAddr]) {
    assert_eq!(reply.status, status, "{}", reply.raw_head);
    assert!(reply.header("Content-Type").unwrap().starts_with("text/plain"), "{}", reply.raw_head);
    let line = reply.text().strip_suffix('\n').unwrap();
    assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    for secret in backends.iter().map(|addr| addr.port().to_string()).chain(["127.0.0.1".into()]) {
        assert!(!line.contains(&secret) && !reply.raw_head.contains(&secret), "{}{line}", reply.raw_head);
    }
}

#[test]
fn replies_502_to_an_unreadable_reply() {
    for garbage in [
        "no HTTP at all\r\n\r\n",
        "HTTP/1.1 twohundred OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header line\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "\r\n\r\n\r\n",
    ] {
        let backend = Recorder::new(move |conversation| {
            conversation.read_request();
            conversation.send(garbage);
        });
        let other = Recorder::hello("asked again");
        let balancer = Balancer::serve(&[backend.addr, other.addr], &[]);
        assert_refusal(&balancer.get("/"), 502, &[backend.addr, other.addr]);
        assert_eq!((backend.requests().len(), other.requests().len()), (1, 0), "{garbage:?}");
    }
}

#[test]
fn replies_502_to_an_ambiguous_reply() {
    for reply in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\nxx",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
    ] {
        let backend = Recorder::replying(reply);
        let balancer = Balancer::serve(&[backend.addr], &[]);
        assert_refusal(&balancer.get("/"), 502, &[backend.addr]);
        assert_eq!(backend.requests().len(), 1, "{reply:?}");
    }
}

#[test]
fn replies_502_to_an_endless_reply_head() {
    let backend = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send(format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(1 << 20)));
        conversation.read_to_end();
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    assert_refusal(&balancer.get("/"), 502, &[backend.addr]);
}

#[test]
fn replies_502_when_no_backend_accepts_connections() {
    let dead = [dead_port(), dead_port()];
    let addrs = [dead[0].addr, dead[1].addr];
    let balancer = Balancer::serve(&addrs, &[]);
    let mut client = balancer.client();
    for _ in 0..3 {
        assert_refusal(&client.request(GET), 502, &addrs);
    }
}

#[test]
fn replies_504_to_a_silent_backend_without_a_retry() {
    let backends = [Recorder::silent(), Recorder::silent()];
    let addrs = [backends[0].addr, backends[1].addr];
    let balancer = Balancer::serve(&addrs, &["--reply-head-timeout=300ms"]);
    let began = Instant::now();
    let reply = balancer.get("/");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_refusal(&reply, 504, &addrs);
    assert_eq!(backends[0].requests().len() + backends[1].requests().len(), 1);
}

#[test]
fn replies_504_when_a_backend_stalls_within_its_head() {
    let backend = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send("HTTP/1.1 200 OK\r\nContent-Le");
        conversation.read_to_end();
    });
    let balancer = Balancer::serve(&[backend.addr], &["--reply-head-timeout=300ms"]);
    assert_refusal(&balancer.get("/"), 504, &[backend.addr]);
}

#[test]
fn replies_503_at_once_when_the_queue_is_full() {
    let (release, held) = bounded::<()>(0);
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            let _ = held.recv(); // until the test drops its end
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--queue=1"]);
    let (replies, replied) = unbounded();
    let send = || {
        let (mut client, replies) = (balancer.client(), replies.clone());
        thread::spawn(move || replies.send(client.request(GET)));
    };
    send();
    eventually("the one worker is busy", || backend.requests().len() == 1);
    (0..5).for_each(|_| send());
    // One of these waits; the other four are refused at once.
    for _ in 0..4 {
        let reply = replied.recv_timeout(DEADLINE).unwrap();
        assert_refusal(&reply, 503, &[backend.addr]);
        assert_eq!(reply.header("Retry-After"), Some("1"));
    }
    assert_eq!(backend.requests().len(), 1);
    drop(release);
    for _ in 0..2 {
        assert_eq!(replied.recv_timeout(DEADLINE).unwrap().text(), "ok");
    }
}

#[test]
fn replies_503_after_the_queue_timeout_while_all_workers_are_busy() {
    let backend = Recorder::silent();
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--queue-timeout=300ms"]);
    let mut stuck = balancer.client();
    stuck.send("GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the one worker is stuck", || backend.requests().len() == 1);
    let began = Instant::now();
    let reply = balancer.get("/");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_refusal(&reply, 503, &[backend.addr]);
    assert_eq!(reply.header("Retry-After"), Some("1"));
    assert_eq!(backend.only_request().request_line(), "GET /stuck HTTP/1.1");
}

#[test]
fn replies_413_to_a_large_sized_body_before_forwarding() {
    let backend = Recorder::hello("ok");
    let balancer = Balancer::serve(&[backend.addr], &["--max-body=1KiB"]);
    for length in [1025, 5000, 99_999_999_999_999u64] {
        let mut client = balancer.client();
        let reply =
            client.request(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"));
        assert_refusal(&reply, 413, &[backend.addr]);
        assert!(client.is_closed_within(DEADLINE));
    }
    assert_eq!(backend.connections(), 0);
    let body = "x".repeat(1024);
    let reply = balancer
        .client()
        .request(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1024\r\n\r\n{body}"));
    assert_eq!(reply.status, 200, "1 KiB is within the limit");
}

#[test]
fn replies_413_to_a_large_chunked_body_and_never_completes_it() {
    let backend = Recorder::hello("ok");
    let balancer = Balancer::serve(&[backend.addr], &["--max-body=1KiB"]);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let reply = balancer.client().request(format!("{head}{chunk}{chunk}0\r\n\r\n"));
    assert_eq!(reply.status, 200, "1 KiB is within the limit");

    let mut client = balancer.client();
    let reply = client.request(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n"));
    assert_refusal(&reply, 413, &[backend.addr]);
    assert!(client.is_closed_within(DEADLINE));
    let whole: Vec<_> = backend.requests().into_iter().filter(|request| request.whole).collect();
    assert_eq!(whole.len(), 1, "{whole:?}");
}

#[test]
fn replies_431_or_414_to_a_head_or_target_beyond_the_limits() {
    let backend = Recorder::hello("ok");
    let balancer = Balancer::serve(&[backend.addr], &["--max-head=1KiB", "--max-headers=10"]);
    let (long, lines) = ("x".repeat(1100), "A: b\r\n".repeat(10));
    for (status, request) in [
        (431, format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")),
        (431, format!("GET /{} HTTP/1.1\r\nHost: test\r\nX-B: {}\r\n\r\n", &long[..600], &long[..600])),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n")),
    ] {
        let mut client = balancer.client();
        assert_refusal(&client.request(request), status, &[backend.addr]);
        assert!(client.is_closed_within(DEADLINE));
    }
    assert_eq!(backend.connections(), 0);
    let lines = "A: b\r\n".repeat(9);
    let reply =
        balancer.client().request(format!("GET /{} HTTP/1.1\r\nHost: test\r\n{lines}\r\n", &long[..900]));
    assert_eq!(reply.status, 200, "just within the limits");
}

#[test]
fn forwards_a_target_as_long_as_the_head_limit() {
    let backend = Recorder::hello("ok");
    let balancer = Balancer::serve(&[backend.addr], &["--max-head=60KiB"]);
    let target = format!("/{}", "y".repeat(59 << 10));
    assert_eq!(balancer.get(&target).status, 200);
    assert_eq!(backend.only_request().request_line(), format!("GET {target} HTTP/1.1"));
}

#[test]
fn replies_408_to_a_long_pause_in_an_upload() {
    let backend = Recorder::silent();
    let balancer = Balancer::serve(&[backend.addr], &["--client-body-timeout=300ms"]);
    let mut client = balancer.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
    client.send([b'x'; 2000]);
    assert_refusal(&client.read_reply(), 408, &[backend.addr]);
    assert!(client.is_closed_within(DEADLINE));
    assert!(!backend.only_request().whole);
}

#[test]
fn sends_no_body_when_it_refuses_a_head_request() {
    let dead = dead_port();
    let balancer = Balancer::serve(&[dead.addr], &[]);
    let mut client = balancer.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.read_head().unwrap().status, 502);
    }
}

#[test]
fn keeps_the_connection_after_a_refusal_for_the_backends_fault() {
    let dead = dead_port();
    let balancer = Balancer::serve(&[dead.addr], &[]);
    let mut client = balancer.client();
    for method in ["GET", "DELETE", "POST"] {
        let reply = client.request(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!((reply.status, reply.header("Connection")), (502, None), "{method}");
    }
}

#[test]
fn ends_the_connection_after_a_refusal_with_an_unread_upload() {
    let dead = dead_port();
    let balancer = Balancer::serve(&[dead.addr], &[]);
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut client = balancer.client();
        let reply = client.request(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        assert_refusal(&reply, 502, &[dead.addr]);
        assert!(client.is_closed_within(DEADLINE), "{framing}");
    }
}

#[test]
fn keeps_the_connection_after_refusing_a_small_upload() {
    let dead = dead_port();
    let balancer = Balancer::serve(&[dead.addr], &[]);
    let mut client = balancer.client();
    for _ in 0..3 {
        let refused = client.request("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        assert_refusal(&refused, 502, &[dead.addr]);
        assert!(refused.all("Connection").is_empty(), "{}", refused.raw_head);
    }
}

//! Retries: the failures that are retried, on which backend and how often, and the failures that must not be.

use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, dead_port};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend that reads a request and closes without a reply.
fn closing() -> Recorder {
    Recorder::new(|conversation| drop(conversation.read_request()))
}

fn request(method: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn status(balancer: &Balancer, request: &str) -> u16 {
    balancer.client().request(request).status
}

fn addrs(backends: &[Recorder]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.addr).collect()
}

#[test]
fn after_a_failed_connect_any_request_goes_to_the_next_backend() {
    let (dead, alive) = (dead_port(), Recorder::hello("ok"));
    let balancer = Balancer::serve(&[dead.addr, alive.addr], &[]);
    for method in ["GET", "POST", "PATCH", "PUT", "DELETE", "PROPFIND"] {
        for body in ["", "body"] {
            // Twice: the second request is first tried on the other backend.
            for _ in 0..2 {
                assert_eq!(status(&balancer, &request(method, body)), 200, "{method} {body}");
                let got = alive.requests().pop().unwrap();
                assert_eq!(
                    (got.request_line(), got.body.as_slice()),
                    (format!("{method} / HTTP/1.1").as_str(), body.as_bytes())
                );
            }
        }
    }
    assert_eq!(alive.requests().len(), 24, "each arrived once");
}

#[test]
fn a_lost_idempotent_request_is_retried_on_another_backend() {
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let (closing, alive) = (closing(), Recorder::hello("ok"));
        let balancer = Balancer::serve(&[closing.addr, alive.addr], &[]);
        assert_eq!(status(&balancer, &request(method, "")), 200, "{method}");
        assert_eq!((closing.requests().len(), alive.requests().len()), (1, 1), "{method}");
    }
}

#[test]
fn a_lost_request_that_is_not_repeatable_is_not_retried() {
    for (method, body) in [("POST", ""), ("PATCH", ""), ("PROPFIND", ""), ("POST", "body"), ("PUT", "body")] {
        let (closing, alive) = (closing(), Recorder::hello("ok"));
        let balancer = Balancer::serve(&[closing.addr, alive.addr], &[]);
        assert_eq!(status(&balancer, &request(method, body)), 502, "{method} {body}");
        assert_eq!(closing.only_request().body, body.as_bytes());
        assert_eq!((closing.connections(), alive.connections()), (1, 0), "{method} {body}");
    }
}

#[test]
fn a_request_is_not_retried_once_its_reply_has_begun() {
    for part in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let begun = Recorder::new(move |conversation| {
            conversation.read_request();
            conversation.send(part);
        });
        let alive = Recorder::hello("ok");
        let balancer = Balancer::serve(&[begun.addr, alive.addr], &[]);
        assert_eq!(balancer.get("/").status, 502, "{part:?}");
        assert_eq!((begun.requests().len(), alive.connections()), (1, 0), "{part:?}");
    }
}

#[test]
fn a_timeout_is_never_retried() {
    for method in ["GET", "POST"] {
        let (silent, alive) = (Recorder::silent(), Recorder::hello("ok"));
        let balancer = Balancer::serve(&[silent.addr, alive.addr], &["--reply-head-timeout=200ms"]);
        assert_eq!(status(&balancer, &request(method, "")), 504, "{method}");
        assert_eq!((silent.requests().len(), alive.connections()), (1, 0), "{method}");
    }
}

#[test]
fn the_number_of_tries_is_limited() {
    for (flags, tries) in
        [(vec![], 3), (vec!["--retries=0"], 1), (vec!["--retries=1"], 2), (vec!["--retries=9"], 5)]
    {
        let backends: Vec<_> = (0..5).map(|_| closing()).collect();
        let balancer = Balancer::serve(&addrs(&backends), &flags);
        assert_eq!(balancer.get("/").status, 502);
        let seen: Vec<_> = backends.iter().map(|backend| backend.connections()).collect();
        assert_eq!(seen.iter().sum::<usize>(), tries, "{flags:?}: {seen:?}");
        assert!(seen.iter().all(|&n| n <= 1), "no backend is tried twice: {seen:?}");
    }
}

#[test]
fn refused_connections_count_as_tries() {
    let (dead, alive) = ([dead_port(), dead_port()], Recorder::hello("ok"));
    let balancer = Balancer::serve(&[dead[0].addr, dead[1].addr, alive.addr], &["--retries=0"]);
    let mut client = balancer.client();
    let statuses: Vec<_> = (0..6).map(|_| client.request(request("GET", "")).status).collect();
    assert_eq!(statuses, [502, 502, 200, 502, 502, 200]);
}

/// Sends this number of requests one after the other over one connection, and asserts this status for all.
#[track_caller]
fn assert_all(client: &mut Client, requests: usize, method: &str, status: u16) {
    for n in 0..requests {
        assert_eq!(client.request(request(method, "")).status, status, "{method} {n}");
    }
}

#[test]
fn a_backend_that_closes_after_each_reply_fails_no_request() {
    let backend = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send(OK);
    });
    for flags in [["--workers=1", "--retries=0"], ["--workers=4", "--retries=0"]] {
        let balancer = Balancer::serve(&[backend.addr], &flags);
        assert_all(&mut balancer.client(), 200, "GET", 200);
    }
    let answered = backend.requests().len();
    assert!((400..=800).contains(&answered), "{answered} requests, each redialled once at most");
}

#[test]
fn a_backend_that_resets_idle_connections_fails_no_request() {
    let backend = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send(OK);
        conversation.reset_at_end();
    });
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--retries=0"]);
    assert_all(&mut balancer.client(), 200, "GET", 200);
}

#[test]
fn a_post_is_not_sent_over_a_connection_that_has_ended() {
    let (tell, has_ended) = crossbeam_channel::unbounded();
    let backend = Recorder::new(move |conversation| {
        conversation.read_request();
        conversation.send(OK);
        conversation.finish();
        tell.send(()).unwrap();
    });
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--retries=0"]);
    let mut client = balancer.client();
    for _ in 0..20 {
        assert_all(&mut client, 1, "POST", 200);
        has_ended.recv_timeout(DEADLINE).unwrap();
    }
    assert_eq!(backend.requests().len(), 20);
}

/// A backend that answers the first request of each connection and closes at the second, like a server whose idle
/// timeout passes while a request is on its way.
fn closes_at_second_request() -> Recorder {
    Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send(OK);
        conversation.read_request();
    })
}

#[test]
fn a_stale_connection_is_replaced_without_counting_as_a_retry() {
    let (backend, other) = (closes_at_second_request(), dead_port());
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--retries=0"]);
    assert_all(&mut balancer.client(), 20, "GET", 200);
    assert_eq!(
        (backend.requests().len(), backend.connections()),
        (39, 20),
        "all but the first arrived twice"
    );

    // With one retry and a dead other backend: the stale connection has not used up the retry.
    let backend = closes_at_second_request();
    let balancer = Balancer::serve(&[other.addr, backend.addr], &["--workers=1", "--retries=1"]);
    assert_all(&mut balancer.client(), 20, "GET", 200);
}

#[test]
fn a_post_is_not_repeated_after_a_stale_connection() {
    let backend = closes_at_second_request();
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1"]);
    let mut client = balancer.client();
    for round in 1..=5 {
        assert_all(&mut client, 1, "GET", 200);
        assert_all(&mut client, 1, "POST", 502);
        assert_eq!(backend.requests().len(), 2 * round, "the POST arrived once");
    }
}

#[test]
fn a_backend_that_returns_is_used_again_at_once() {
    let lives = AtomicUsize::new(0);
    let backend = Recorder::new(move |conversation| {
        // The first three connections are lost.
        if lives.fetch_add(1, SeqCst) >= 3 {
            while conversation.read_request().is_some() {
                conversation.send(OK);
            }
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    assert_all(&mut client, 3, "GET", 502);
    assert_all(&mut client, 3, "GET", 200);
}

#[test]
fn an_unused_connection_to_a_backend_is_closed() {
    let (has_ended, end) = crossbeam_channel::unbounded();
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        has_ended.send(()).unwrap();
    });
    let balancer = Balancer::serve(&[backend.addr], &["--upstream-idle-timeout=200ms"]);
    assert_eq!(balancer.get("/").text(), "ok");
    end.recv_timeout(DEADLINE).expect("it is closed although no further request comes");
    assert_eq!(balancer.get("/").text(), "ok", "another one is opened");
}

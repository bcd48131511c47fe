//! Stopping: idle connections are closed at once, and requests that have arrived are served.

use super::{CHUNKED, GET, SECOND, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, eventually};
use crate::watch::is_stopped;
use crossbeam_channel::{Sender, bounded};
use std::time::Instant;

fn is_stopping(balancer: &Balancer) {
    eventually("it has received the signal", || balancer.stderr().contains("stopping"));
}

/// A backend that does not reply to `/slow` until the test drops its end.
fn held_back() -> (Recorder, Sender<()>) {
    let (let_go, held) = bounded::<()>(0);
    let backend = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            if request.target() == "/slow" {
                let _ = held.recv_timeout(DEADLINE); // an error means that the test has dropped it
            }
            conversation.send(request.echo());
        }
    });
    (backend, let_go)
}

#[track_caller]
fn assert_last(client: &mut Client, text: &str) {
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.text(), reply.header("Connection")), (200, text, Some("close")));
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
}

#[test]
fn closes_idle_connections_at_once_while_a_slow_request_is_served() {
    let (backend, let_go) = held_back();
    let mut balancer = parked(&backend, &["--grace=60s"]);
    let mut slow = balancer.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the slow request is in progress", || backend.requests().len() == 1);
    let mut used: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    for client in &mut used {
        assert_eq!(client.request(GET).status, 200);
    }
    let unused: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    // This one was accepted after the idle ones and has been served, so those are open.
    assert_eq!(balancer.get("/").status, 200);
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    for mut client in used.into_iter().chain(unused) {
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
        assert!(began.elapsed() < SECOND, "it took {:?}", began.elapsed());
    }
    drop(let_go);
    assert_last(&mut slow, "/slow");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn serves_a_request_that_arrived_before_the_signal() {
    let backend = Recorder::echoing();
    let mut balancer = parked(&backend, &[]);
    let mut clients: Vec<_> = (0..50).map(|_| balancer.client()).collect();
    for client in &mut clients {
        assert_eq!(client.request(GET).status, 200);
    }
    // All requests are in the sockets' buffers when the signal arrives.
    balancer.signal(libc::SIGSTOP);
    is_stopped(balancer.pid());
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    balancer.signal(libc::SIGTERM);
    balancer.signal(libc::SIGCONT);
    for (number, client) in clients.iter_mut().enumerate() {
        // A request that was served before the signal does not announce the end.
        assert_eq!(client.read_reply().text(), format!("/{number}"));
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    }
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn does_not_forward_what_is_pipelined_behind_the_last_request() {
    let (backend, let_go) = held_back();
    let mut balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    client.send(format!("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n{GET}"));
    eventually("the first request is in progress", || backend.requests().len() == 1);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    drop(let_go);
    assert_last(&mut client, "/slow");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn finishes_small_uploads_that_have_begun() {
    let backend = Recorder::echoing();
    let mut balancer = parked(&backend, &["--grace=60s"]);
    let halves = [("12345", "67890", sized(10)), ("5\r\nhello\r\n", "0\r\n\r\n", CHUNKED.into())];
    let mut clients: Vec<_> = halves.iter().map(|_| balancer.client()).collect();
    for (client, (begin, _, framing)) in clients.iter_mut().zip(&halves) {
        client.send(post(framing));
        client.send(begin);
    }
    assert_eq!(balancer.get("/").status, 200);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    for (client, (_, end, _)) in clients.iter_mut().zip(&halves) {
        client.send(end);
        assert_last(client, "/");
    }
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(backend.requests().iter().all(|request| request.whole));
}

#[test]
fn finishes_a_large_upload_that_has_begun() {
    let backend = Recorder::echoing();
    let mut balancer = parked(&backend, &["--grace=60s"]);
    let mut client = balancer.client();
    client.send(post(&sized(1 << 20)));
    client.send(pattern(1 << 19));
    eventually("the upload has begun at the backend", || backend.requests().len() == 1);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    client.send(pattern(1 << 19));
    assert_last(&mut client, "/");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn does_not_wait_for_connections_without_a_request() {
    let backend = Recorder::hello("hello");
    let mut balancer = parked(&backend, &["--grace=60s", "--client-head-timeout=60s", "--idle-timeout=60s"]);
    let mut clients: Vec<_> = (0..15).map(|_| balancer.client()).collect();
    for client in &mut clients[..5] {
        assert_eq!(client.request(GET).text(), "hello");
    }
    for client in &mut clients[10..] {
        client.send(&GET[..20]);
    }
    assert_eq!(balancer.get("/").text(), "hello");
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(began.elapsed() < 2 * SECOND, "it took {:?}", began.elapsed());
    for mut client in clients {
        assert_eq!(client.read_to_end_of_connection().0, b"", "no byte of a reply without a request");
    }
    assert!(!balancer.stderr().contains("left behind"), "{}", balancer.stderr());
}

#[test]
fn waits_for_an_unfinished_upload_for_the_grace_period_only() {
    let backend = Recorder::hello("taken for whole");
    for framing in [sized(1000), sized(1 << 20)] {
        let mut balancer = parked(&backend, &["--grace=500ms"]);
        let mut client = balancer.client();
        client.send(post(&framing));
        client.send(pattern(500));
        assert_eq!(balancer.get("/").status, 200);
        let began = Instant::now();
        balancer.signal(libc::SIGTERM);
        assert_eq!(balancer.wait_exit(DEADLINE), 0);
        assert!(began.elapsed() < 3 * SECOND, "{framing}: it took {:?}", began.elapsed());
        let (rest, _) = client.read_to_end_of_connection();
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", rest.escape_ascii());
    }
    let uploads = backend.requests().into_iter().filter(|request| request.request_line().starts_with("POST"));
    assert!(uploads.into_iter().all(|upload| !upload.whole));
}

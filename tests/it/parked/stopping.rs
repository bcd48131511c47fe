//! Stopping: whoever waits for nothing is let go at once, and whoever has asked is answered.

use super::{CHUNKED, GET, SECOND, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, eventually};
use crate::watch::is_stopped;
use crossbeam_channel::{Sender, bounded};
use std::time::Instant;

fn is_stopping(balancer: &Balancer) {
    eventually("it has heard the signal", || balancer.stderr().contains("stopping"));
}

/// A backend that does not reply to `/slow` before the test lets go.
fn held_back() -> (Recorder, Sender<()>) {
    let (let_go, held) = bounded::<()>(0);
    let backend = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            if request.target() == "/slow" {
                let _ = held.recv_timeout(DEADLINE); // an error is what it waits for
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
fn idle_connections_end_at_once_while_a_slow_request_is_finished() {
    let (backend, let_go) = held_back();
    let mut balancer = parked(&backend, &["--grace=60s"]);
    let mut slow = balancer.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the slow one is under way", || backend.requests().len() == 1);
    let mut used: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    for client in &mut used {
        assert_eq!(client.request(GET).status, 200);
    }
    let unused: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    // Those were accepted before this one, which has been answered.
    assert_eq!(balancer.get("/").status, 200);
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    for mut client in used.into_iter().chain(unused) {
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
        assert!(began.elapsed() < SECOND, "only after {:?}", began.elapsed());
    }
    drop(let_go);
    assert_last(&mut slow, "/slow");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn a_request_that_has_come_before_the_signal_is_served() {
    let backend = Recorder::echoing();
    let mut balancer = parked(&backend, &[]);
    let mut clients: Vec<_> = (0..50).map(|_| balancer.client()).collect();
    for client in &mut clients {
        assert_eq!(client.request(GET).status, 200);
    }
    // All lies in the sockets when it learns that it is to stop.
    balancer.signal(libc::SIGSTOP);
    is_stopped(balancer.pid());
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    balancer.signal(libc::SIGTERM);
    balancer.signal(libc::SIGCONT);
    for (number, client) in clients.iter_mut().enumerate() {
        // It may have been answered before the signal was heard, and then it was not known for the last.
        assert_eq!(client.read_reply().text(), format!("/{number}"));
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    }
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn what_is_pipelined_behind_the_last_reply_is_not_carried_out_unseen() {
    let (backend, let_go) = held_back();
    let mut balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    client.send(format!("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n{GET}"));
    eventually("the first is under way", || backend.requests().len() == 1);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    drop(let_go);
    assert_last(&mut client, "/slow");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn uploads_that_have_begun_are_finished() {
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
fn a_large_upload_that_has_begun_is_finished() {
    let backend = Recorder::echoing();
    let mut balancer = parked(&backend, &["--grace=60s"]);
    let mut client = balancer.client();
    client.send(post(&sized(1 << 20)));
    client.send(pattern(1 << 19));
    eventually("it is on its way", || backend.requests().len() == 1);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    client.send(pattern(1 << 19));
    assert_last(&mut client, "/");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn connections_that_ask_for_nothing_do_not_hold_up_the_end() {
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
    assert!(began.elapsed() < 2 * SECOND, "only after {:?}", began.elapsed());
    for mut client in clients {
        assert_eq!(client.read_to_end_of_connection().0, b"", "no byte of a reply that nobody asked for");
    }
    assert!(!balancer.stderr().contains("left behind"), "{}", balancer.stderr());
}

#[test]
fn a_client_that_does_not_finish_its_upload_is_waited_for_no_longer_than_grace() {
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
        assert!(began.elapsed() < 3 * SECOND, "{framing}: only after {:?}", began.elapsed());
        let (rest, _) = client.read_to_end_of_connection();
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", rest.escape_ascii());
    }
    let uploads = backend.requests().into_iter().filter(|request| request.request_line().starts_with("POST"));
    assert!(uploads.into_iter().all(|upload| !upload.whole));
}

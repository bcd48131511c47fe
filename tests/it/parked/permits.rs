//! The permits for slow clients: half of the workers may wait for one.

use super::{CHUNKED, LARGE, SECOND, parked, pattern, post, sized, trickle};
use crate::backend::{POURED, Recorder};
use crate::bed::{Balancer, Client, DEADLINE, Ending, Reply, eventually};
use crate::watch::Guest;
use std::io::ErrorKind::{ConnectionReset, WouldBlock};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

const UPLOAD: usize = 1_000_000;
const SENT: usize = 1000;

/// A client that has requested a very large reply and has not begun to read it.
fn request_large_reply(balancer: &Balancer) -> Client {
    let mut client = balancer.client();
    client.send("GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    client
}

/// Begins an upload and pauses. Sends its number, the reply, and the time until the reply to the channel.
fn stall_upload(balancer: &Balancer, number: usize, results: &Sender<(usize, Reply, Duration)>) -> TcpStream {
    let (mut client, results) = (balancer.client(), results.clone());
    client.send(post(&sized(UPLOAD)));
    client.send(vec![b'x'; SENT]);
    let (began, stream) = (Instant::now(), client.stream.try_clone().unwrap());
    thread::spawn(move || {
        let sent = client.try_read_reply().map(|reply| results.send((number, reply, began.elapsed())));
        drop(sent); // fails if the test is over
    });
    stream
}

#[test]
fn lets_half_of_the_workers_wait_for_stalled_uploads() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=4"]);
    let guest = Guest::of(balancer.addr);
    let (results, replies): (_, Receiver<(usize, Reply, Duration)>) = mpsc::channel();
    let mut uploads: Vec<_> = (0..8).map(|number| Some(stall_upload(&balancer, number, &results))).collect();
    for _ in 0..6 {
        let (number, reply, took) = replies.recv_timeout(DEADLINE).unwrap();
        assert_eq!((reply.status, reply.header("Connection")), (408, Some("close")), "{}", reply.raw_head);
        assert!(took < SECOND, "after {took:?}");
        uploads[number] = None;
    }
    // Two clients have permits, and may continue at any time.
    for mut stream in uploads.into_iter().flatten() {
        stream.write_all(&[b'x'; UPLOAD - SENT]).unwrap();
        let (_, reply, _) = replies.recv_timeout(DEADLINE).unwrap();
        assert_eq!((reply.status, reply.text()), (200, "hello"));
    }
    guest.was_served();
    assert_eq!(backend.requests().iter().filter(|request| request.body.len() == UPLOAD).count(), 2);
}

#[test]
fn lets_half_of_the_workers_wait_for_clients_that_do_not_read() {
    let backend = Recorder::pouring();
    let balancer = parked(&backend, &["--workers=4"]);
    let guest = Guest::of(balancer.addr);
    let mut clients: Vec<_> = (0..8).map(|_| request_large_reply(&balancer)).collect();
    let began = Instant::now();
    eventually("six connections have been reset", || {
        clients.retain(|client| client.stream.take_error().unwrap().is_none());
        clients.len() == 2
    });
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    // Two clients have permits, and may read at any time.
    for mut client in clients {
        assert_eq!(client.read_head().unwrap().status, 200);
        assert_eq!(client.take(POURED).unwrap().len(), POURED);
    }
    guest.was_served();
}

#[test]
fn returns_the_permit_of_a_client_that_has_finished_or_left() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=2"]);
    let (results, replies) = mpsc::channel();
    for leaves in [true, false, true, true, false] {
        let mut uploads = [0, 1].map(|number| stall_upload(&balancer, number, &results));
        let (refused, reply, _) = replies.recv_timeout(DEADLINE).unwrap();
        assert_eq!(reply.status, 408, "there is only one permit");
        let other = &mut uploads[1 - refused];
        if leaves {
            other.shutdown(Shutdown::Both).unwrap();
            eventually("its upload has ended at the backend", || backend.open_connections() == 0);
        } else {
            other.write_all(&[b'x'; UPLOAD - SENT]).unwrap();
            assert_eq!(replies.recv_timeout(DEADLINE).unwrap().1.status, 200, "the permit has been returned");
        }
    }
}

#[test]
fn lets_half_of_the_workers_wait_for_uploads_of_single_bytes() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=4"]);
    let mut clients: Vec<_> = (0..8).map(|_| balancer.client()).collect();
    for client in &mut clients {
        client.send(post(&sized(UPLOAD)));
        client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        trickle(client, pattern(60_000), 1, Duration::from_micros(100));
    }
    let guest = Guest::of(balancer.addr);
    eventually("six uploads have been refused", || {
        clients.retain(|client| client.stream.peek(&mut [0]).is_err_and(|error| error.kind() == WouldBlock));
        clients.len() == 2
    });
    guest.was_served();
}

/// The flags that set a minimum rate.
fn at_least(rate: &str) -> [String; 3] {
    [
        "--client-body-timeout=500ms".into(),
        "--client-write-timeout=1s".into(),
        format!("--min-body-rate={rate}"),
    ]
}

fn with_min_rate(backend: &Recorder, rate: &str) -> Balancer {
    parked(backend, &at_least(rate).each_ref().map(String::as_str))
}

#[test]
fn replies_408_to_an_upload_below_the_minimum_rate() {
    let backend = Recorder::hello("taken for whole");
    let balancer = with_min_rate(&backend, "1KiB");
    for framing in [sized(1000), sized(LARGE), CHUNKED.into()] {
        let mut client = balancer.client();
        client.send(post(&framing));
        let body = if framing == CHUNKED { b"1\r\nx\r\n".repeat(1000) } else { pattern(1000) };
        let (began, at_a_time) = (Instant::now(), body.len() / 1000);
        trickle(&client, body, at_a_time, Duration::from_millis(50));
        assert_eq!(client.read_reply().status, 408, "{framing}");
        let took = began.elapsed();
        assert!(Duration::from_millis(500) <= took && took < 4 * SECOND, "{framing}: after {took:?}");
        assert!(client.is_closed_within(DEADLINE));
    }
    assert!(backend.requests().iter().all(|request| !request.whole));
}

#[test]
fn accepts_an_upload_above_the_minimum_rate() {
    let backend = Recorder::hello("hello");
    let balancer = with_min_rate(&backend, "1KiB");
    for size in [50_000, LARGE] {
        let mut client = balancer.client();
        client.send(post(&sized(size)));
        let began = Instant::now();
        trickle(&client, pattern(size), size / 40, Duration::from_millis(20));
        assert_eq!(client.read_reply().text(), "hello");
        assert!(began.elapsed() > Duration::from_millis(600), "it took longer than the longest pause");
    }
    assert!(backend.requests().iter().all(|request| request.whole));
}

/// Reads a reply, `at_a_time` bytes every 20 ms, until it ends or `most` has passed. Returns how many bytes it
/// read and how the reply ended, if it did.
fn read_slowly(client: &mut Client, at_a_time: usize, most: Duration) -> (usize, Option<Ending>) {
    let (mut piece, mut total, began) = (vec![0; at_a_time], 0, Instant::now());
    while began.elapsed() < most {
        match client.stream.read(&mut piece) {
            Ok(0) => return (total, Some(Ending::Finished)),
            Ok(n) => total += n,
            Err(error) if error.kind() == ConnectionReset => return (total, Some(Ending::Reset)),
            Err(error) => panic!("after {total}: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    (total, None)
}

#[test]
fn resets_a_client_that_reads_below_the_minimum_rate() {
    let backend = Recorder::pouring();
    let balancer = with_min_rate(&backend, "20MiB");
    let (total, ending) = read_slowly(&mut request_large_reply(&balancer), 64 << 10, DEADLINE);
    assert_eq!(ending, Some(Ending::Reset), "after {total}");
    assert!(total < POURED);
}

#[test]
fn serves_a_client_that_reads_above_the_minimum_rate() {
    let backend = Recorder::pouring();
    for rate in ["1KiB", "0B"] {
        let balancer = with_min_rate(&backend, rate);
        let mut client = request_large_reply(&balancer);
        let (total, ending) = read_slowly(&mut client, 64 << 10, 3 * SECOND / 2);
        assert_eq!(ending, None, "{rate}, after {total}");
        let (rest, ending) = client.read_to_end_of_connection();
        assert_eq!(ending, Ending::Finished, "{rate}");
        assert!(total + rest.len() > POURED, "{rate}: the head and all of the body");
    }
}

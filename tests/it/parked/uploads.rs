//! Request bodies: small ones are buffered, and a cut one is never forwarded as complete.

use super::{CHUNKED, GET, LARGE, SECOND, in_chunks, parked, pattern, post, sized};
use crate::backend::Recorder;
use crate::bed::{Client, Ending, eventually};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::net::Shutdown;
use std::time::Instant;

/// The largest body that is buffered before a worker gets the request.
const MAX_BUFFERED_BODY: usize = 64 << 10;

/// Returns the framing header and the bytes of an upload of this body, sized and in chunks.
fn both_ways(body: &[u8], chunk: usize) -> [(String, Vec<u8>); 2] {
    [(sized(body.len()), body.to_vec()), (CHUNKED.into(), in_chunks(body, chunk))]
}

#[test]
fn forwards_a_body_that_arrives_byte_by_byte() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &[]);
    let body = pattern(2000);
    let mut client = balancer.client();
    for (count, (framing, bytes)) in both_ways(&body, 7).into_iter().enumerate() {
        for byte in [post(&framing).as_bytes(), &bytes].concat() {
            client.send([byte]);
        }
        assert_eq!(client.read_reply().text(), "hello", "{framing}");
        assert!(backend.requests()[count].body == body, "{framing}");
    }
}

#[test]
fn forwards_a_body_of_any_size_in_any_pieces() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=2"]);
    let around = [MAX_BUFFERED_BODY - 1, MAX_BUFFERED_BODY, MAX_BUFFERED_BODY + 1].map(Just);
    let [less, just, more] = around;
    let size = prop_oneof![4 => 1..MAX_BUFFERED_BODY, 1 => less, 1 => just, 1 => more, 1 => MAX_BUFFERED_BODY..2 * MAX_BUFFERED_BODY];
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let pieces = (size, 1..MAX_BUFFERED_BODY, cuts);
    let outcome = runner.run(&pieces, |(size, chunk, cuts)| {
        let body = pattern(size);
        for (framing, bytes) in both_ways(&body, chunk) {
            let mut client = balancer.client();
            send_in_pieces(&mut client, &[post(&framing).as_bytes(), &bytes].concat(), &cuts);
            prop_assert_eq!(client.read_reply().status, 200);
            let arrived = backend.last_request();
            prop_assert!(arrived.whole && arrived.body == body, "{} of {}", framing, size);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn send_in_pieces(client: &mut Client, bytes: &[u8], cuts: &[prop::sample::Index]) {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    at.sort_unstable();
    let (mut from, ends) = (0, at.into_iter().chain([bytes.len()]));
    for end in ends {
        client.send(&bytes[from..end]);
        from = end;
    }
}

#[test]
fn holds_no_worker_for_incomplete_small_bodies() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=1"]);
    let body = pattern(1000);
    let mut clients: Vec<_> = (0..100).map(|_| balancer.client()).collect();
    for client in &mut clients {
        client.send(post(&sized(body.len())));
        client.send(&body[..500]);
    }
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(balancer.get("/").text(), "hello");
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    }
    assert!(backend.requests().iter().all(|request| request.request_line() == "GET / HTTP/1.1"));
    for client in &mut clients {
        client.send(&body[500..]);
        assert_eq!(client.read_reply().text(), "hello");
    }
    assert_eq!(backend.requests().iter().filter(|request| request.body == body).count(), 100);
}

#[test]
fn drops_chunk_extensions_and_trailers() {
    for size in [5, LARGE] {
        let backend = Recorder::hello("hello");
        let balancer = parked(&backend, &[]);
        let mut client = balancer.client();
        let body = pattern(size);
        client.send(post("Transfer-Encoding: chunked\r\nTrailer: X-Trailer"));
        client.send(format!("{size:x};extended=1;as=\"a; b\"\r\n"));
        client.send(&body);
        client.send("\r\n000;extended\r\nX-Trailer: extended\r\nX-Empty:\r\n\r\n");
        assert_eq!(client.read_reply().text(), "hello");
        assert_eq!(client.request(GET).text(), "hello", "a request follows the trailers");
        let request = &backend.requests()[0];
        assert!(request.whole && request.body == body, "{size}");
        let bytes = String::from_utf8_lossy(&backend.bytes()).to_lowercase();
        assert!(!bytes.contains("extended") && !bytes.contains("x-empty"), "{}", request.head);
    }
}

/// Chunked uploads, cut at different places.
const CUT_CHUNKS: [&str; 12] = [
    "",
    "5",
    "5\r",
    "5;e",
    "5\r\n",
    "5\r\nhel",
    "5\r\nhello",
    "5\r\nhello\r\n",
    "0\r\n",
    "0\r\n\r",
    "5\r\nhello\r\n0\r\nX-Trailer: a\r\n",
    "5\r\nhello\r\n0\r\nX-Tra",
];

/// Sends each cut upload after `before` bytes of data and then shuts the writing side. Asserts that the client
/// gets 400 each time.
fn cut_uploads(backend: &Recorder, before: usize) {
    let balancer = parked(backend, &[]);
    let whole_chunk = in_chunks(&pattern(before), LARGE);
    let before = whole_chunk.strip_suffix(b"0\r\n\r\n").unwrap();
    for cut in CUT_CHUNKS {
        let mut client = balancer.client();
        client.send([post(CHUNKED).as_bytes(), before, cut.as_bytes()].concat());
        client.stream.shutdown(Shutdown::Write).unwrap();
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.header("Connection")), (400, Some("close")), "{cut:?}");
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished), "{cut:?}");
    }
    eventually("the balancer has closed its connections to the backend", || backend.open_connections() == 0);
}

#[test]
fn forwards_nothing_of_a_small_chunked_upload_that_is_cut() {
    let backend = Recorder::hello("taken for whole");
    cut_uploads(&backend, 0);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn never_forwards_a_large_chunked_upload_that_is_cut_as_complete() {
    let backend = Recorder::hello("taken for whole");
    cut_uploads(&backend, LARGE);
    // The client may get its reply before the backend has read the last upload.
    eventually("all uploads have begun", || backend.requests().len() == CUT_CHUNKS.len());
    let requests = backend.requests();
    assert!(requests.iter().all(|request| !request.whole));
}

#[test]
fn forwards_nothing_of_a_small_sized_upload_that_is_cut() {
    let backend = Recorder::hello("taken for whole");
    let balancer = parked(&backend, &[]);
    for sent in [0, 1, 999] {
        let mut client = balancer.client();
        client.send(post(&sized(1000)));
        client.send(pattern(sent));
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_reply().status, 400);
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn replies_400_to_an_endless_chunk_size() {
    let backend = Recorder::hello("reached");
    let balancer = parked(&backend, &[]);
    let mut client = balancer.client();
    client.send(post(CHUNKED));
    client.send("0".repeat(1 << 20)); // leading zeros add nothing to the body
    let reply = client.read_reply();
    assert_eq!(reply.status, 400, "{}", reply.raw_head);
}

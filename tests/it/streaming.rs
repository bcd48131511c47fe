//! Bodies are streamed in both directions, and a truncated body never looks complete.

use crate::backend::{Conversation, Recorder};
use crate::bed::{Balancer, Ending, eventually};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A backend that sends what the test passes it, piece by piece, until the test drops the sender; then it
/// closes.
fn fed() -> (Recorder, Sender<Vec<u8>>) {
    let (pieces, fed): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = unbounded();
    let backend = Recorder::new(move |conversation| {
        conversation.read_request();
        fed.iter().for_each(|piece| conversation.send(piece));
    });
    (backend, pieces)
}

/// A backend that reads a request, sends this, and closes or resets the connection.
fn breaking_off(reply: String, reset: bool) -> Recorder {
    Recorder::new(move |conversation: &mut Conversation| {
        conversation.read_request();
        conversation.send(&reply);
        if reset {
            conversation.reset_at_end();
        }
    })
}

#[test]
fn relays_an_event_stream_line_by_line() {
    let (backend, pieces) = fed();
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(GET);
    pieces
        .send(
            format!("{}\r\n", CHUNKED.replace("\r\n\r\n", "\r\nContent-Type: text/event-stream\r\n")).into(),
        )
        .unwrap();
    assert_eq!(client.read_head().unwrap().header("Content-Type"), Some("text/event-stream"));
    for n in 0..5 {
        let event = format!("data: {n}\n\n");
        pieces.send(format!("{:x}\r\n{event}\r\n", event.len()).into()).unwrap();
        // The backend sends nothing more before this line has been read.
        assert_eq!(client.read_chunk().unwrap().unwrap(), event.as_bytes());
    }
    pieces.send(b"0\r\n\r\n".to_vec()).unwrap();
    assert_eq!(client.read_chunk().unwrap(), None);
}

#[test]
fn relays_a_stream_without_framing_as_it_arrives() {
    for version in ["1.0", "1.1"] {
        let (backend, pieces) = fed();
        let balancer = Balancer::serve(&[backend.addr], &[]);
        let mut client = balancer.client();
        client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
        pieces.send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).unwrap();
        let head = client.read_head().unwrap();
        for piece in [b"one", b"two"] {
            pieces.send(piece.to_vec()).unwrap();
            match head.header("Transfer-Encoding") {
                Some(_) => assert_eq!(client.read_chunk().unwrap().unwrap(), piece),
                None => assert_eq!(client.take(3).unwrap(), piece),
            }
        }
        drop(pieces);
        let end = if version == "1.0" { "" } else { "0\r\n\r\n" };
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_to_end_of_connection(), (end.as_bytes().to_vec(), Ending::Finished));
    }
}

#[test]
fn relays_a_sized_reply_as_it_arrives() {
    let (backend, pieces) = fed();
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(GET);
    pieces.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc".to_vec()).unwrap();
    client.read_head().unwrap();
    assert_eq!(client.take(3).unwrap(), b"abc");
    pieces.send(b"def".to_vec()).unwrap();
    assert_eq!(client.take(3).unwrap(), b"def");
}

#[test]
fn forwards_an_upload_as_it_arrives() {
    let half = vec![b'x'; 40_000];
    let chunk = [b"9c40\r\n".as_slice(), &half, b"\r\n"].concat();
    for (framing, piece, end) in
        [("Content-Length: 80000", &half, ""), ("Transfer-Encoding: chunked", &chunk, "0\r\n\r\n")]
    {
        let backend = Recorder::hello("got it");
        let balancer = Balancer::serve(&[backend.addr], &[]);
        let mut client = balancer.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        client.send(piece);
        // Less than this may still be in buffers on the way.
        eventually("most of the first half has arrived", || backend.bytes().len() > 20_000);
        client.send(piece);
        client.send(end);
        assert_eq!(client.read_reply().text(), "got it");
        assert!(backend.only_request().body == [half.as_slice(), &half].concat(), "{framing}");
    }
}

#[test]
fn passes_large_bodies_unchanged_in_both_directions() {
    let backend = Recorder::new(|conversation| {
        while let Some(request) = conversation.read_request() {
            conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            conversation.send(request.body);
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let body: Vec<u8> = (0..251u8).cycle().take(8 << 20).collect();
    let mut client = balancer.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert!(client.read_reply().body == body);
}

/// Returns what a client receives of a reply that the backend breaks off, and how its connection ends.
#[track_caller]
fn broken(reply: &str, reset: bool, version: &str) -> (String, Ending) {
    let backend = breaking_off(reply.to_string(), reset);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
    assert_eq!(client.read_head().unwrap().status, 200);
    let (body, ending) = client.read_to_end_of_connection();
    assert_eq!(backend.requests().len(), 1, "a reply that has begun is not retried");
    (String::from_utf8(body).unwrap(), ending)
}

#[test]
fn resets_the_client_when_a_sized_reply_breaks_off() {
    for reset in [false, true] {
        for version in ["1.0", "1.1"] {
            let (body, ending) = broken("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", reset, version);
            assert!("hello".starts_with(&body), "{body:?}");
            assert_eq!(ending, Ending::Reset, "HTTP/{version}");
        }
    }
}

#[test]
fn resets_the_client_when_a_chunked_reply_breaks_off() {
    for reset in [false, true] {
        for cut in ["5\r\nhello\r\n", "5\r\nhello\r\n5\r\nwo", "5\r\nhello\r\n5", "5\r\nhello\r\n0", ""] {
            let (body, ending) = broken(&format!("{CHUNKED}{cut}"), reset, "1.1");
            assert!(!body.ends_with("0\r\n\r\n"), "{cut:?}: {body:?}");
            assert_eq!(ending, Ending::Reset, "{cut:?}");
        }
    }
}

#[test]
fn resets_an_http_1_0_client_when_a_chunked_reply_breaks_off() {
    // For this client the end of the connection is the end of the body: only a reset shows the fault.
    for reset in [false, true] {
        let (body, ending) = broken(&format!("{CHUNKED}5\r\nhello\r\n5\r\nwo"), reset, "1.0");
        assert!("hellowo".starts_with(&body), "{body:?}");
        assert_eq!(ending, Ending::Reset);
    }
}

#[test]
fn does_not_take_a_reset_for_the_end_of_a_reply() {
    for version in ["1.0", "1.1"] {
        let (body, ending) = broken("HTTP/1.1 200 OK\r\n\r\nhello", true, version);
        assert!(!body.contains("0\r\n\r\n"), "{body:?}");
        assert_eq!(ending, Ending::Reset, "HTTP/{version}");
    }
}

#[test]
fn does_not_take_a_malformed_chunk_for_the_end_of_a_reply() {
    let (body, ending) = broken(&format!("{CHUNKED}5\r\nhello\r\nxyz\r\n"), false, "1.1");
    assert!("5\r\nhello\r\n".starts_with(&body), "{body:?}");
    assert_eq!(ending, Ending::Reset);
}

/// Sends part of an upload and breaks it off, with a reset or by shutting its writing side. Asserts that the
/// client gets no success and that the backend has received no complete upload.
#[track_caller]
fn assert_cut_upload_is_cut(framing: &str, part: &[u8]) {
    for abruptly in [false, true] {
        let backend = Recorder::hello("taken for whole");
        let balancer = Balancer::serve(&[backend.addr], &["--workers=1"]);
        let mut client = balancer.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        client.send(part);
        if abruptly {
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
        } else {
            client.stream.shutdown(Shutdown::Write).unwrap();
            let reply = String::from_utf8(client.read_to_end_of_connection().0).unwrap();
            assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400 "), "{reply}");
        }
        // The one worker is free again, and the next request is not taken for the rest of the upload.
        assert_eq!(balancer.get("/next").text(), "taken for whole");
        let (uploads, rest): (Vec<_>, Vec<_>) =
            backend.requests().into_iter().partition(|request| request.request_line().starts_with("POST"));
        assert!(uploads.iter().all(|upload| !upload.whole), "{framing}, {abruptly}: {uploads:?}");
        assert_eq!((rest.len(), rest[0].request_line()), (1, "GET /next HTTP/1.1"));
    }
}

#[test]
fn never_forwards_a_truncated_sized_upload_as_complete() {
    for (length, sent) in [(10, 5), (1024, 1000), (5000, 0), (5000, 4999), (100_000, 60_000)] {
        assert_cut_upload_is_cut(&format!("Content-Length: {length}"), &vec![b'x'; sent]);
    }
}

#[test]
fn never_forwards_an_upload_cut_between_chunks_as_complete() {
    // tiny_http cannot tell an upload cut within a chunk from one with a shorter chunk.
    let part = [b"2710\r\n".as_slice(), &[b'x'; 10_000], b"\r\n"].concat();
    assert_cut_upload_is_cut("Transfer-Encoding: chunked", &part);
}

#[test]
fn relays_a_reply_that_comes_before_the_end_of_the_upload() {
    const TOO_LARGE: &str = "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nless";
    for drains in [false, true] {
        let backend = Recorder::new(move |conversation| {
            let Some((request, _)) = conversation.read_head() else { return };
            if request.request_line().starts_with("GET") {
                return conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
            conversation.send(TOO_LARGE);
            if drains {
                conversation.read_to_end();
            }
        });
        let balancer = Balancer::serve(&[backend.addr], &["--workers=1"]);
        let mut client = balancer.client();
        let mut stream = client.stream.try_clone().unwrap();
        let upload = thread::spawn(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 5 << 20);
            // The balancer may close before the end.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; 5 << 20]));
        });
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.text()), (413, "less"), "the backend drains: {drains}");
        upload.join().unwrap();
        if !drains {
            assert_eq!(balancer.get("/").text(), "ok");
            assert_eq!(backend.connections(), 2, "the first connection is not reused");
        }
    }
}

#[test]
fn relays_an_early_reply_without_waiting_for_the_rest_of_the_upload() {
    let backend = Recorder::new(|conversation| {
        conversation.read_head();
        conversation.send("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nless");
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 50 << 20));
    client.send(vec![b'x'; 5 << 20]);
    // The client sends no more than this.
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.text()), (413, "less"));
    assert!(reply.all("Connection").contains(&"close"), "{}", reply.raw_head);
}

#[test]
fn frees_the_worker_of_a_client_that_disconnects() {
    let (backend, pieces) = fed();
    let other = Recorder::hello("ok");
    let balancer = Balancer::serve(&[backend.addr, other.addr], &["--workers=1"]);
    let mut client = balancer.client();
    client.send(GET);
    pieces.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec()).unwrap();
    pieces.send(vec![b'x'; 1000]).unwrap();
    client.read_head().unwrap();
    drop(client);
    for _ in 0..20 {
        pieces.send(vec![b'x'; 49_950]).unwrap();
    }
    assert_eq!(balancer.get("/").text(), "ok", "the worker is free again");
}

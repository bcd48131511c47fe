//! Bodies move as they come, both ways; and what was cut short never looks whole.

use crate::backend::{Conversation, Recorder};
use crate::bed::{Balancer, Ending, eventually};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A backend that, for each request, sends what the test hands it, piece by piece, until the test
/// lets go of the sender; then it closes.
fn fed() -> (Recorder, Sender<Vec<u8>>) {
    let (pieces, fed): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = unbounded();
    let backend = Recorder::new(move |conversation| {
        conversation.read_request();
        fed.iter().for_each(|piece| conversation.send(piece));
    });
    (backend, pieces)
}

/// A backend that reads a request, sends this, and is gone.
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
fn the_lines_of_an_event_stream_arrive_one_at_a_time() {
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
        // The backend sends nothing more before this one has been read.
        assert_eq!(client.read_chunk().unwrap().unwrap(), event.as_bytes());
    }
    pieces.send(b"0\r\n\r\n".to_vec()).unwrap();
    assert_eq!(client.read_chunk().unwrap(), None);
}

#[test]
fn a_stream_that_ends_with_its_connection_is_not_held_back_either() {
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
fn a_sized_reply_is_relayed_while_the_backend_is_still_sending_it() {
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
fn an_upload_is_forwarded_while_the_client_is_still_sending_it() {
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
        // What is left in a buffer on the way is less than a piece of that size.
        eventually("most of the first half is there", || backend.bytes().len() > 20_000);
        client.send(piece);
        client.send(end);
        assert_eq!(client.read_reply().text(), "got it");
        assert!(backend.only_request().body == [half.as_slice(), &half].concat(), "{framing}");
    }
}

#[test]
fn large_bodies_pass_unchanged_both_ways() {
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

/// What a client sees of a reply that its backend has broken off.
#[track_caller]
fn broken(reply: &str, reset: bool, version: &str) -> (String, Ending) {
    let backend = breaking_off(reply.to_string(), reset);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
    assert_eq!(client.read_head().unwrap().status, 200);
    let (body, ending) = client.read_to_end_of_connection();
    assert_eq!(backend.requests().len(), 1, "what has begun is not tried again");
    (String::from_utf8(body).unwrap(), ending)
}

#[test]
fn a_sized_reply_that_breaks_off_is_broken_for_the_client() {
    for reset in [false, true] {
        for version in ["1.0", "1.1"] {
            let (body, ending) = broken("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", reset, version);
            assert!("hello".starts_with(&body), "{body:?}");
            assert_eq!(ending, Ending::Reset, "HTTP/{version}");
        }
    }
}

#[test]
fn a_chunked_reply_that_breaks_off_is_broken_for_the_client() {
    for reset in [false, true] {
        for cut in ["5\r\nhello\r\n", "5\r\nhello\r\n5\r\nwo", "5\r\nhello\r\n5", "5\r\nhello\r\n0", ""] {
            let (body, ending) = broken(&format!("{CHUNKED}{cut}"), reset, "1.1");
            assert!(!body.ends_with("0\r\n\r\n"), "{cut:?}: {body:?}");
            assert_eq!(ending, Ending::Reset, "{cut:?}");
        }
    }
}

#[test]
fn a_chunked_reply_that_breaks_off_is_broken_for_an_http_1_0_client_too() {
    // There the end of the connection is the end of the body: only a reset says that it is not.
    for reset in [false, true] {
        let (body, ending) = broken(&format!("{CHUNKED}5\r\nhello\r\n5\r\nwo"), reset, "1.0");
        assert!("hellowo".starts_with(&body), "{body:?}");
        assert_eq!(ending, Ending::Reset);
    }
}

#[test]
fn a_reset_is_no_end_of_a_reply_that_ends_with_its_connection() {
    for version in ["1.0", "1.1"] {
        let (body, ending) = broken("HTTP/1.1 200 OK\r\n\r\nhello", true, version);
        assert!(!body.contains("0\r\n\r\n"), "{body:?}");
        assert_eq!(ending, Ending::Reset, "HTTP/{version}");
    }
}

#[test]
fn nonsense_in_place_of_a_chunk_is_not_relayed_as_an_end() {
    let (body, ending) = broken(&format!("{CHUNKED}5\r\nhello\r\nxyz\r\n"), false, "1.1");
    assert!("5\r\nhello\r\n".starts_with(&body), "{body:?}");
    assert_eq!(ending, Ending::Reset);
}

/// Sends part of an upload and gives up: with a reset, or by saying that there is no more to come.
/// Asserts that the client is not told that all is well, and that nobody has seen the upload whole.
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
        // The one worker is free again, and what it sends next is not taken for the rest.
        assert_eq!(balancer.get("/next").text(), "taken for whole");
        let (uploads, rest): (Vec<_>, Vec<_>) =
            backend.requests().into_iter().partition(|request| request.request_line().starts_with("POST"));
        assert!(uploads.iter().all(|upload| !upload.whole), "{framing}, {abruptly}: {uploads:?}");
        assert_eq!((rest.len(), rest[0].request_line()), (1, "GET /next HTTP/1.1"));
    }
}

#[test]
fn a_truncated_sized_upload_is_never_forwarded_as_complete() {
    for (length, sent) in [(10, 5), (1024, 1000), (5000, 0), (5000, 4999), (100_000, 60_000)] {
        assert_cut_upload_is_cut(&format!("Content-Length: {length}"), &vec![b'x'; sent]);
    }
}

#[test]
fn an_upload_cut_between_two_chunks_is_never_forwarded_as_complete() {
    // One that is cut within a chunk is not told from a shorter chunk by tiny_http.
    let part = [b"2710\r\n".as_slice(), &[b'x'; 10_000], b"\r\n"].concat();
    assert_cut_upload_is_cut("Transfer-Encoding: chunked", &part);
}

#[test]
fn a_reply_that_comes_before_the_upload_is_over_is_relayed() {
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
            // It may well be told to stop before the end.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; 5 << 20]));
        });
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.text()), (413, "less"), "the backend drains: {drains}");
        upload.join().unwrap();
        if !drains {
            assert_eq!(balancer.get("/").text(), "ok");
            assert_eq!(backend.connections(), 2, "the first is not used again");
        }
    }
}

#[test]
fn a_reply_that_comes_before_the_upload_is_over_does_not_wait_for_the_rest() {
    let backend = Recorder::new(|conversation| {
        conversation.read_head();
        conversation.send("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nless");
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 50 << 20));
    client.send(vec![b'x'; 5 << 20]);
    // More will only be sent if the backend wants it.
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.text()), (413, "less"));
    assert!(reply.all("Connection").contains(&"close"), "{}", reply.raw_head);
}

#[test]
fn a_client_that_goes_away_costs_nobody_else_anything() {
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

//! The framing of bodies in both directions, and whether the connection is kept afterwards.

use crate::backend::{Conversation, Recorder};
use crate::bed::{Balancer, Client, Ending, Reply, is_tiny};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::net::Shutdown;

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

/// A backend that replies with these bytes, the balancer, and a client's connection to it.
fn bed(reply: &str) -> (Recorder, Balancer, Client) {
    let backend = Recorder::replying(reply);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let client = balancer.client();
    (backend, balancer, client)
}

/// Returns the reply to a request, and asserts that the connection serves another one.
#[track_caller]
fn kept(client: &mut Client, request: &str) -> Reply {
    let reply = client.request(request);
    assert_ne!(reply.header("Connection"), Some("close"));
    assert_eq!(client.request(request).body, reply.body, "the connection serves another request");
    reply
}

#[track_caller]
fn assert_finished(client: &mut Client) {
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn a_sized_reply_stays_sized() {
    let (_backend, _balancer, mut client) = bed(SIZED);
    let reply = kept(&mut client, GET);
    assert_eq!((reply.header("Content-Length"), reply.text()), (Some("5"), "hello"));
    assert_eq!(reply.header("Transfer-Encoding"), None);
}

#[test]
fn a_chunked_reply_stays_chunked() {
    let (_backend, _balancer, mut client) = bed(CHUNKED);
    let reply = kept(&mut client, GET);
    assert_eq!((reply.header("Transfer-Encoding"), reply.text()), (Some("chunked"), "hello"));
    assert_eq!(reply.header("Content-Length"), None);
}

#[test]
fn a_reply_that_ends_with_its_connection_becomes_chunked() {
    let backend = Recorder::new(|conversation| {
        conversation.read_request();
        conversation.send(UNTIL_CLOSE);
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let reply = kept(&mut balancer.client(), GET);
    assert_eq!((reply.header("Transfer-Encoding"), reply.text()), (Some("chunked"), "hello"));
}

#[test]
fn a_length_beside_chunks_is_not_passed_on() {
    let (_backend, _balancer, mut client) = bed(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let reply = kept(&mut client, GET);
    assert_eq!((reply.header("Content-Length"), reply.text()), (None, "hello"));
}

#[test]
fn an_http_1_0_client_gets_a_chunked_reply_up_to_the_end_of_the_connection() {
    let (_backend, _balancer, mut client) = bed(CHUNKED);
    client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    let head = client.read_head().unwrap();
    assert_eq!((head.header("Transfer-Encoding"), head.header("Content-Length")), (None, None));
    assert_eq!(head.header("Connection"), Some("close"));
    assert_eq!(client.read_to_end_of_connection(), (b"hello".to_vec(), Ending::Finished));
}

#[test]
fn keeps_an_http_1_0_connection_only_on_request() {
    let (_backend, balancer, mut client) = bed(SIZED);
    let reply = kept(&mut client, "GET / HTTP/1.0\r\nHost: test\r\nConnection: Keep-Alive\r\n\r\n");
    assert_eq!((reply.header("Connection"), reply.text()), (Some("keep-alive"), "hello"));

    let mut client = balancer.client();
    let reply = client.request("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!((reply.header("Connection"), reply.text()), (Some("close"), "hello"));
    assert_finished(&mut client);
}

#[test]
fn closes_the_connection_when_the_client_asks_for_it() {
    for option in ["close", "Close", "x, CLOSE"] {
        let (_backend, _balancer, mut client) = bed(SIZED);
        let reply = client.request(format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: {option}\r\n\r\n"));
        assert_eq!((reply.header("Connection"), reply.text()), (Some("close"), "hello"));
        assert_finished(&mut client);
    }
}

#[test]
fn reuses_both_connections_for_many_requests() {
    let backend = Recorder::replying(SIZED);
    let balancer = Balancer::serve(&[backend.addr], &["--workers=3"]);
    let mut client = balancer.client();
    for _ in 0..50 {
        assert_eq!(client.request(GET).text(), "hello");
    }
    assert_eq!(backend.requests().len(), 50);
    assert!(backend.connections() <= 3, "one for each worker at most, not {}", backend.connections());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Recorder::new(|conversation| {
        while let Some(request) = conversation.read_request() {
            let line = request.request_line().to_string();
            conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len()));
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send((0..10).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect::<String>());
    for n in 0..10 {
        assert_eq!(client.read_reply().text(), format!("GET /{n} HTTP/1.1"));
    }
}

#[test]
fn a_reply_to_head_keeps_its_headers_and_has_no_body() {
    for (reply, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", Some("1234")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\n", None),
    ] {
        let (backend, _balancer, mut client) = bed(reply);
        for _ in 0..2 {
            // If there were a body, the second head would not be found where it is expected.
            client.send("HEAD /h HTTP/1.1\r\nHost: test\r\n\r\n");
            let head = client.read_head().unwrap();
            assert_eq!(head.status.to_string(), reply[9..12]);
            assert_eq!(head.header("Content-Length"), length, "{reply}");
        }
        assert_eq!(backend.requests()[1].request_line(), "HEAD /h HTTP/1.1");
    }
}

#[test]
fn replies_204_and_304_have_no_body() {
    for (reply, length) in [
        ("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", None),
        ("HTTP/1.1 204 No Content\r\nX-A: b\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nX-A: b\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nX-A: b\r\nContent-Length: 77\r\n\r\n", Some("77")),
    ] {
        let (_backend, _balancer, mut client) = bed(reply);
        for _ in 0..2 {
            let got = client.request(GET);
            assert_eq!((got.status.to_string().as_str(), got.header("X-A")), (&reply[9..12], Some("b")));
            assert_eq!(
                (got.header("Content-Length"), got.header("Transfer-Encoding")),
                (length, None),
                "{reply}"
            );
        }
    }
}

#[test]
fn an_empty_body_is_a_body_of_length_0() {
    let (_backend, _balancer, mut client) = bed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let reply = kept(&mut client, GET);
    assert_eq!((reply.header("Content-Length"), reply.text()), (Some("0"), ""));

    let (_backend, _balancer, mut client) =
        bed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let reply = kept(&mut client, GET);
    assert_eq!((reply.header("Transfer-Encoding"), reply.text()), (Some("chunked"), ""));
}

#[test]
fn a_sized_upload_arrives_sized() {
    let (backend, _balancer, mut client) = bed(SIZED);
    for length in [0, 1, 1023, 1024, 1025, 300_000] {
        let body: Vec<u8> = (0..=255).cycle().take(length).collect();
        let mut request =
            format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        request.extend(&body);
        assert_eq!(client.request(request).text(), "hello", "{length}");
        let got = backend.requests().pop().unwrap();
        assert!(got.body == body, "{length}");
        assert_eq!(got.header("Content-Length"), Some(length.to_string()));
        assert_eq!(got.header("Transfer-Encoding"), None);
    }
}

#[test]
fn a_chunked_upload_arrives_chunked() {
    let (backend, _balancer, mut client) = bed(SIZED);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: Chunked\r\n\r\n";
    for (chunks, body) in [
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
        ("005\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n", "hello0123456789"),
        ("5;name=value\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0\r\n\r\n", ""),
    ] {
        assert_eq!(client.request(format!("{head}{chunks}")).text(), "hello", "{chunks}");
        let got = backend.requests().pop().unwrap();
        assert_eq!((String::from_utf8(got.body.clone()).unwrap().as_str(), got.whole), (body, true));
        assert_eq!(got.header("Transfer-Encoding").as_deref(), Some("chunked"));
        assert_eq!(got.header("Content-Length"), None);
    }
}

#[test]
fn adds_no_body_to_a_request_without_one() {
    let (backend, _balancer, mut client) = bed(SIZED);
    for (method, length) in [("GET", None), ("DELETE", None), ("POST", Some("0")), ("PUT", Some("0"))] {
        client.request(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        let got = backend.requests().pop().unwrap();
        assert_eq!(got.header("Content-Length").as_deref(), length, "{method}");
        assert_eq!(got.header("Transfer-Encoding"), None, "{method}");
    }
}

#[test]
fn a_get_may_have_a_body() {
    let (backend, _balancer, mut client) = bed(SIZED);
    client.request("GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(backend.only_request().body, b"abc");
}

#[test]
fn sends_100_continue_itself_and_does_not_forward_the_expectation() {
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let (backend, _balancer, mut client) = bed(SIZED);
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\nExpect: 100-Continue\r\n\r\n"));
        let interim = client.read_head().unwrap();
        assert_eq!(interim.status, 100, "{framing}");
        client.send(if framing.ends_with('5') { "start" } else { "5\r\nstart\r\n0\r\n\r\n" });
        assert_eq!(client.read_reply().text(), "hello");
        let got = backend.only_request();
        assert_eq!((got.body.as_slice(), got.header("Expect")), (b"start".as_slice(), None));
    }
}

#[test]
fn replies_to_a_client_that_has_shut_its_writing_side() {
    let (_backend, _balancer, mut client) = bed(SIZED);
    client.send(GET);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_reply().text(), "hello");
    assert_finished(&mut client);
}

/// Replies with the request's own body, in chunks of the size that the request names.
fn echo_in_chunks(conversation: &mut Conversation) {
    while let Some(request) = conversation.read_request() {
        let piece: usize = request.header("X-Piece").unwrap().parse().unwrap();
        let mut reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        push_chunks(&mut reply, &request.body, piece);
        conversation.send(&reply);
    }
}

fn push_chunks(out: &mut Vec<u8>, body: &[u8], piece: usize) {
    for chunk in body.chunks(piece) {
        out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
}

#[test]
fn any_body_in_any_chunks_comes_back_whole() {
    let backend = Recorder::new(echo_in_chunks);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let client = std::cell::RefCell::new(balancer.client());
    let bodies = proptest::collection::vec(any::<u8>(), 0..5000);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() });
    let outcome =
        runner.run(&(bodies, 1usize..3000, 1usize..3000, any::<bool>()), |(body, up, down, sized)| {
            let mut request = format!("POST / HTTP/1.1\r\nHost: test\r\nX-Piece: {down}\r\n").into_bytes();
            if sized {
                request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                request.extend(&body);
            } else {
                request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                push_chunks(&mut request, &body, up);
            }
            prop_assert!(client.borrow_mut().request(request).body == body);
            Ok(())
        });
    outcome.unwrap();
}

#[test]
fn announces_that_a_connection_will_be_closed() {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    // tiny_http closes the connection if the value contains these letters.
    let options = if is_tiny() { &["close", "Upgrade", "x-close-me"][..] } else { &["close", "x-a, Close"] };
    for option in options {
        let mut client = balancer.client();
        let reply = client.request(format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: {option}\r\n\r\n"));
        assert_eq!((reply.text(), reply.header("Connection")), ("hello", Some("close")), "{option}");
        assert_eq!(client.read_to_end_of_connection().0, b"");
    }
}

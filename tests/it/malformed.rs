//! Requests that are malformed or ambiguous are refused. Neither they nor what follows them on their
//! connection reaches a backend.
//!
//! Requests that tiny_http hides from an edge have a table of their own: a folded header line (obs-fold)
//! that looks like a header itself, words after the version, and white space at the ends of a line or a
//! value, which tiny_http trims. `HTTP/2.0` is in the table too: in tiny_http it deadlocks the thread of its
//! connection.

use crate::backend::Recorder;
use crate::bed::{Balancer, is_tiny};

/// The request that is smuggled behind an ambiguous one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

/// Malformed requests and the status of their refusal. A body follows where one reading has a body.
const MALFORMED: &[(u16, &str)] = &[
    // Ambiguous framing.
    (
        400,
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5, 5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5,6\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: -5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0x5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5 5\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5.0\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: five\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length:\r\n\r\nhello"),
    (413, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        400,
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chun\x0bked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    (
        400,
        "POST / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    // Malformed header lines.
    (400, "GET / HTTP/1.1\r\nHost: test\r\nContent-Length : 5\r\n\r\nhello"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nTransfer\tEncoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\n: no name\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n folded\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX(A): b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\rContent-Length: 5\r\n\r\nhello"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\nContent-Length: 5\r\n\r\nhello"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\0c\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\x7fc\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX\0A: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\nX-A: b\r\n\r\n"),
    // Malformed or ambiguous hosts.
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n"),
    (400, "GET / HTTP/1.0\r\nHost: test\r\nHost: other\r\nConnection: keep-alive\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: user@test\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test/path\r\n\r\n"),
    (400, "GET http://user@test/ HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET http:///path HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET http://test/ HTTP/1.1\r\n\r\n"),
    // Malformed request lines.
    (400, "GET  / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /a b HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /\tb HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /a\0b HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /a\rb HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET /a<b HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET path HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET test:80 HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET * HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET https://test/ HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "G(T / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "G\0T / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.2\r\nHost: test\r\n\r\n"),
    (400, "GET / http/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.01\r\nHost: test\r\n\r\n"),
    (400, "GET /\r\nHost: test\r\n\r\n"),
    (505, "GET / HTTP/0.9\r\nHost: test\r\n\r\n"),
    (417, "GET / HTTP/1.1\r\nHost: test\r\nExpect: magic\r\n\r\n"),
    (501, "CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n"),
    (405, "TRACE / HTTP/1.1\r\nHost: test\r\n\r\n"),
];

/// The replies to a request with a second one behind it.
#[derive(Debug, PartialEq)]
struct Answer {
    status: Option<u16>,
    replies: usize,
    connection_ended: bool,
}

impl Answer {
    fn to(balancer: &Balancer, request: &[u8]) -> Self {
        let mut client = balancer.client();
        client.send([request, SMUGGLED.as_bytes()].concat());
        let (bytes, ending) = client.try_read_to_end_of_connection();
        let text = String::from_utf8(bytes).unwrap();
        let heads: Vec<_> = text.lines().filter(|line| line.starts_with("HTTP/1.")).collect();
        let status = heads.first().map(|line| line[9..12].parse().unwrap());
        Answer { status, replies: heads.len(), connection_ended: ending.is_ok() }
    }

    /// One reply with this status, and the connection ended.
    fn only(status: u16) -> Self {
        Answer { status: Some(status), replies: 1, connection_ended: true }
    }

    /// The connection ended without a reply.
    fn none() -> Self {
        Answer { status: None, replies: 0, connection_ended: true }
    }
}

#[test]
fn refuses_malformed_requests_and_ends_their_connections() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut wrong = Vec::new();
    for (status, request) in MALFORMED {
        let before = backend.connections();
        let answer = Answer::to(&balancer, request.as_bytes());
        let reached = backend.connections() - before;
        if answer != Answer::only(*status) || reached > 0 {
            wrong
                .push(format!("{request:?}: not {status} but {answer:?}, and {reached} reached the backend"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(backend.bytes(), b"");
    assert_eq!(balancer.get("/").text(), "reached", "a valid request reaches it");
}

#[test]
fn accepts_bytes_outside_ascii_in_header_values_only() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    for request in [
        b"GET /\xe9 HTTP/1.1\r\nHost: test\r\n\r\n".as_slice(),
        b"G\xc9T / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nX-\xe9: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n",
    ] {
        // tiny_http ends such a connection without a reply.
        let expected = if is_tiny() { Answer::none() } else { Answer::only(400) };
        assert_eq!(Answer::to(&balancer, request), expected, "{}", request.escape_ascii());
    }
    assert_eq!(backend.connections(), 0);
    let value = b"GET / HTTP/1.1\r\nHost: test\r\nX-A: caf\xe9\r\nConnection: close\r\n\r\n";
    let expected = if is_tiny() { Answer::none() } else { Answer::only(200) };
    assert_eq!(Answer::to(&balancer, value), expected);
    assert_eq!(backend.bytes().windows(5).any(|bytes| bytes == b"caf\xe9\r"), !is_tiny());
}

/// Malformed requests that tiny_http hides from its edge.
const SEEN_BY_THE_PARKED_EDGE: &[(u16, &str)] = &[
    (505, "GET / HTTP/2.0\r\nHost: test\r\n\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (505, "GET / HTTP/3.0\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/11\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1 junk\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1 \r\nHost: test\r\n\r\n"),
    (400, " GET / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n Content-Length: 5\r\n\r\nhello"),
    (400, "GET / HTTP/1.1\r\n Host: test\r\nHost: test\r\n\r\n"),
    (400, "GET / HTTP/1.1\nHost: test\n\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\n\n"),
    (400, "GET / HTTP/1.1\r\nHost: test\r\n\r\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\x0b\r\n\r\nhello"),
    (400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"),
    (400, "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03"),
];

/// Malformed chunks, and chunks that other servers might read differently.
const MALFORMED_CHUNKS: &[&str] = &[
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5;a=\0\r\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-A: b\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-A: b\nX-B: c\r\n\r\n",
    "5\r\nhello\r\n0\r\nX A: b\r\n\r\n",
];

#[test]
fn the_parked_edge_refuses_what_tiny_http_hides() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &["--edge=parked"]);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = MALFORMED_CHUNKS.iter().map(|chunks| (400, format!("{head}{chunks}")));
    let heads = SEEN_BY_THE_PARKED_EDGE.iter().map(|(status, request)| (*status, (*request).to_string()));
    let mut wrong = Vec::new();
    for (status, request) in heads.chain(chunked) {
        let answer = Answer::to(&balancer, request.as_bytes());
        if answer != Answer::only(status) {
            wrong.push(format!("{request:?}: not {status} but {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(backend.connections(), 0);
}

#[test]
fn ignores_a_request_that_is_sent_after_a_malformed_one() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    for request in ["POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5, 5\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"]
    {
        let mut client = balancer.client();
        assert_eq!(client.request(request).status, 400);
        // The connection may be closed before this is sent.
        let _ = std::io::Write::write_all(&mut client.stream, SMUGGLED.as_bytes());
        assert_eq!(client.read_to_end_of_connection().0, b"");
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn serves_a_valid_request_before_a_malformed_one() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send("GET /sound HTTP/1.1\r\nHost: test\r\n\r\nGET /unsound HTTP/1.1\r\n\r\n");
    client.send(SMUGGLED);
    assert_eq!(client.read_reply().text(), "reached");
    assert_eq!(client.read_reply().status, 400);
    assert_eq!(client.read_to_end_of_connection().0, b"");
    assert_eq!(backend.only_request().request_line(), "GET /sound HTTP/1.1");
}

#[test]
fn never_forwards_malformed_chunks_as_a_complete_body() {
    let backend = Recorder::hello("reached");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello world\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = Answer::to(&balancer, request.as_bytes());
        assert!(answer == Answer::only(400) || answer == Answer::none(), "{chunks:?}: {answer:?}");
    }
    assert!(backend.requests().iter().all(|request| !request.whole), "{:?}", backend.requests());
}

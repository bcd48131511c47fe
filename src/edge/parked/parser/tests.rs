//! Tests of the scanner and the parser together.

use crate::edge::options::Limits;
use crate::edge::parked::parser::{head, head_scanner::HeadScanner};
use crate::edge::request_head::Body;
use crate::error::Refusal;
use http::{HeaderMap, Method, Uri, Version};
use memchr::memchr_iter;
use proptest::{collection::vec, prelude::*};
use std::ops::Range;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Scans for a head each time the bytes up to one of `ends` have arrived.
fn scan(bytes: &[u8], ends: &[usize], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
    let mut scanner = HeadScanner::default();
    ends.iter().find_map(|end| scanner.scan(&bytes[..*end], limits).transpose()).transpose()
}

fn whole(bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
    scan(bytes, &[bytes.len()], limits)
}

fn byte_by_byte(bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
    scan(bytes, &(1..=bytes.len()).collect::<Vec<_>>(), limits)
}

/// Returns the status that the client gets: 200 for a head that is accepted, 100 if more bytes are
/// needed. It must not depend on how the bytes are cut.
fn status_within(limits: &Limits, bytes: impl AsRef<[u8]>) -> u16 {
    let bytes = bytes.as_ref();
    let status = |found: Result<Option<Range<usize>>, Refusal>| match found {
        Ok(None) => 100,
        Ok(Some(range)) => head::parse(&bytes[range], limits).map_or_else(|r| r.status().as_u16(), |_| 200),
        Err(refusal) => refusal.status().as_u16(),
    };
    let at_once = status(whole(bytes, limits));
    assert_eq!(at_once, status(byte_by_byte(bytes, limits)), "{:?}", String::from_utf8_lossy(bytes));
    at_once
}

fn status(bytes: impl AsRef<[u8]>) -> u16 {
    status_within(&Limits::default(), bytes)
}

/// A parsed head in a form that can be compared.
type ParsedHead = (Method, Uri, Version, HeaderMap, Body);

fn parsed(bytes: &[u8]) -> Result<ParsedHead, Refusal> {
    let (parts, body) = head::parse(bytes, &Limits::default())?;
    Ok((parts.method, parts.uri, parts.version, parts.headers, body))
}

fn written((method, uri, version, headers, _): &ParsedHead) -> Vec<u8> {
    let mut bytes = format!("{method} {uri} {version:?}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    [&bytes, &b"\r\n"[..]].concat()
}

fn with_headers(count: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1))
}

#[test]
fn finds_the_head_up_to_its_blank_line() {
    for (before, behind) in [("", ""), ("\r\n", ""), ("", GET), ("\r\n\r\n", "\r\n"), ("", "\n\0")] {
        let bytes = format!("{before}{GET}{behind}").into_bytes();
        let range = Some(before.len()..before.len() + GET.len());
        assert_eq!(whole(&bytes, &Limits::default()), Ok(range.clone()));
        assert_eq!(byte_by_byte(&bytes, &Limits::default()), Ok(range));
    }
    for end in 0..GET.len() {
        assert_eq!(status(&GET[..end]), 100, "no head yet: {:?}", &GET[..end]);
    }
}

#[test]
fn accepts_four_blank_lines_before_a_request() {
    for (lines, expected) in [(1, 200), (4, 200), (5, 400)] {
        assert_eq!(status("\r\n".repeat(lines) + GET), expected, "{lines}");
    }
    assert_eq!(status("\r\n".repeat(5)), 400, "without a request");
    for (bytes, blank) in [("", true), ("\r", true), ("\r\n\r\n\r", true), ("\r\nG", false), ("G", false)] {
        let mut scanner = HeadScanner::default();
        assert_eq!(scanner.scan(bytes.as_bytes(), &Limits::default()), Ok(None));
        assert_eq!(scanner.is_blank(bytes.as_bytes()), blank, "{bytes:?}");
    }
}

#[test]
fn refuses_a_bare_line_feed_at_once() {
    // None of these has its blank line yet.
    for bytes in ["\n", "\r\n\n", "GET / HTTP/1.1\n", "GET /\n", "GET / HTTP/1.1\r\nHost: a\n"] {
        assert_eq!(status(bytes), 400, "{bytes:?}");
    }
    for (at, _) in GET.match_indices('\r') {
        let mut bytes = GET.to_owned();
        bytes.remove(at);
        assert_eq!(status(&bytes), 400, "{bytes:?}");
    }
}

#[test]
fn refuses_other_protocols_at_once() {
    assert_eq!(status(b"\x16"), 400, "TLS begins with its record's type");
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400);
    assert_eq!(status(b"\x05\x01\x00"), 400, "SOCKS");
    assert_eq!(status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "the preface of HTTP/2");
}

#[test]
fn accepts_versions_1_0_and_1_1_only() {
    let expected = |version: &str| match version {
        "HTTP/1.1" | "HTTP/1.0" => 200,
        "HTTP/0.9" | "HTTP/2.0" | "HTTP/3.0" | "HTTP/9.9" => 505,
        _ => 400,
    };
    for version in [
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/3.0",
        "HTTP/9.9",
        "HTTP/1.2",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/11",
        "HTTP/1",
        "HTTP/2",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1.1x",
        "HTTP/1.1 ",
        "HTTP/1.1\t",
        "HTTP/1.1 x",
        "HTTP/1,1",
        "HTTP/+1.1",
        "HTTP/a.b",
        "http/1.1",
        "Http/1.1",
        "ICY/1.1",
        "H",
        "",
    ] {
        let bytes = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(status(&bytes), expected(version), "{version:?}");
    }
}

#[test]
fn refuses_request_lines_of_any_other_form() {
    for line in [
        "GET /",
        "GET",
        "GET ",
        "/",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / x HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "G\rET / HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET / HTTP/1.1\r",
        "\rGET / HTTP/1.1",
        "G@T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET /\x7f HTTP/1.1",
    ] {
        assert_eq!(status(format!("{line}\r\nHost: a\r\n\r\n")), 400, "{line:?}");
    }
}

#[test]
fn refuses_header_lines_of_any_other_form() {
    for line in
        ["x:", "x: ", "x:y", "x:\t y \t", "x: a\tb", "x: \u{80}\u{ff}\u{e9}", "!#$%&'*+-.^_`|~09Az: y"]
    {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")), 200, "{line:?}");
    }
    for line in [
        "x",
        "x y",
        ":",
        ": y",
        "x : y",
        "x\t: y",
        " x: y",
        "\tx: y",
        "x: y\r\n z",
        "x: y\r\n\tz",
        "x:\r\n y",
        "x: a\rb",
        "x: a\0b",
        "x: a\x7fb",
        "x: a\x1bb",
        "x\0: y",
        "x\r: y",
        "\u{e9}: y",
        "x(: y",
        "x: y\r",
    ] {
        // As the first header and as the last.
        assert_eq!(status(format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n")), 400, "{line:?}");
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")), 400, "{line:?}");
    }
}

#[test]
fn trims_blanks_around_values_only() {
    let bytes = b"GET / HTTP/1.1\r\nHost:a\r\nx: \t\xff a \t b\xe9\t \r\nX:\r\n\r\n";
    let (parts, _) = head::parse(bytes, &Limits::default()).unwrap();
    let values: Vec<_> = parts.headers.get_all("x").iter().map(|v| v.as_bytes()).collect();
    assert_eq!(values, [&b"\xff a \t b\xe9"[..], b""]);
}

#[test]
fn limits_the_number_of_header_lines() {
    for most in [10, 63, 64, 65, 100, 101, 200] {
        let limits = Limits { headers: most, ..Limits::default() };
        // From 65 lines on, the headers are parsed on the heap.
        for count in [1, 9, 10, 11, 62, 63, 64, 65, 66, 99, 100, 101, 102, 200, 201] {
            let expected = if count <= most { 200 } else { 431 };
            assert_eq!(status_within(&limits, with_headers(count)), expected, "{count} of {most}");
            let unscanned = head::parse(with_headers(count).as_bytes(), &limits);
            assert_eq!(unscanned.is_ok(), count <= most, "{count} of {most}, not scanned before");
            let endless = with_headers(count).trim_end().to_owned() + "\r\n";
            assert_eq!(
                status_within(&limits, endless),
                if count <= most { 100 } else { 431 },
                "{count} of {most}"
            );
        }
    }
    let headers = head::parse(with_headers(100).as_bytes(), &Limits::default()).unwrap().0.headers;
    assert_eq!(headers.get_all("x").iter().count(), 99);
}

#[test]
fn limits_the_bytes_of_heads_and_targets() {
    let limits = Limits { head: 200, uri: 100, ..Limits::default() };
    let target = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(size - 1));
    let padded = |size: usize| {
        GET.replace("\r\n\r\n", &format!("\r\nx: {}\r\n\r\n", "y".repeat(size - GET.len() - 5)))
    };
    assert_eq!(padded(200).len(), 200);
    for (bytes, expected) in [
        (target(100), 200),
        (target(101), 414),
        (target(300), 414),
        // The target and the head are too long here: the refusal names the target.
        (target(150).trim_end().to_owned() + "\r\nx: " + &"y".repeat(99), 414),
        (padded(200), 200),
        (padded(201), 431),
        (padded(200) + GET, 200),                    // what follows is not counted
        ("\r\n\r\n".to_owned() + &padded(200), 200), // nor are blank lines before it
        ("\r\n\r\n".to_owned() + &padded(201), 431),
        // None of these is complete, and all are refused once no further byte can make them valid.
        ("G".repeat(200), 100),
        ("G".repeat(201), 414),
        (target(300)[..200].to_owned(), 100),
        (target(300)[..201].to_owned(), 414),
        (padded(300)[..200].to_owned(), 100),
        (padded(300)[..201].to_owned(), 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"x: y\r\n".repeat(100), 431),
    ] {
        assert_eq!(status_within(&limits, &bytes), expected, "{bytes:?}");
    }
    assert_eq!(status("GET /".to_owned() + &"a".repeat(17 << 10)), 414, "the default");
}

/// A request with a few bytes changed.
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => Just("GET / HTTP/1.1"), 1 => Just("POST /a?b=%20 HTTP/1.0"), 1 => Just("OPTIONS * HTTP/1.1"),
        1 => Just("OPTIONS http://b HTTP/1.1"), 1 => Just("PUT http://b:8/x?y HTTP/1.1"),
    ];
    let field = prop_oneof![
        4 => Just("Host: a"), 1 => Just("host:b"), 2 => Just("Content-Length: 5"), 2 => Just("x: \u{e9} \ty"),
        2 => Just("Transfer-Encoding: chunked"), 1 => Just("Expect: 100-continue"), 1 => Just("x:"),
    ];
    let byte = prop_oneof![prop::sample::select(b"\r\n\0 :\t;,/x1\xff".to_vec()), any::<u8>()];
    let change = (any::<prop::sample::Index>(), 0..3usize, byte);
    (line, vec(field, 0..6), vec(change, 0..3)).prop_map(|(line, fields, changes)| {
        let mut bytes = format!("{line}\r\nHost: a\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes();
        for (at, cut, byte) in changes {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn reads_the_same_however_the_bytes_are_cut(
        bytes in prop_oneof![4 => nearly_a_head(), 1 => vec(any::<u8>(), 0..60)],
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        small in any::<bool>(),
    ) {
        let limits = if small { Limits { head: 60, uri: 8, headers: 2, ..Limits::default() } } else { Limits::default() };
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort();
        // The cut may decide which fault is found first, and by which of the two functions.
        let read = |found: Result<Option<Range<usize>>, Refusal>| match found {
            Ok(Some(range)) => parsed(&bytes[range.clone()]).map(|read| Some((range, read))).map_err(drop),
            found => found.map(|_| None).map_err(drop),
        };
        let at_once = read(whole(&bytes, &limits));
        prop_assert_eq!(&at_once, &read(scan(&bytes, &ends, &limits)));
        prop_assert_eq!(&at_once, &read(byte_by_byte(&bytes, &limits)));
    }

    #[test]
    fn accepts_only_heads_that_can_be_read_in_one_way(bytes in nearly_a_head()) {
        let Ok(Some(range)) = whole(&bytes, &Limits::default()) else { return Ok(()) };
        let bytes = &bytes[range];
        let Ok(read) = parsed(bytes) else { return Ok(()) };
        prop_assert!(memchr_iter(b'\n', bytes).all(|at| bytes[at - 1] == b'\r'));
        prop_assert!(memchr_iter(b'\r', bytes).all(|at| bytes[at + 1] == b'\n'));
        let count = |name| read.3.get_all(name).iter().count();
        prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
        prop_assert!(count("host") <= 1);
        prop_assert_eq!(parsed(&written(&read)), Ok(read));
    }

    #[test]
    fn never_panics(bytes in prop_oneof![nearly_a_head(), vec(any::<u8>(), 0..200)]) {
        let _ = head::parse(&bytes, &Limits::default()); // not scanned before
    }
}

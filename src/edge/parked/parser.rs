//! Where does a request head end, and what does it say? Pure functions over bytes.
//!
//! [`Scan`] looks for the blank line, at each byte once, however slowly they come; only then is the
//! head parsed, by httparse. httparse takes a bare LF for the end of a line, as RFC 9112 §2.2 allows.
//! Others do not, and requests that two readers divide differently are how one is smuggled: so a LF
//! without its CR is refused here before httparse sees it.

use crate::edge::request_head::{self, Body, Limits, RawHead};
use crate::error::Refusal;
use http::{Version, request};
use httparse::{Header, Status};
use memchr::{memchr, memchr_iter};
use std::mem::MaybeUninit;

/// Blank lines that are ignored before a request (RFC 9112 §2.2 asks for one at least).
const BLANK_LINES: usize = 4;

/// Header lines that are parsed without asking the allocator.
const USUAL_HEADERS: usize = 64;

const BARE_LF: Refusal = Refusal::BadRequest("a line ends without a carriage return");

/// How far the bytes of a head have been looked through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// Bytes looked at.
    seen: usize,
    /// Where the line begins that is not over yet.
    line: usize,
    /// Lines that are over.
    lines: usize,
    /// Where the head begins: behind the blank lines.
    start: usize,
}

impl Scan {
    /// Looks through the bytes that are new since the call before; `bytes` begins where it began then.
    /// Returns where the head lies, once it is whole.
    ///
    /// # Errors
    /// When no further byte can make a request of it.
    pub fn head(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<std::ops::Range<usize>>, Refusal> {
        let new = self.seen;
        self.seen = bytes.len();
        for at in memchr_iter(b'\n', &bytes[new..]).map(|at| new + at) {
            if at == self.line || bytes[at - 1] != b'\r' {
                return Err(BARE_LF);
            }
            let blank = at == self.line + 1;
            self.line = at + 1;
            match blank {
                true if self.lines == 0 => self.skip_blank_line()?,
                true => return self.whole(&bytes[..=at], limits).map(Some),
                false => self.lines += 1,
            }
            if self.lines > limits.headers() + 1 {
                return Err(Refusal::HeadTooLarge);
            }
        }
        if let Some(first) = bytes.get(self.start) {
            // Whoever speaks another protocol (TLS, say) learns it at once.
            if !is_token(*first) && *first != b'\r' {
                return Err(Refusal::BadRequest("it does not begin with a method"));
            }
        }
        self.whole(bytes, limits).map(|_| None)
    }

    /// Has nothing come but blank lines?
    pub fn is_blank(&self, bytes: &[u8]) -> bool {
        self.lines == 0 && matches!(bytes.get(self.start..), None | Some([] | [b'\r']))
    }

    fn skip_blank_line(&mut self) -> Result<(), Refusal> {
        self.start = self.line;
        match self.start <= 2 * BLANK_LINES {
            true => Ok(()),
            false => Err(Refusal::BadRequest("it begins with too many blank lines")),
        }
    }

    /// The bytes of the head, if there are not too many of them.
    fn whole(&self, bytes: &[u8], limits: &Limits) -> Result<std::ops::Range<usize>, Refusal> {
        let head = &bytes[self.start..];
        if head.len() as u64 <= limits.head {
            return Ok(self.start..bytes.len());
        }
        // Is it the target that has made it so large?
        let line = &head[..memchr(b'\n', head).unwrap_or(head.len())];
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let too_long = target.len() as u64 > limits.uri.min(limits.head) || line.len() == head.len();
        Err(if too_long { Refusal::UriTooLong } else { Refusal::HeadTooLarge })
    }
}

/// `tchar` of RFC 9110 §5.6.2: what names and methods are made of.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses and checks a whole head.
///
/// # Errors
/// The refusal that the client gets. After it, nothing more of that connection may be believed.
pub fn head(bytes: &[u8], limits: &Limits) -> Result<(request::Parts, Body), Refusal> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    match parse(bytes, &mut usual, limits) {
        Err(httparse::Error::TooManyHeaders) if limits.headers() > USUAL_HEADERS => {
            let mut many = vec![MaybeUninit::uninit(); limits.headers()];
            parse(bytes, &mut many, limits)
        }
        parsed => parsed,
    }
    .unwrap_or_else(|error| Err(refusal(error, bytes)))
}

/// The outer result is the parser's, the inner one the check's.
fn parse<'a>(
    bytes: &'a [u8],
    headers: &mut [MaybeUninit<Header<'a>>],
    limits: &Limits,
) -> Result<Result<(request::Parts, Body), Refusal>, httparse::Error> {
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(bytes, headers)?;
    let (Status::Complete(_), Some(method), Some(target)) = (status, parsed.method, parsed.path) else {
        return Err(httparse::Error::Token); // it has its blank line, and still no end: impossible
    };
    let fields = parsed.headers.iter().map(|header| (header.name.as_bytes(), header.value));
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let raw = RawHead { method: method.as_bytes(), target: target.as_bytes(), version, fields };
    Ok(request_head::check(raw, limits))
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error::*;
    Refusal::BadRequest(match error {
        TooManyHeaders => return Refusal::HeadTooLarge,
        Version if has_other_version(bytes) => return Refusal::Version,
        Version => "the request line does not end with an HTTP version",
        HeaderName => "a header name has a character that is not allowed",
        HeaderValue => "a header value has a character that is not allowed",
        NewLine | Status | Token => "the request line cannot be read",
    })
}

/// Does the request line end with a version of the right form whose major number is not 1?
fn has_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && *major != b'1' && minor.is_ascii_digit()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method, Uri};
    use proptest::{collection::vec, prelude::*};
    use std::ops::Range;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Looks for a head whenever so many bytes have come.
    fn scan(bytes: &[u8], ends: &[usize], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
        let mut scan = Scan::default();
        ends.iter().find_map(|end| scan.head(&bytes[..*end], limits).transpose()).transpose()
    }

    fn whole(bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
        scan(bytes, &[bytes.len()], limits)
    }

    fn byte_by_byte(bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
        scan(bytes, &(1..=bytes.len()).collect::<Vec<_>>(), limits)
    }

    /// What the client gets; 200 for a head that is accepted, 100 if more bytes are wait for. The
    /// same however the bytes come.
    fn status_within(limits: &Limits, bytes: impl AsRef<[u8]>) -> u16 {
        let bytes = bytes.as_ref();
        let status = |found: Result<Option<Range<usize>>, Refusal>| match found {
            Ok(None) => 100,
            Ok(Some(place)) => head(&bytes[place], limits).map_or_else(|r| r.status().as_u16(), |_| 200),
            Err(refusal) => refusal.status().as_u16(),
        };
        let at_once = status(whole(bytes, limits));
        assert_eq!(at_once, status(byte_by_byte(bytes, limits)), "{:?}", String::from_utf8_lossy(bytes));
        at_once
    }

    fn status(bytes: impl AsRef<[u8]>) -> u16 {
        status_within(&Limits::default(), bytes)
    }

    /// What a head says, in a form that can be compared.
    type Meaning = (Method, Uri, Version, HeaderMap, Body);

    fn meaning(bytes: &[u8]) -> Result<Meaning, Refusal> {
        let (parts, body) = head(bytes, &Limits::default())?;
        Ok((parts.method, parts.uri, parts.version, parts.headers, body))
    }

    fn written((method, uri, version, headers, _): &Meaning) -> Vec<u8> {
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
    fn a_head_ends_with_its_blank_line_and_what_follows_is_left() {
        for (before, behind) in [("", ""), ("\r\n", ""), ("", GET), ("\r\n\r\n", "\r\n"), ("", "\n\0")] {
            let bytes = format!("{before}{GET}{behind}").into_bytes();
            let place = Some(before.len()..before.len() + GET.len());
            assert_eq!(whole(&bytes, &Limits::default()), Ok(place.clone()));
            assert_eq!(byte_by_byte(&bytes, &Limits::default()), Ok(place));
        }
        for end in 0..GET.len() {
            assert_eq!(status(&GET[..end]), 100, "no head yet: {:?}", &GET[..end]);
        }
    }

    #[test]
    fn four_blank_lines_may_come_first() {
        for (lines, expected) in [(1, 200), (4, 200), (5, 400)] {
            assert_eq!(status("\r\n".repeat(lines) + GET), expected, "{lines}");
        }
        assert_eq!(status("\r\n".repeat(5)), 400, "without a request");
        for (bytes, blank) in [("", true), ("\r", true), ("\r\n\r\n\r", true), ("\r\nG", false), ("G", false)]
        {
            let mut scan = Scan::default();
            assert_eq!(scan.head(bytes.as_bytes(), &Limits::default()), Ok(None));
            assert_eq!(scan.is_blank(bytes.as_bytes()), blank, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_feed_without_its_carriage_return_is_refused_at_once() {
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
    fn other_protocols_are_refused_at_once() {
        assert_eq!(status(b"\x16"), 400, "TLS begins with its record's type");
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400);
        assert_eq!(status(b"\x05\x01\x00"), 400, "SOCKS");
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "the preface of HTTP/2");
    }

    #[test]
    fn versions() {
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
    fn request_lines_have_one_form() {
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
    fn header_lines_have_one_form() {
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
    fn values_lose_the_blanks_around_them_and_nothing_else() {
        let bytes = b"GET / HTTP/1.1\r\nHost:a\r\nx: \t\xff a \t b\xe9\t \r\nX:\r\n\r\n";
        let (parts, _) = head(bytes, &Limits::default()).unwrap();
        let values: Vec<_> = parts.headers.get_all("x").iter().map(|v| v.as_bytes()).collect();
        assert_eq!(values, [&b"\xff a \t b\xe9"[..], b""]);
    }

    #[test]
    fn header_lines_are_counted() {
        for most in [10, 63, 64, 65, 100, 101, 200] {
            let limits = Limits { headers: most, ..Limits::default() };
            // 64 and 65: where the lines no longer have room on the stack.
            for count in [1, 9, 10, 11, 62, 63, 64, 65, 66, 99, 100, 101, 102, 200, 201] {
                let expected = if count <= most { 200 } else { 431 };
                assert_eq!(status_within(&limits, with_headers(count)), expected, "{count} of {most}");
                let parsed = head(with_headers(count).as_bytes(), &limits);
                assert_eq!(parsed.is_ok(), count <= most, "{count} of {most}, not scanned before");
                let endless = with_headers(count).trim_end().to_owned() + "\r\n";
                assert_eq!(
                    status_within(&limits, endless),
                    if count <= most { 100 } else { 431 },
                    "{count} of {most}"
                );
            }
        }
        let headers = head(with_headers(100).as_bytes(), &Limits::default()).unwrap().0.headers;
        assert_eq!(headers.get_all("x").iter().count(), 99);
    }

    #[test]
    fn bytes_are_counted() {
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
            // Both are at fault here, and the target is named.
            (target(150).trim_end().to_owned() + "\r\nx: " + &"y".repeat(99), 414),
            (padded(200), 200),
            (padded(201), 431),
            (padded(200) + GET, 200),                    // what follows does not count
            ("\r\n\r\n".to_owned() + &padded(200), 200), // nor does what goes before
            ("\r\n\r\n".to_owned() + &padded(201), 431),
            // None of these has an end, and all are refused once nothing can help them.
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

    /// Mostly a request, with a few bytes of it changed.
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
        fn it_does_not_matter_how_the_bytes_are_cut(
            bytes in prop_oneof![4 => nearly_a_head(), 1 => vec(any::<u8>(), 0..60)],
            cuts in vec(any::<prop::sample::Index>(), 0..6),
            small in any::<bool>(),
        ) {
            let limits = if small { Limits { head: 60, uri: 8, headers: 2, ..Limits::default() } } else { Limits::default() };
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
            ends.sort();
            // Which of its faults is found first, and by which of the two functions, may differ.
            let read = |found: Result<Option<Range<usize>>, Refusal>| match found {
                Ok(Some(place)) => meaning(&bytes[place.clone()]).map(|read| Some((place, read))).map_err(drop),
                found => found.map(|_| None).map_err(drop),
            };
            let at_once = read(whole(&bytes, &limits));
            prop_assert_eq!(&at_once, &read(scan(&bytes, &ends, &limits)));
            prop_assert_eq!(&at_once, &read(byte_by_byte(&bytes, &limits)));
        }

        #[test]
        fn an_accepted_head_can_be_read_in_one_way_only(bytes in nearly_a_head()) {
            let Ok(Some(place)) = whole(&bytes, &Limits::default()) else { return Ok(()) };
            let bytes = &bytes[place];
            let Ok(read) = meaning(bytes) else { return Ok(()) };
            prop_assert!(memchr_iter(b'\n', bytes).all(|at| bytes[at - 1] == b'\r'));
            prop_assert!(memchr_iter(b'\r', bytes).all(|at| bytes[at + 1] == b'\n'));
            let count = |name| read.3.get_all(name).iter().count();
            prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
            prop_assert!(count("host") <= 1);
            prop_assert_eq!(meaning(&written(&read)), Ok(read));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop_oneof![nearly_a_head(), vec(any::<u8>(), 0..200)]) {
            let _ = head(&bytes, &Limits::default()); // not scanned before
        }
    }
}

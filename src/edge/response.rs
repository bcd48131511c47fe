//! Step 6: the reply on its way back. One writer for all edges.
//!
//! The edge says what the connection allows, the request and the reply decide the [`Framing`], and
//! [`relay`] moves the bytes as they arrive: head and first body bytes in one write when the length
//! is known, the head at once when it is not, so that an event stream is not held back.

use super::ClientStream;
use crate::edge::request_id;
use crate::error::Refusal;
use crate::forward::headers;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version, request, response};
use std::io::{self, Read, Write};
use std::time::SystemTime;

/// Body bytes moved at a time. Larger pieces save system calls, smaller ones memory: one such
/// buffer for each worker.
pub const PIECE: usize = 128 << 10;

/// Room in front of a chunk for its size line. Seven bytes would do; but on some processors copying is
/// fifteen times slower if the copy begins a few bytes further into its page than the original.
const SIZE_LINE: usize = 64;

/// How the client knows where the reply's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// There is no body, whatever the headers say: HEAD, 204, 304.
    NoBody,
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked,
    /// The end of the connection.
    Close,
}

/// What the edge does with the connection once the reply is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request may come.
    Keep,
    /// No further request; the bytes are delivered first.
    Close,
    /// Visibly cut: the client must not take what it has for a whole message.
    Abort,
}

/// The framing of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Where the body ends.
    pub delimiter: Delimiter,
    /// The length that the head announces, if any.
    length: Option<u64>,
    /// May the connection serve another request?
    keep: bool,
    /// HTTP/1.0 wants to be told so when it may (RFC 9112 §9.3).
    says_keep: bool,
}

impl Framing {
    /// Decides the framing. `length` is what the backend announced; `may_keep` is the edge's word on
    /// the connection: false if bytes of the request are unread, or if the balancer is stopping.
    pub fn of(request: &request::Parts, status: StatusCode, length: Option<u64>, may_keep: bool) -> Self {
        let old = request.version == Version::HTTP_10;
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        let delimiter = match length {
            _ if bodiless || status == StatusCode::NOT_MODIFIED || request.method == Method::HEAD => {
                Delimiter::NoBody
            }
            Some(length) => Delimiter::Sized(length),
            None if old => Delimiter::Close,
            None => Delimiter::Chunked,
        };
        let asked = if old {
            headers::connection_names(&request.headers, "keep-alive")
        } else {
            !headers::connection_names(&request.headers, "close")
        };
        let keep = asked && may_keep && delimiter != Delimiter::Close;
        // No Content-Length on 204 (RFC 9110 §8.6).
        Framing { delimiter, length: length.filter(|_| !bodiless), keep, says_keep: keep && old }
    }

    /// What becomes of the connection after a whole reply.
    pub fn end(&self) -> End {
        if self.keep { End::Keep } else { End::Close }
    }
}

/// Writes a reply's head, ready to send.
pub fn head(reply: &response::Parts, framing: Framing, out: &mut Vec<u8>) {
    status_line(reply.status, out);
    let mut dated = false;
    for (name, value) in headers::end_to_end(&reply.headers) {
        if *name == header::CONTENT_LENGTH {
            continue; // the framing's business, below
        }
        dated |= *name == header::DATE;
        title_case(name, out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !dated {
        date(out); // a gateway adds the Date that is missing (RFC 9110 §6.6.1)
    }
    if let Some(length) = framing.length {
        line(out, format_args!("Content-Length: {length}\r\n"));
    }
    if framing.delimiter == Delimiter::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if framing.says_keep {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    } else if !framing.keep {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// One line for a person, that tells nothing of what is behind the balancer.
fn refusal_text(refusal: Refusal) -> String {
    format!("{refusal}\n")
}

/// How many bytes of it are sent: none with HEAD.
pub fn refusal_bytes(refusal: Refusal, request: Option<&request::Parts>) -> u64 {
    let bodiless = request.is_some_and(|request| request.method == Method::HEAD);
    if bodiless { 0 } else { refusal_text(refusal).len() as u64 }
}

/// A whole refusal. `request` is what is known of the request; nothing if its head was refused.
pub fn refusal(refusal: Refusal, request: Option<&request::Parts>, may_keep: bool) -> (Vec<u8>, End) {
    let text = refusal_text(refusal);
    let length = text.len() as u64;
    let (mut reply, ()) = http::Response::new(()).into_parts();
    reply.status = refusal.status();
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply.headers.extend(refusal.header().map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Some(request) = request {
        request_id::echo(&request.headers, &mut reply.headers);
    }
    let framing = match request {
        Some(request) => Framing::of(request, reply.status, Some(length), may_keep),
        None => Framing {
            delimiter: Delimiter::Sized(length),
            length: Some(length),
            keep: false,
            says_keep: false,
        },
    };
    let mut out = Vec::with_capacity(256);
    head(&reply, framing, &mut out);
    if framing.delimiter != Delimiter::NoBody {
        out.extend_from_slice(text.as_bytes());
    }
    (out, framing.end())
}

fn status_line(status: StatusCode, out: &mut Vec<u8>) {
    let reason = status.canonical_reason().unwrap_or("");
    line(out, format_args!("HTTP/1.1 {} {reason}\r\n", status.as_u16()));
}

fn date(out: &mut Vec<u8>) {
    line(out, format_args!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())));
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

/// The `http` crate keeps names in lower case. `Content-Type` is what people expect to read.
fn title_case(name: &HeaderName, out: &mut Vec<u8>) {
    let mut first = true;
    out.extend(name.as_str().bytes().map(|byte| {
        let byte = if first { byte.to_ascii_uppercase() } else { byte };
        first = byte == b'-';
        byte
    }));
}

/// Which side a relayed reply failed on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The backend broke off, or was too slow.
    #[error("the backend broke off its reply: {0}")]
    Backend(io::Error),
    /// The client is gone, or does not take its reply.
    #[error("the client did not take its reply: {0}")]
    Client(io::Error),
}

/// Space that a worker uses for every reply, and keeps.
#[derive(Debug)]
pub struct Scratch {
    head: Vec<u8>,
    /// Room for a chunk: its size line, a piece, and the end of the line.
    piece: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { head: Vec::with_capacity(1024), piece: vec![0; SIZE_LINE + PIECE + 2].into() }
    }
}

/// Moves a whole reply to the client, and counts the body bytes in `sent`.
///
/// # Errors
/// After a failure no terminator is written: the caller must cut the connection.
pub fn relay(
    line: &mut dyn ClientStream,
    reply: &response::Parts,
    framing: Framing,
    body: &mut dyn Read,
    scratch: &mut Scratch,
    sent: &mut u64,
) -> Result<(), RelayError> {
    let Scratch { head: out, piece } = scratch;
    out.clear();
    head(reply, framing, out);
    let sized = matches!(framing.delimiter, Delimiter::Sized(_));
    let length = match framing.delimiter {
        Delimiter::NoBody => 0,
        Delimiter::Sized(length) => length,
        Delimiter::Chunked | Delimiter::Close => u64::MAX,
    };
    // A head that waits stands in front of the first bytes of its body, and leaves with them.
    let mut waiting = if sized && length > 0 && out.len() < PIECE / 2 { out.len() } else { 0 };
    if waiting == 0 {
        line.write(out).map_err(RelayError::Client)?;
    }
    piece[..waiting].copy_from_slice(&out[..waiting]);
    while *sent < length {
        let start = waiting.max(SIZE_LINE);
        let room = (PIECE - waiting).min(usize::try_from(length - *sent).unwrap_or(PIECE));
        let n = body.read(&mut piece[start..start + room]).map_err(RelayError::Backend)?;
        match n {
            0 if sized => return Err(RelayError::Backend(io::ErrorKind::UnexpectedEof.into())),
            0 => break,
            _ => *sent += n as u64,
        }
        let bytes = match framing.delimiter {
            Delimiter::Chunked => as_chunk(piece, n),
            _ if waiting > 0 => &piece[..start + n],
            _ => &piece[start..start + n],
        };
        line.write(bytes).map_err(RelayError::Client)?;
        waiting = 0;
    }
    if framing.delimiter == Delimiter::Chunked {
        line.write(b"0\r\n\r\n").map_err(RelayError::Client)?;
    }
    // ureq takes a connection back into its pool on the read that says that the body is over, and not
    // before. The client has all of its reply by now, so whatever comes of this read is no failure.
    let _ = body.read(&mut [0]);
    Ok(())
}

/// The piece of `n` bytes, with its size line before and the end of its line after it.
fn as_chunk(piece: &mut [u8], n: usize) -> &[u8] {
    let size = format!("{n:x}\r\n");
    let (start, end) = (SIZE_LINE - size.len(), SIZE_LINE + n);
    piece[start..SIZE_LINE].copy_from_slice(size.as_bytes());
    piece[end..end + 2].copy_from_slice(b"\r\n");
    &piece[start..end + 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client that keeps what it gets, write by write.
    #[derive(Default)]
    struct Kept(Vec<Vec<u8>>);

    impl ClientStream for Kept {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn may_keep(&self) -> bool {
            true
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.push(bytes.to_vec());
            Ok(())
        }
        fn end(self: Box<Self>, _: End) {}
        fn refuse(self: Box<Self>, _: Refusal, _: Option<&request::Parts>) {}
    }

    fn request(method: &str, version: Version, connection: &str) -> request::Parts {
        let request = http::Request::builder().method(method).version(version);
        request.header("connection", connection).body(()).unwrap().into_parts().0
    }

    fn reply(status: u16) -> response::Parts {
        http::Response::builder().status(status).header("x-a", "1").body(()).unwrap().into_parts().0
    }

    fn relayed(
        request: &request::Parts,
        status: u16,
        length: Option<u64>,
        mut body: &[u8],
    ) -> (Result<u64, RelayError>, Kept) {
        let (head, mut kept) = (reply(status), Kept::default());
        let framing = Framing::of(request, head.status, length, true);
        let mut sent = 0;
        let outcome = relay(&mut kept, &head, framing, &mut body, &mut Scratch::default(), &mut sent);
        (outcome.map(|()| sent), kept)
    }

    #[test]
    fn the_framing_table() {
        use Delimiter::{Chunked, Close, NoBody, Sized};
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for (method, version, connection, status, length, delimiter, end) in [
            ("GET", new, "", 200, Some(5), Sized(5), End::Keep),
            ("GET", new, "close", 200, Some(5), Sized(5), End::Close),
            ("GET", new, "", 200, None, Chunked, End::Keep),
            ("GET", old, "", 200, Some(5), Sized(5), End::Close),
            ("GET", old, "keep-alive", 200, Some(5), Sized(5), End::Keep),
            ("GET", old, "keep-alive", 200, None, Close, End::Close),
            ("HEAD", new, "", 200, Some(5), NoBody, End::Keep),
            ("HEAD", old, "keep-alive", 200, None, NoBody, End::Keep),
            ("GET", new, "", 204, Some(0), NoBody, End::Keep),
            ("GET", new, "", 304, Some(5), NoBody, End::Keep),
        ] {
            let request = request(method, version, connection);
            let framing = Framing::of(&request, StatusCode::from_u16(status).unwrap(), length, true);
            assert_eq!((framing.delimiter, framing.end()), (delimiter, end), "{method} {version:?} {status}");
            let broken = Framing::of(&request, StatusCode::OK, length, false);
            assert_eq!(broken.end(), End::Close);
        }
    }

    #[test]
    fn a_sized_reply_leaves_in_one_write_and_a_stream_begins_at_once() {
        let get = request("GET", Version::HTTP_11, "");
        let (_, kept) = relayed(&get, 200, Some(5), b"hello");
        assert_eq!(kept.0.len(), 1);
        let text = String::from_utf8(kept.0.concat()).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nX-A: 1\r\nDate: ") && text.ends_with("\r\n\r\nhello"),
            "{text}"
        );
        let (_, kept) = relayed(&get, 200, None, b"hello");
        assert!(kept.0[0].ends_with(b"\r\n\r\n"));
        assert_eq!(kept.0[1..].concat(), b"5\r\nhello\r\n0\r\n\r\n");
    }

    #[test]
    fn a_body_that_ends_early_is_an_error_and_gets_no_end() {
        let (outcome, kept) = relayed(&request("GET", Version::HTTP_11, ""), 200, Some(9), b"hello");
        assert!(matches!(outcome, Err(RelayError::Backend(_))));
        assert!(kept.0.concat().ends_with(b"hello"));
    }

    #[test]
    fn a_204_has_no_length_and_a_head_reply_keeps_it() {
        let (_, kept) = relayed(&request("GET", Version::HTTP_11, ""), 204, Some(0), b"");
        assert!(!String::from_utf8(kept.0.concat()).unwrap().contains("Content-Length"));
        let (_, kept) = relayed(&request("HEAD", Version::HTTP_11, ""), 200, Some(7), b"");
        assert!(String::from_utf8(kept.0.concat()).unwrap().ends_with("Content-Length: 7\r\n\r\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_body_arrives_whole_however_it_is_framed(body in proptest::collection::vec(any::<u8>(), 0..70_000), framing in 0..3) {
            let version = if framing == 2 { Version::HTTP_10 } else { Version::HTTP_11 };
            let length = (framing == 0).then_some(body.len() as u64);
            let (outcome, kept) = relayed(&request("GET", version, ""), 200, length, &body);
            prop_assert_eq!(outcome.unwrap(), body.len() as u64);
            let bytes = kept.0.concat();
            let start = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let got = if framing == 1 { unchunk(&bytes[start..]) } else { bytes[start..].to_vec() };
            prop_assert_eq!(got, body);
        }
    }

    fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
            let start = end + 2;
            assert_eq!(&bytes[start + size..start + size + 2], b"\r\n");
            if size == 0 {
                assert_eq!(bytes.len(), start + 2);
                return body;
            }
            body.extend_from_slice(&bytes[start..start + size]);
            bytes = &bytes[start + size + 2..];
        }
    }
}

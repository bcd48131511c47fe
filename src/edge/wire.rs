//! Step 6: the reply on its way back. One writer for all edges.
//!
//! The edge says what the connection allows, the request and the reply decide the [`Framing`], and
//! [`relay`] moves the bytes as they arrive: head and first body bytes in one write when the length
//! is known, the head at once when it is not, so that an event stream is not held back.

use super::Line;
use crate::error::Refusal;
use crate::headers;
use http::header::{self, HeaderName};
use http::{Method, StatusCode, Version, request, response};
use std::io::{self, Read, Write};
use std::time::SystemTime;

/// Body bytes moved at a time. Larger pieces save system calls, smaller ones memory: one such
/// buffer for each worker.
pub const PIECE: usize = 32 << 10;

/// Room in front of a chunk for its size line: at most four hexadecimal digits, and the line's end.
const SIZE_LINE: usize = 6;
const _: () = assert!(PIECE <= 0xFFFF);

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

/// The header lines of a refusal, without the status line and the connection's own: the body that
/// follows is [`refusal_text`].
pub fn refusal_fields(refusal: Refusal, out: &mut Vec<u8>) {
    if let Some((name, value)) = refusal.header() {
        line(out, format_args!("{name}: {value}\r\n"));
    }
    let length = refusal_text(refusal).len();
    line(out, format_args!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"));
}

/// One line for a person, that tells nothing of what is behind the balancer.
pub fn refusal_text(refusal: Refusal) -> String {
    format!("{refusal}\n")
}

/// A whole refusal. `request` is what is known of the request; nothing if its head was refused.
pub fn refusal(refusal: Refusal, request: Option<&request::Parts>, may_keep: bool) -> (Vec<u8>, End) {
    let mut out = Vec::with_capacity(256);
    let text = refusal_text(refusal);
    status_line(refusal.status(), &mut out);
    date(&mut out);
    refusal_fields(refusal, &mut out);
    let framing = request.map(|r| Framing::of(r, refusal.status(), Some(text.len() as u64), may_keep));
    let keep = framing.is_some_and(|framing| framing.keep);
    match framing {
        Some(framing) if framing.says_keep => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        _ if keep => {}
        _ => out.extend_from_slice(b"Connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    if framing.is_none_or(|framing| framing.delimiter != Delimiter::NoBody) {
        out.extend_from_slice(text.as_bytes());
    }
    (out, if keep { End::Keep } else { End::Close })
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
    piece: Box<[u8; SIZE_LINE + PIECE + 2]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { head: Vec::with_capacity(1024), piece: Box::new([0; SIZE_LINE + PIECE + 2]) }
    }
}

/// Moves a whole reply to the client and returns how many body bytes that were.
///
/// # Errors
/// After a failure no terminator is written: the caller must cut the connection.
pub fn relay(
    line: &mut dyn Line,
    reply: &response::Parts,
    framing: Framing,
    body: &mut dyn Read,
    scratch: &mut Scratch,
) -> Result<u64, RelayError> {
    scratch.head.clear();
    head(reply, framing, &mut scratch.head);
    match framing.delimiter {
        Delimiter::NoBody | Delimiter::Sized(0) => {
            line.write(&scratch.head).map_err(RelayError::Client)?;
            finish(body);
            Ok(0)
        }
        Delimiter::Sized(length) => sized(line, length, body, scratch),
        Delimiter::Chunked => chunked(line, body, scratch),
        Delimiter::Close => until_close(line, body, scratch),
    }
}

/// Head and first bytes leave together.
fn sized(
    line: &mut dyn Line,
    length: u64,
    body: &mut dyn Read,
    scratch: &mut Scratch,
) -> Result<u64, RelayError> {
    let Scratch { head, piece } = scratch;
    let mut left = length;
    while left > 0 {
        let room = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let n = body.read(&mut piece[..room]).map_err(RelayError::Backend)?;
        if n == 0 {
            return Err(RelayError::Backend(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = if head.is_empty() {
            &piece[..n]
        } else {
            head.extend_from_slice(&piece[..n]);
            head.as_slice()
        };
        line.write(bytes).map_err(RelayError::Client)?;
        head.clear();
        left -= n as u64;
    }
    finish(body);
    Ok(length)
}

/// ureq takes a connection back into its pool on the read that says that the body is over, and not
/// before. The client has all of its reply by then, so whatever comes of this read is no failure.
fn finish(body: &mut dyn Read) {
    let _ = body.read(&mut [0]);
}

fn chunked(line: &mut dyn Line, body: &mut dyn Read, scratch: &mut Scratch) -> Result<u64, RelayError> {
    let Scratch { head, piece } = scratch;
    line.write(head).map_err(RelayError::Client)?;
    let mut sent = 0;
    loop {
        let n = body.read(&mut piece[SIZE_LINE..SIZE_LINE + PIECE]).map_err(RelayError::Backend)?;
        if n == 0 {
            line.write(b"0\r\n\r\n").map_err(RelayError::Client)?;
            return Ok(sent);
        }
        let size = format!("{n:x}\r\n");
        let (start, end) = (SIZE_LINE - size.len(), SIZE_LINE + n);
        piece[start..SIZE_LINE].copy_from_slice(size.as_bytes());
        piece[end..end + 2].copy_from_slice(b"\r\n");
        line.write(&piece[start..end + 2]).map_err(RelayError::Client)?;
        sent += n as u64;
    }
}

fn until_close(line: &mut dyn Line, body: &mut dyn Read, scratch: &mut Scratch) -> Result<u64, RelayError> {
    line.write(&scratch.head).map_err(RelayError::Client)?;
    let mut sent = 0;
    loop {
        let n = body.read(&mut scratch.piece[..PIECE]).map_err(RelayError::Backend)?;
        if n == 0 {
            return Ok(sent);
        }
        line.write(&scratch.piece[..n]).map_err(RelayError::Client)?;
        sent += n as u64;
    }
}

//! The framing of a body: where it ends (RFC 9112 §6), and what remains of it. Without I/O.

use crate::head::{Head, append, field, head_length, is, length_of};

/// Longest chunk size line in bytes, extensions included.
pub const MAX_SIZE_LINE: usize = 256;

/// The unread part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This number of bytes.
    Sized(u64),
    /// Chunks.
    Chunked {
        /// Bytes remaining of the current chunk.
        left: u64,
        /// Whether a chunk has started, whose line end precedes the next size line.
        started: bool,
    },
    /// Everything until the connection closes.
    UntilClose,
}

/// The next part of the bytes received.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Framing to skip, followed by body bytes.
    Data { framing: usize, length: usize },
    /// Framing to skip, followed by the end of the body.
    End { framing: usize },
    /// More bytes are needed.
    More,
}

impl Body {
    /// Nothing remains.
    pub const DONE: Body = Body::Sized(0);
    /// A chunked body of which nothing has been read.
    pub const CHUNKED: Body = Body::Chunked { left: 0, started: false };

    /// Returns the framing that a head announces (RFC 9112 §6.3), or `None` if no header announces a body.
    ///
    /// # Errors
    /// Returns the reason if the framing is ambiguous or unsupported.
    pub fn announced(head: &Head<'_>, http_1_0: bool) -> Result<Option<Body>, &'static str> {
        let (mut codings, mut lengths) = (head.values("transfer-encoding"), head.values("content-length"));
        match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
            (None, _, None, _) => Ok(None),
            (None, _, Some(length), None) => match length_of(length) {
                Some(length) => Ok(Some(Body::Sized(length))),
                None => Err("the Content-Length is not a number"),
            },
            (None, _, Some(_), Some(_)) => Err("there is more than one Content-Length"),
            (Some(_), _, Some(_), _) => Err("there are both a Content-Length and a Transfer-Encoding"),
            (Some(_), ..) if http_1_0 => Err("HTTP/1.0 has no Transfer-Encoding"),
            (Some(coding), None, ..) if is(coding, "chunked") => Ok(Some(Body::CHUNKED)),
            (Some(_), ..) => Err("the only supported Transfer-Encoding is chunked"),
        }
    }

    /// Returns whether all of the body has been read.
    pub fn is_done(self) -> bool {
        self == Body::DONE
    }

    /// Appends the header that announces this framing.
    pub fn write_header(self, out: &mut Vec<u8>) {
        match self {
            Body::Sized(length) => append(out, format_args!("Content-Length: {length}\r\n")),
            _ => field(out, b"Transfer-Encoding", b"chunked"),
        }
    }

    /// Returns the next part of `bytes` and counts it as read, or `None` if it is malformed.
    pub fn step(&mut self, bytes: &[u8]) -> Option<Step> {
        let most = bytes.len() as u64;
        Some(match self {
            Body::Sized(0) => Step::End { framing: 0 },
            Body::Chunked { left: 0, started } => {
                let (framing, size) = match size_line(bytes, *started)? {
                    Some(line) => line,
                    None => return Some(Step::More),
                };
                if size == 0 {
                    // Trailers end like a head.
                    let Some(trailers) = head_length(&bytes[framing..]).ok()? else {
                        return Some(Step::More);
                    };
                    *self = Body::DONE;
                    return Some(Step::End { framing: framing + trailers });
                }
                let length = size.min(most - framing as u64);
                *self = Body::Chunked { left: size - length, started: true };
                Step::Data { framing, length: length as usize }
            }
            _ if bytes.is_empty() => Step::More,
            Body::Sized(left) | Body::Chunked { left, .. } => {
                let length = most.min(*left);
                *left -= length;
                Step::Data { framing: 0, length: length as usize }
            }
            Body::UntilClose => Step::Data { framing: 0, length: bytes.len() },
        })
    }
}

/// Returns the length of the framing before a chunk (the line end of the previous chunk if one has `started`, and
/// the size line) and the chunk's size (RFC 9112 §7.1). Returns `Some(None)` if it is incomplete and `None` if it
/// is malformed.
fn size_line(bytes: &[u8], started: bool) -> Option<Option<(usize, u64)>> {
    let before: &[u8] = if started { b"\r\n" } else { b"" };
    let Some(line) = bytes.strip_prefix(before) else {
        return before.starts_with(bytes).then_some(None);
    };
    let Some(end) = line.iter().take(MAX_SIZE_LINE).position(|&byte| byte == b'\n') else {
        return (line.len() < MAX_SIZE_LINE).then_some(None);
    };
    let text = str::from_utf8(line[..end].strip_suffix(b"\r")?).ok()?;
    let (digits, extension) = text.split_once(';').unwrap_or((text, ""));
    // `from_str_radix` accepts a sign.
    let valid = digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && !extension.contains(char::is_control);
    let size = u64::from_str_radix(digits, 16).ok().filter(|_| valid)?;
    Some(Some((before.len() + end + 1, size)))
}

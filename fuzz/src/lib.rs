//! Shared by the targets: how bytes are cut into pieces, and simple reference parsers of HTTP/1.1. The reference
//! parsers accept complete messages only, copy what they read, and share no code with the parsers under test.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use turnwheel::config::Limits;
use turnwheel::internals::request_head::Body;

/// Returns the positions at which `bytes` are cut, derived from their hash; the last one is their end. So an input
/// is a plain message that can be read and written by hand, and each mutation is cut differently.
pub fn cuts(bytes: &[u8]) -> Vec<usize> {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let (mut random, mut cuts, mut at) = (hasher.finish() | 1, Vec::new(), 0);
    let most = 1 + random % 63;
    while at < bytes.len() {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        at = bytes.len().min(at + 1 + (random % most) as usize);
        cuts.push(at);
    }
    cuts
}

/// Returns the limits that every input is tried with: the defaults, and low ones.
pub fn limits() -> [Limits; 2] {
    [Limits::default(), Limits { head: 120, uri: 20, headers: 4, body: 40 }]
}

/// A head as the reference parses it.
#[derive(Debug)]
pub struct Head<'a> {
    /// The range of its bytes.
    pub range: Range<usize>,
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub version: &'a [u8],
    /// Names as sent, and values without surrounding blanks.
    pub fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Parses a head at the beginning of `bytes` by the strict grammar of RFC 9112 §2 to §5. Returns `None`
    /// if there is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let blank = (0..=4).rev().find(|lines| bytes.starts_with(&b"\r\n".repeat(*lines)))? * 2;
        let end = blank + position(&bytes[blank..], b"\r\n\r\n")?;
        let mut lines = split(&bytes[blank..end], b"\r\n").into_iter();
        if bytes[blank..end].is_empty() {
            return None;
        }
        let words = split(lines.next()?, b" ");
        let [method, target, version] = words[..] else { return None };
        let version_known = matches!(version, b"HTTP/1.0" | b"HTTP/1.1");
        if !is_token(method) || target.is_empty() || !target.iter().all(is_visible) || !version_known {
            return None;
        }
        let fields = lines.map(field).collect::<Option<_>>()?;
        Some(Head { range: blank..end + 4, method, target, version, fields })
    }

    /// Returns the values of the fields of this name.
    pub fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    }

    /// Returns how the body is delimited, or `None` unless that is unambiguous (RFC 9112 §6.3).
    pub fn body(&self) -> Option<Body> {
        match (&self.values("transfer-encoding")[..], &self.values("content-length")[..]) {
            ([], []) => Some(Body::None),
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                Some(Body::Sized(str::from_utf8(length).ok()?.parse().ok()?))
            }
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && self.version == b"HTTP/1.1" => {
                Some(Body::Chunked)
            }
            _ => None,
        }
    }

    /// Returns whether the head is simple enough that the parser must accept it. Some valid heads are not.
    pub fn is_plain(&self, limits: &Limits) -> bool {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/?&=._-".contains(byte);
        let hosts = self.values("host");
        // The edge counts one blank after each colon, whether it was sent or not.
        let size = self.range.len() + self.fields.len();
        self.target[0] == b'/'
            && self.target.iter().all(plain)
            && !matches!(self.method, b"CONNECT" | b"TRACE")
            && (hosts.len() == 1 || hosts.is_empty() && self.version == b"HTTP/1.0")
            && hosts.iter().all(|host| !host.is_empty() && host.iter().all(u8::is_ascii_alphanumeric))
            && self.values("expect").is_empty()
            && self.body().is_some_and(|body| !matches!(body, Body::Sized(n) if n > limits.body))
            && size as u64 <= limits.head
            && self.target.len() as u64 <= limits.uri
            && self.fields.len() <= limits.headers
    }
}

/// Decodes a complete chunked message (RFC 9112 §7.1) at the beginning of `bytes`. Returns its data and its
/// length, or `None` if there is none.
pub fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at, mut extras) = (Vec::new(), 0, 0);
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        let digits = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let (size, extension) = line.split_at(digits);
        if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) || !extension.iter().all(is_text) {
            return None;
        }
        extras += extension.len();
        let size = usize::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend(bytes[at..].get(..size)?);
        at += size;
        if !bytes[at..].starts_with(b"\r\n") {
            return None;
        }
        at += 2;
    }
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        if line.is_empty() {
            // The decoder's own limit.
            return (extras <= 16 << 10).then_some((data, at));
        }
        field(line)?;
        extras += line.len();
    }
}

/// Reads a complete body of this framing at the beginning of `bytes`. Returns its data and its length, or
/// `None` if there is none.
pub fn body(body: Body, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    match body {
        Body::None => Some((Vec::new(), 0)),
        Body::Sized(length) => {
            let length = usize::try_from(length).ok()?;
            Some((bytes.get(..length)?.to_vec(), length))
        }
        Body::Chunked => chunked(bytes),
    }
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
    let mut value = &value[1..];
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    (is_token(name) && value.iter().all(is_text)).then_some((name, value))
}

/// Returns the bytes up to the first line end, or `None` if there is none or its carriage return is missing.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes[..bytes.iter().position(|byte| *byte == b'\n')?].strip_suffix(b"\r")
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = position(bytes, by) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + by.len()..];
    }
    parts.push(bytes);
    parts
}

fn is_token(bytes: &[u8]) -> bool {
    let separators = b"\"(),/:;<=>?@[\\]{}";
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !separators.contains(byte))
}

fn is_visible(byte: &u8) -> bool {
    byte.is_ascii_graphic() || !byte.is_ascii()
}

fn is_text(byte: &u8) -> bool {
    is_visible(byte) || matches!(byte, b' ' | b'\t')
}

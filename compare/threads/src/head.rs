//! The head of a message: lines, field names and values. Pure functions over bytes.

use std::fmt;
use std::io::Write;

/// Hop-by-hop fields (RFC 9110 §7.6.1), in addition to those that a `Connection` field lists.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns the length of the head at the start of `bytes`, including its empty line, or `None` if it is incomplete.
///
/// # Errors
/// Returns an error if a line ends without a CR, because parsers disagree on whether that ends the line.
pub fn head_length(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|&byte| byte == b'\n') {
        let end = start + length;
        if length == 0 || bytes[end - 1] != b'\r' {
            return Err(());
        }
        if length == 1 {
            return Ok(Some(end + 1));
        }
        start = end + 1;
    }
    Ok(None)
}

/// A parsed head.
pub struct Head<'a> {
    /// The start line.
    pub line: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Parses a complete head, including its empty line. Returns `None` if it is malformed (RFC 9112 §5).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = bytes.strip_suffix(b"\r\n")?.split_inclusive(|&byte| byte == b'\n');
        let line = lines.next()?.strip_suffix(b"\r\n")?;
        let mut fields = Vec::with_capacity(16);
        for line in lines {
            // A folded line (obs-fold) begins with a blank, which is not a valid name.
            let line = line.strip_suffix(b"\r\n")?;
            let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
            let value = &value[1..];
            if !is_token(name) || !value.iter().all(|&byte| byte == b'\t' || is_text(byte)) {
                return None;
            }
            fields.push((name, value.trim_ascii()));
        }
        Some(Head { line, fields })
    }

    /// Returns the values of all fields with this name.
    pub fn values(&self, wanted: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(move |(name, _)| is(name, wanted)).map(|&(_, value)| value)
    }

    /// Returns whether a `Connection` field lists this option.
    fn connection_names(&self, option: &[u8]) -> bool {
        let mut options = self.values("connection").flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
    }

    /// Returns whether the head allows the connection to persist (RFC 9112 §9.3).
    pub fn allows_keep_alive(&self, http_1_0: bool) -> bool {
        if http_1_0 { self.connection_names(b"keep-alive") } else { !self.connection_names(b"close") }
    }

    /// Appends the end-to-end fields, except `unwanted` ones. The framing fields are left to the caller.
    pub fn write_end_to_end(&self, out: &mut Vec<u8>, unwanted: impl Fn(&[u8]) -> bool) {
        let lists = self.values("connection").next().is_some();
        for &(name, value) in &self.fields {
            let hop = is(name, "content-length") || HOP_BY_HOP.iter().any(|&known| is(name, known));
            let listed = lists && self.connection_names(name);
            if !hop && !listed && !unwanted(name) {
                field(out, name, value);
            }
        }
    }
}

/// Appends a field line.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    join(out, &[name, b": ", value, b"\r\n"]);
}

/// Appends the parts in order.
pub fn join(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends formatted text.
pub fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text); // writing to memory cannot fail
}

/// Returns whether `name` equals `known`, ignoring case.
pub fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// Parses a length of digits only: no sign, list or blank. Returns `None` if it is invalid.
pub fn length_of(digits: &[u8]) -> Option<u64> {
    let valid = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()
}

/// Returns whether `name` is a token, as methods and field names are (RFC 9110 §5.6.2).
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Returns whether a byte may occur in a field value: no control character. Tabs are checked by the caller.
pub fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        for (bytes, length) in [
            ("", Ok(None)),
            ("a\r", Ok(None)),
            ("a\r\n\r", Ok(None)),
            ("\r\nx", Ok(Some(2))),
            ("a\r\nb\r\n\r\nx", Ok(Some(8))),
            ("a\n", Err(())),
            ("a\r\n\n", Err(())),
        ] {
            assert_eq!(head_length(bytes.as_bytes()), length, "{bytes:?}");
        }
    }
}

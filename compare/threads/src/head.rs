//! A head in its parts: lines, names and values. Pure functions over bytes.

use crate::relay::Body;

/// Headers that belong to one connection and not to the message (RFC 9110 §7.6.1), besides those that
/// `Connection` itself lists.
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

/// How long the head at the front of `bytes` is, its empty line included. `None` if it has not all come.
///
/// # Errors
/// When a line ends without a CR: who takes that for the end of a line and who does not would disagree.
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

/// A head in its parts.
pub struct Head<'a> {
    /// The first line.
    pub line: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Of a whole head, its empty line included. `None` if it is malformed (RFC 9112 §5).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = bytes.strip_suffix(b"\r\n")?.split_inclusive(|&byte| byte == b'\n');
        let line = lines.next()?.strip_suffix(b"\r\n")?;
        let mut fields = Vec::with_capacity(16);
        for line in lines {
            // A line that begins with a blank, to go on with the one before (obs-fold), fails as a name.
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

    /// The values of all fields of that name.
    pub fn values(&self, wanted: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(move |(name, _)| is(name, wanted)).map(|&(_, value)| value)
    }

    /// Does any `Connection` header name this option?
    fn connection_names(&self, option: &[u8]) -> bool {
        let mut options = self.values("connection").flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
    }

    /// May the connection be used again, as far as the head is concerned? (RFC 9112 §9.3)
    pub fn keeps(&self, old: bool) -> bool {
        if old { self.connection_names(b"keep-alive") } else { !self.connection_names(b"close") }
    }

    /// Appends the fields that go on to the next hop. Those that say where the body ends are not among them:
    /// that is for whoever sends it on to say.
    pub fn put_end_to_end(&self, out: &mut Vec<u8>, unwanted: impl Fn(&[u8]) -> bool) {
        let lists = self.values("connection").next().is_some();
        for &(name, value) in &self.fields {
            let hop = is(name, "content-length") || HOP_BY_HOP.iter().any(|&known| is(name, known));
            let listed = lists && self.connection_names(name);
            if !hop && !listed && !unwanted(name) {
                field(out, name, value);
            }
        }
    }

    /// Where the body ends (RFC 9112 §6.3), if any header says so.
    pub fn body(&self, old: bool) -> Result<Option<Body>, &'static str> {
        let (mut codings, mut lengths) = (self.values("transfer-encoding"), self.values("content-length"));
        match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
            (None, _, None, _) => Ok(None),
            (None, _, Some(length), None) => match length_of(length) {
                Some(length) => Ok(Some(Body::Sized(length))),
                None => Err("the Content-Length is no number"),
            },
            (None, _, Some(_), Some(_)) => Err("there is more than one Content-Length"),
            (Some(_), _, Some(_), _) => Err("it has both a Content-Length and a Transfer-Encoding"),
            (Some(_), ..) if old => Err("HTTP/1.0 knows no Transfer-Encoding"),
            (Some(coding), None, ..) if is(coding, "chunked") => Ok(Some(Body::CHUNKED)),
            (Some(_), ..) => Err("the only Transfer-Encoding read here is chunked"),
        }
    }
}

/// Appends a header line.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    join(out, &[name, b": ", value, b"\r\n"]);
}

/// Appends one after the other.
pub fn join(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Is it that name? Without regard to case.
pub fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// Digits and nothing else: no sign, no list, no blank.
pub fn length_of(digits: &[u8]) -> Option<u64> {
    let valid = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()
}

/// Is it of the form that methods and names have? (RFC 9110 §5.6.2)
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// What may stand in a value, apart from the tab: no control characters.
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

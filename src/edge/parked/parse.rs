//! Where does a request head end, and what does it say? Pure functions over bytes.
//!
//! [`Scan`] looks for the blank line, at each byte once, however slowly they come; only then is the
//! head parsed, by httparse. httparse takes a bare LF for the end of a line, as RFC 9112 §2.2 allows.
//! Others do not, and requests that two readers divide differently are how one is smuggled: so a LF
//! without its CR is refused here before httparse sees it.

use crate::edge::head::{self, Body, Limits, RawHead};
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
            if self.lines > limits.headers + 1 {
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
        Err(httparse::Error::TooManyHeaders) if limits.headers > USUAL_HEADERS => {
            let mut many = vec![MaybeUninit::uninit(); limits.headers];
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
    Ok(head::check(raw, limits))
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
    match line.rsplit(|byte| *byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit() && *major != b'1' && minor.is_ascii_digit()
        }
        _ => false,
    }
}

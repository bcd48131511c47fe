//! The search for the end of a request head.

use crate::edge::options::Limits;
use crate::error::Refusal;
use memchr::{memchr, memchr_iter};
use std::ops::Range;

/// Blank lines that are ignored before a request (RFC 9112 §2.2 requires at least one).
const BLANK_LINES: usize = 4;

const BARE_LF: Refusal = Refusal::BadRequest("a line ends without a carriage return");

/// The progress of scanning the bytes of a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// Bytes that have been scanned.
    scanned: usize,
    /// The position at which the incomplete line begins.
    line_start: usize,
    /// Complete lines of the head.
    lines: usize,
    /// The position at which the head begins, after the blank lines.
    start: usize,
}

impl HeadScanner {
    /// Scans the bytes that are new since the last call; `bytes` begins where it began then. Returns the
    /// range of the head, or `None` if it is not complete yet.
    ///
    /// # Errors
    /// When no further byte can make a valid request of it.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
        let new = self.scanned;
        self.scanned = bytes.len();
        for at in memchr_iter(b'\n', &bytes[new..]).map(|at| new + at) {
            if at == self.line_start || bytes[at - 1] != b'\r' {
                return Err(BARE_LF);
            }
            let blank = at == self.line_start + 1;
            self.line_start = at + 1;
            match blank {
                true if self.lines == 0 => self.skip_blank_line()?,
                true => return self.within_limits(&bytes[..=at], limits).map(Some),
                false => self.lines += 1,
            }
            if self.lines > limits.headers() + 1 {
                return Err(Refusal::HeadTooLarge);
            }
        }
        if let Some(first) = bytes.get(self.start) {
            // A client of another protocol (TLS, say) gets its refusal at once.
            if !is_token(*first) && *first != b'\r' {
                return Err(Refusal::BadRequest("it does not begin with a method"));
            }
        }
        self.within_limits(bytes, limits).map(|_| None)
    }

    /// Returns whether only blank lines have arrived.
    pub fn is_blank(&self, bytes: &[u8]) -> bool {
        self.lines == 0 && matches!(bytes.get(self.start..), None | Some([] | [b'\r']))
    }

    fn skip_blank_line(&mut self) -> Result<(), Refusal> {
        self.start = self.line_start;
        match self.start <= 2 * BLANK_LINES {
            true => Ok(()),
            false => Err(Refusal::BadRequest("it begins with too many blank lines")),
        }
    }

    /// Returns the range of the head's bytes, or the refusal if there are too many of them.
    fn within_limits(&self, bytes: &[u8], limits: &Limits) -> Result<Range<usize>, Refusal> {
        let head = &bytes[self.start..];
        if head.len() as u64 <= limits.head {
            return Ok(self.start..bytes.len());
        }
        // If the target alone is too long, the refusal names it.
        let line = &head[..memchr(b'\n', head).unwrap_or(head.len())];
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let too_long = target.len() as u64 > limits.uri.min(limits.head) || line.len() == head.len();
        Err(if too_long { Refusal::UriTooLong } else { Refusal::HeadTooLarge })
    }
}

/// Returns whether names and methods may contain this byte: `tchar` of RFC 9110 §5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

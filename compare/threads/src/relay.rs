//! Moving bytes from one connection to another: what has come and is not used yet, and where a body ends.

use crate::head::head_length;
use std::io::{self, ErrorKind, Read, Write};

/// Bytes moved at a time, and the longest head of a reply.
pub const PIECE: usize = 64 << 10;

/// A chunk's size line is short. Extensions may make it longer, but nobody sends any.
const LONGEST_SIZE_LINE: usize = 256;

/// Bytes that have come over a connection and that nobody has used yet.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHead {
    /// The connection ended.
    Ended,
    /// Nothing came for too long.
    TimedOut,
    /// A line does not end as it must.
    Malformed,
    /// It is longer than allowed.
    TooLong,
}

impl Buffer {
    /// An empty one. The memory is the system's until something comes.
    pub fn new() -> Self {
        Buffer { bytes: vec![0; PIECE].into(), start: 0, end: 0 }
    }

    /// What has come.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Waits until more has come; says how much, and 0 at the end of the connection.
    ///
    /// # Errors
    /// The connection's own, and [`ErrorKind::InvalidData`] if there is no room.
    pub fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        if self.end == self.bytes.len() {
            if self.start == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match from.read(&mut self.bytes[self.end..]) {
                Ok(length) => {
                    self.end += length;
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until a whole head stands at the front, and says how long it is.
    ///
    /// # Errors
    /// Why there is none.
    pub fn head(&mut self, mut from: impl Read, longest: usize) -> Result<usize, NoHead> {
        loop {
            match head_length(self.bytes()) {
                Err(()) => return Err(NoHead::Malformed),
                Ok(Some(length)) if length <= longest => return Ok(length),
                Ok(None) if self.bytes().len() < longest => {}
                Ok(_) => return Err(NoHead::TooLong),
            }
            match self.fill(&mut from) {
                Ok(0) => return Err(NoHead::Ended),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Err(NoHead::TimedOut),
                Err(_) => return Err(NoHead::Ended),
            }
        }
    }
}

/// What a socket's timeout looks like depends on the system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What is still to be read of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Sized(u64),
    /// Chunks: so many bytes of the present one, and whether there is one.
    Chunked {
        /// Bytes that are left of the present chunk.
        left: u64,
        /// A chunk has begun, whose end must be seen before the next size line.
        begun: bool,
    },
    /// Whatever comes before the connection ends.
    UntilClose,
}

/// What stands at the front of the bytes that have come.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Framing to skip, and body bytes after it.
    Data { framing: usize, length: usize },
    /// Framing to skip, and nothing more: the body is over.
    End { framing: usize },
    /// Not enough to tell.
    More,
}

impl Body {
    /// Nothing is left.
    pub const OVER: Body = Body::Sized(0);
    /// Chunks, of which nothing has been read.
    pub const CHUNKED: Body = Body::Chunked { left: 0, begun: false };

    /// Has all of it been read?
    pub fn is_over(self) -> bool {
        self == Body::OVER
    }

    /// The next step, given what has come. `None` if that is malformed.
    fn step(&mut self, bytes: &[u8]) -> Option<Step> {
        let most = bytes.len() as u64;
        Some(match self {
            Body::Sized(0) => Step::End { framing: 0 },
            Body::Chunked { left: 0, begun } => {
                let (framing, size) = match size_line(bytes, *begun)? {
                    Some(line) => line,
                    None => return Some(Step::More),
                };
                if size == 0 {
                    // The trailers, if there are any, end as a head does.
                    let Some(trailers) = head_length(&bytes[framing..]).ok()? else {
                        return Some(Step::More);
                    };
                    *self = Body::OVER;
                    return Some(Step::End { framing: framing + trailers });
                }
                let length = size.min(most - framing as u64);
                *self = Body::Chunked { left: size - length, begun: true };
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

/// How long the framing in front of a chunk is (the end of the chunk before it, if one has `begun`, and the
/// size line), and the chunk's size (RFC 9112 §7.1). `Some(None)` if not all of it has come, `None` if it is
/// malformed.
fn size_line(bytes: &[u8], begun: bool) -> Option<Option<(usize, u64)>> {
    let before: &[u8] = if begun { b"\r\n" } else { b"" };
    let Some(line) = bytes.strip_prefix(before) else {
        return before.starts_with(bytes).then_some(None);
    };
    let Some(end) = line.iter().take(LONGEST_SIZE_LINE).position(|&byte| byte == b'\n') else {
        return (line.len() < LONGEST_SIZE_LINE).then_some(None);
    };
    let text = str::from_utf8(line[..end].strip_suffix(b"\r")?).ok()?;
    let (digits, extension) = text.split_once(';').unwrap_or((text, ""));
    // `from_str_radix` would take a sign.
    let valid = digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && !extension.contains(char::is_control);
    let size = u64::from_str_radix(digits, 16).ok().filter(|_| valid)?;
    Some(Some((before.len() + end + 1, size)))
}

/// Which side a body could not go on for.
#[derive(Debug)]
pub enum Broken {
    /// Where it came from, or what came from there.
    Source(io::Error),
    /// Where it went to.
    Sink,
}

/// Moves a body as it arrives, in chunks or as it is. What stands in `out`, the head, goes before it.
///
/// # Errors
/// Which side failed. No end has been forged then.
pub fn relay(
    body: &mut Body,
    chunked: bool,
    (mut from, buffer): (impl Read, &mut Buffer),
    (mut to, out): (impl Write, &mut Vec<u8>),
) -> Result<(), Broken> {
    // With a length, the first bytes follow at once, and go with the head in one write. Without, the head must
    // not wait for them: it may be an event stream.
    let mut hold = matches!(body, Body::Sized(_)) && buffer.bytes().is_empty();
    loop {
        let Some(step) = body.step(buffer.bytes()) else {
            return broken(ErrorKind::InvalidData.into(), to, out);
        };
        match step {
            Step::Data { framing, length } => {
                buffer.consume(framing);
                append(&buffer.bytes()[..length], chunked, out);
                buffer.consume(length);
            }
            Step::End { framing } => {
                buffer.consume(framing);
                if chunked {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
                return flush(&mut to, out);
            }
            Step::More => {
                if !std::mem::take(&mut hold) {
                    flush(&mut to, out)?;
                }
                match buffer.fill(&mut from) {
                    Ok(0) if *body == Body::UntilClose => *body = Body::OVER,
                    Ok(0) => return broken(ErrorKind::UnexpectedEof.into(), to, out),
                    Ok(_) => {}
                    Err(error) => return broken(error, to, out),
                }
            }
        }
    }
}

/// The source has failed: what came before that still goes out, so that the end is seen to be missing.
fn broken(error: io::Error, to: impl Write, out: &mut Vec<u8>) -> Result<(), Broken> {
    flush(to, out)?;
    Err(Broken::Source(error))
}

fn append(piece: &[u8], chunked: bool, out: &mut Vec<u8>) {
    if !chunked {
        out.extend_from_slice(piece);
    } else if !piece.is_empty() {
        // An empty chunk would be the last one.
        let _ = write!(out, "{:x}\r\n", piece.len()); // cannot fail into memory
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
}

fn flush(mut to: impl Write, out: &mut Vec<u8>) -> Result<(), Broken> {
    let sent = to.write_all(out);
    out.clear();
    sent.map_err(|_| Broken::Sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a network may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = into.len().min(1);
            self.0.read(&mut into[..most])
        }
    }

    /// What comes out, whether it ended well, and what is left, when all bytes come at once. One at a time must
    /// come to the same body.
    fn relayed(mut body: Body, chunked: bool, bytes: &str) -> (String, bool, String) {
        let (mut buffer, mut sent, mut out) = (Buffer::new(), Vec::new(), b"head ".to_vec());
        let from = (bytes.as_bytes(), &mut buffer);
        let well = relay(&mut { body }, chunked, from, (&mut sent, &mut out)).is_ok();
        let left = String::from_utf8_lossy(buffer.bytes()).into_owned();
        let (mut buffer, mut trickled, mut out) = (Buffer::new(), Vec::new(), b"head ".to_vec());
        let from = (Trickle(bytes.as_bytes()), &mut buffer);
        let slowly = relay(&mut body, chunked, from, (&mut trickled, &mut out)).is_ok();
        assert_eq!(well, slowly, "{bytes:?}");
        if well && !chunked {
            assert_eq!(sent, trickled, "{bytes:?}");
        }
        (String::from_utf8_lossy(&sent).into_owned(), well, left)
    }

    #[test]
    fn bodies_go_on_in_the_framing_that_is_asked_for() {
        let (sized, close) = (Body::Sized(5), Body::UntilClose);
        for (body, chunked, bytes, sent, left) in [
            (sized, false, "helloGET", "head hello", "GET"),
            (Body::OVER, true, "", "head 0\r\n\r\n", ""),
            (Body::CHUNKED, false, "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\nGET", "head hello!", "GET"),
            (
                Body::CHUNKED,
                true,
                "05\r\nhello\r\n0\r\nA: b\r\n\r\nGET",
                "head 5\r\nhello\r\n0\r\n\r\n",
                "GET",
            ),
            (close, false, "hello", "head hello", ""),
            (close, true, "hello", "head 5\r\nhello\r\n0\r\n\r\n", ""),
            (close, true, "", "head 0\r\n\r\n", ""),
        ] {
            assert_eq!(relayed(body, chunked, bytes), (sent.into(), true, left.into()), "{bytes:?}");
        }
    }

    #[test]
    fn what_breaks_off_or_is_malformed_has_no_end() {
        for bytes in [
            "",
            "5\r\nhel",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0\r\n",
            "5\r\nhello\r\n0\r\nA: b\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "\r\n\r\n",
            "10000000000000000\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
        ] {
            let (sent, well, _) = relayed(Body::CHUNKED, true, bytes);
            assert!(!well && !sent.contains("0\r\n"), "{bytes:?} became {sent:?}");
        }
        assert!(!relayed(Body::CHUNKED, true, &"5".repeat(LONGEST_SIZE_LINE)).1);
        assert_eq!(relayed(Body::Sized(9), false, "hello"), ("head hello".into(), false, String::new()));
    }

    #[test]
    fn a_head_may_be_as_long_as_allowed_and_no_longer() {
        let head = "a: b\r\n\r\n";
        for (longest, found) in [(8, Ok(8)), (7, Err(NoHead::TooLong))] {
            assert_eq!(Buffer::new().head(head.as_bytes(), longest), found);
            assert_eq!(Buffer::new().head(Trickle(head.as_bytes()), longest), found);
        }
        assert_eq!(Buffer::new().head(&b"a: b\r\n"[..], 8), Err(NoHead::Ended));
        assert_eq!(Buffer::new().head(&b"a: b\n"[..], 8), Err(NoHead::Malformed));
    }

    #[test]
    fn a_full_buffer_makes_room_or_says_so() {
        let (mut buffer, bytes) = (Buffer::new(), vec![b'x'; PIECE]);
        assert_eq!(buffer.fill(&bytes[..]).ok(), Some(PIECE));
        assert_eq!(buffer.fill(&bytes[..]).map_err(|error| error.kind()), Err(ErrorKind::InvalidData));
        buffer.consume(1);
        assert_eq!(buffer.fill(&b"yz"[..]).ok(), Some(1));
        assert_eq!(buffer.bytes().last(), Some(&b'y'));
    }
}

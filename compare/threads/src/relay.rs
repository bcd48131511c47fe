//! Relays bytes from one connection to another through a buffer.

use crate::body::{Body, Step};
use crate::head::head_length;
use std::io::{self, ErrorKind, Read, Write};

/// Size of a buffer in bytes, and the longest head of a reply.
pub const BUFFER_SIZE: usize = 64 << 10;

/// Bytes received from a connection and not consumed yet.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The reason why a head could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The connection closed.
    Ended,
    /// The read timed out.
    TimedOut,
    /// A line end is malformed.
    Malformed,
    /// The head is longer than allowed.
    TooLong,
}

impl Buffer {
    /// Returns an empty buffer. The kernel allocates its pages on first use.
    pub fn new() -> Self {
        Buffer { bytes: vec![0; BUFFER_SIZE].into(), start: 0, end: 0 }
    }

    /// Returns the bytes not consumed yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Discards the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Discards everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Reads more bytes and returns their number, which is 0 if the connection has closed.
    ///
    /// # Errors
    /// Returns the read error, or [`ErrorKind::InvalidData`] if the buffer is full.
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

    /// Reads until the buffer starts with a complete head, and returns the head's length.
    ///
    /// # Errors
    /// Returns the reason if no head could be read.
    pub fn head(&mut self, mut from: impl Read, longest: usize) -> Result<usize, HeadError> {
        loop {
            match head_length(self.bytes()) {
                Err(()) => return Err(HeadError::Malformed),
                Ok(Some(length)) if length <= longest => return Ok(length),
                Ok(None) if self.bytes().len() < longest => {}
                Ok(_) => return Err(HeadError::TooLong),
            }
            match self.fill(&mut from) {
                Ok(0) => return Err(HeadError::Ended),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Err(HeadError::TimedOut),
                Err(_) => return Err(HeadError::Ended),
            }
        }
    }
}

/// Returns whether an error is a socket timeout, whose kind depends on the system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The side that interrupted a relay.
#[derive(Debug)]
pub enum RelayError {
    /// Reading failed, or the bytes were malformed.
    Source(io::Error),
    /// Writing failed.
    Sink,
}

/// Relays a body as it arrives, optionally in chunks. `out` holds the head, which is sent first.
///
/// # Errors
/// Returns the side that failed. The receiver can then tell that the body is incomplete.
pub fn relay(
    body: &mut Body,
    chunked: bool,
    (mut from, buffer): (impl Read, &mut Buffer),
    (mut to, out): (impl Write, &mut Vec<u8>),
) -> Result<(), RelayError> {
    // A body with a length follows at once, so its first bytes and the head leave in one write. Without a length
    // the head must not wait, because the reply may be an event stream.
    let mut delay_flush = matches!(body, Body::Sized(_)) && buffer.bytes().is_empty();
    loop {
        let Some(step) = body.step(buffer.bytes()) else {
            return broken(ErrorKind::InvalidData.into(), to, out);
        };
        match step {
            Step::Data { framing, length } => {
                buffer.consume(framing);
                append_data(&buffer.bytes()[..length], chunked, out);
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
                if !std::mem::take(&mut delay_flush) {
                    flush(&mut to, out)?;
                }
                match buffer.fill(&mut from) {
                    Ok(0) if *body == Body::UntilClose => *body = Body::DONE,
                    Ok(0) => return broken(ErrorKind::UnexpectedEof.into(), to, out),
                    Ok(_) => {}
                    Err(error) => return broken(error, to, out),
                }
            }
        }
    }
}

/// Handles a failed source: forwards what arrived, so that the receiver sees an incomplete body.
fn broken(error: io::Error, to: impl Write, out: &mut Vec<u8>) -> Result<(), RelayError> {
    flush(to, out)?;
    Err(RelayError::Source(error))
}

fn append_data(data: &[u8], chunked: bool, out: &mut Vec<u8>) {
    if !chunked {
        out.extend_from_slice(data);
    } else if !data.is_empty() {
        // An empty chunk would end the body.
        let _ = write!(out, "{:x}\r\n", data.len()); // writing to memory cannot fail
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

fn flush(mut to: impl Write, out: &mut Vec<u8>) -> Result<(), RelayError> {
    let sent = to.write_all(out);
    out.clear();
    sent.map_err(|_| RelayError::Sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::MAX_SIZE_LINE;

    /// Yields one byte per read, as a network may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = into.len().min(1);
            self.0.read(&mut into[..most])
        }
    }

    /// Returns the bytes sent, whether the relay succeeded, and the bytes left over, with all bytes in one read.
    /// Asserts that one byte per read gives the same body.
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
    fn relays_bodies_in_the_requested_framing() {
        let (sized, close) = (Body::Sized(5), Body::UntilClose);
        for (body, chunked, bytes, sent, left) in [
            (sized, false, "helloGET", "head hello", "GET"),
            (Body::DONE, true, "", "head 0\r\n\r\n", ""),
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
    fn never_ends_a_truncated_or_malformed_body() {
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
        assert!(!relayed(Body::CHUNKED, true, &"5".repeat(MAX_SIZE_LINE)).1);
        assert_eq!(relayed(Body::Sized(9), false, "hello"), ("head hello".into(), false, String::new()));
    }

    #[test]
    fn accepts_a_head_up_to_the_limit() {
        let head = "a: b\r\n\r\n";
        for (longest, found) in [(8, Ok(8)), (7, Err(HeadError::TooLong))] {
            assert_eq!(Buffer::new().head(head.as_bytes(), longest), found);
            assert_eq!(Buffer::new().head(Trickle(head.as_bytes()), longest), found);
        }
        assert_eq!(Buffer::new().head(&b"a: b\r\n"[..], 8), Err(HeadError::Ended));
        assert_eq!(Buffer::new().head(&b"a: b\n"[..], 8), Err(HeadError::Malformed));
    }

    #[test]
    fn a_full_buffer_makes_room_or_returns_an_error() {
        let (mut buffer, bytes) = (Buffer::new(), vec![b'x'; BUFFER_SIZE]);
        assert_eq!(buffer.fill(&bytes[..]).ok(), Some(BUFFER_SIZE));
        assert_eq!(buffer.fill(&bytes[..]).map_err(|error| error.kind()), Err(ErrorKind::InvalidData));
        buffer.consume(1);
        assert_eq!(buffer.fill(&b"yz"[..]).ok(), Some(1));
        assert_eq!(buffer.bytes().last(), Some(&b'y'));
    }
}

//! Parses a reply incrementally, without I/O.

use std::mem;

/// Longest accepted head in bytes.
const MAX_HEAD_LEN: usize = 64 << 10;

/// A reply being parsed.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The part of the head received so far, if it spans several reads.
    head: Vec<u8>,
    state: State,
    /// The status; 0 until the head is complete.
    pub status: u16,
    /// Bytes of body so far.
    pub body: u64,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Bytes of body still missing.
    Sized(u64),
    /// The body ends with the connection.
    UntilEnd,
}

/// The reason why a reply is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not HTTP, or more bytes than announced.
    Malformed,
    /// Chunked. The backends send no chunks, so such a balancer does more than relay.
    Chunked,
    /// It ended early.
    CutShort,
}

impl ReplyParser {
    /// Returns whether any byte has arrived.
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.head.is_empty()
    }

    /// Parses further bytes. Returns whether the reply is complete.
    ///
    /// # Errors
    /// Returns an error if the reply is invalid.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        match self.state {
            State::Head if self.head.is_empty() => self.read_head(bytes),
            State::Head => {
                let mut held = mem::take(&mut self.head);
                held.extend_from_slice(bytes);
                self.read_head(&held)
            }
            _ => self.read_body(bytes),
        }
    }

    /// Handles the end of the connection. Returns whether it completes the reply.
    ///
    /// # Errors
    /// Returns an error if the reply was incomplete.
    pub fn end(&mut self) -> Result<bool, Broken> {
        match self.state {
            State::UntilEnd => Ok(true),
            _ if self.has_begun() => Err(Broken::CutShort),
            _ => Ok(false),
        }
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let size = match head.parse(bytes) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_LEN => {
                self.head = bytes.to_vec();
                return Ok(false);
            }
            _ => return Err(Broken::Malformed),
        };
        self.status = head.code.unwrap_or_default();
        self.keep_alive = head.version == Some(1);
        self.state = State::UntilEnd;
        for field in head.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                let length = str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
                self.state = State::Sized(length.ok_or(Broken::Malformed)?);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Broken::Chunked);
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.keep_alive = field.value.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        self.keep_alive &= self.state != State::UntilEnd;
        self.read_body(&bytes[size..])
    }

    fn read_body(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        self.body += bytes.len() as u64;
        match &mut self.state {
            State::Sized(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(Broken::Malformed)?;
                Ok(*left == 0)
            }
            State::Head | State::UntilEnd => Ok(false),
        }
    }
}

impl Broken {
    /// Returns the name used in the raw data.
    pub fn kind(self) -> &'static str {
        match self {
            Broken::Malformed => "malformed",
            Broken::Chunked => "chunked",
            Broken::CutShort => "cut-short",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn completes_a_reply_with_its_last_byte_wherever_the_reads_split() {
        for cut in 0..SIZED.len() {
            let mut reply = ReplyParser::default();
            assert_eq!(reply.feed(&SIZED[..cut]), Ok(false));
            assert_eq!(reply.has_begun(), cut > 0);
            assert_eq!(reply.feed(&SIZED[cut..]), Ok(true));
            assert_eq!((reply.status, reply.body, reply.keep_alive), (200, 5, true));
        }
    }

    #[test]
    fn the_end_of_the_connection_completes_a_reply_only_without_a_length() {
        let mut cut = ReplyParser::default();
        assert_eq!(cut.end(), Ok(false), "nothing had begun");
        cut.feed(&SIZED[..SIZED.len() - 1]).unwrap();
        assert_eq!(cut.end(), Err(Broken::CutShort));
        let mut open = ReplyParser::default();
        open.feed(b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\n\r\nsorry").unwrap();
        assert_eq!((open.end(), open.status, open.keep_alive), (Ok(true), 503, false));
    }

    #[test]
    fn rejects_an_invalid_reply() {
        for (bytes, broken) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"[..], Broken::Malformed),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Broken::Chunked),
            (b"SSH-2.0-x\r\n", Broken::Malformed),
        ] {
            assert_eq!(ReplyParser::default().feed(bytes), Err(broken));
        }
    }

    #[test]
    fn honours_connection_close() {
        let mut reply = ReplyParser::default();
        let whole = reply.feed(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!((whole, reply.keep_alive), (Ok(true), false));
    }
}

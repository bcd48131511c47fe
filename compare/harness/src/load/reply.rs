//! Reading a reply: a pure state machine over the bytes as they come.

use std::mem;

/// The longest head that is waited for.
const LONGEST_HEAD: usize = 64 << 10;

/// A reply that is being read.
#[derive(Debug, Default)]
pub struct Reply {
    /// The head, as far as it has come in more than one piece.
    head: Vec<u8>,
    state: State,
    /// Its status, once the head is there.
    pub status: u16,
    /// Bytes of body so far.
    pub body: u64,
    /// May the connection be used again?
    pub keeps: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of body are missing.
    Sized(u64),
    /// The body goes on until the connection ends.
    UntilEnd,
}

/// Why a reply is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not HTTP, or more bytes than it announces.
    Malformed,
    /// In chunks. The backends send none, so a balancer that makes some has done more than relay.
    Chunked,
    /// It ended before it was whole.
    CutShort,
}

impl Reply {
    /// Has any byte of it come?
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.head.is_empty()
    }

    /// Takes in further bytes. True when it is whole.
    ///
    /// # Errors
    /// When it cannot be whole any more.
    pub fn take_in(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
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

    /// The connection has ended. True when that makes it whole.
    ///
    /// # Errors
    /// When something was missing.
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
            Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => {
                self.head = bytes.to_vec();
                return Ok(false);
            }
            _ => return Err(Broken::Malformed),
        };
        self.status = head.code.unwrap_or_default();
        self.keeps = head.version == Some(1);
        self.state = State::UntilEnd;
        for field in head.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                let length = str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
                self.state = State::Sized(length.ok_or(Broken::Malformed)?);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Broken::Chunked);
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.keeps = field.value.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        self.keeps &= self.state != State::UntilEnd;
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
    /// A word for it.
    pub fn word(self) -> &'static str {
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
    fn a_reply_is_whole_with_its_last_byte_however_it_is_cut() {
        for cut in 0..SIZED.len() {
            let mut reply = Reply::default();
            assert_eq!(reply.take_in(&SIZED[..cut]), Ok(false));
            assert_eq!(reply.has_begun(), cut > 0);
            assert_eq!(reply.take_in(&SIZED[cut..]), Ok(true));
            assert_eq!((reply.status, reply.body, reply.keeps), (200, 5, true));
        }
    }

    #[test]
    fn the_end_of_the_connection_ends_a_reply_only_if_it_has_no_length() {
        let mut cut = Reply::default();
        assert_eq!(cut.end(), Ok(false), "nothing had begun");
        cut.take_in(&SIZED[..SIZED.len() - 1]).unwrap();
        assert_eq!(cut.end(), Err(Broken::CutShort));
        let mut open = Reply::default();
        open.take_in(b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\n\r\nsorry").unwrap();
        assert_eq!((open.end(), open.status, open.keeps), (Ok(true), 503, false));
    }

    #[test]
    fn what_cannot_become_whole_is_broken() {
        for (bytes, broken) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"[..], Broken::Malformed),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Broken::Chunked),
            (b"SSH-2.0-x\r\n", Broken::Malformed),
        ] {
            assert_eq!(Reply::default().take_in(bytes), Err(broken));
        }
    }

    #[test]
    fn connection_close_is_heeded() {
        let mut reply = Reply::default();
        let whole =
            reply.take_in(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!((whole, reply.keeps), (Ok(true), false));
    }
}

//! Step 6: the relay of a reply to its client. One writer for all edges.
//!
//! The edge says what the connection allows, the request and the reply decide the [`Framing`], and
//! [`relay`] moves the bytes as they arrive. When the body's length is known, the head and the first
//! body bytes leave in one write; when it is not, the head leaves at once, so that an event stream is
//! not delayed.

use crate::edge::client_stream::ClientStream;
use crate::edge::framing::{Delimiter, Framing};
use crate::edge::response;
use std::io::{self, Read};

/// Body bytes moved at a time. Larger blocks save system calls, smaller ones memory: each worker has one
/// such buffer.
const BLOCK: usize = 128 << 10;

/// Room before a chunk's data for its size line. Seven bytes would suffice; but on some processors a copy is
/// fifteen times slower if its destination begins a few bytes further into its page than its source.
const SIZE_LINE: usize = 64;

/// A failed relay, by the side that failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The backend broke off its reply, or was too slow.
    #[error("the backend broke off its reply: {0}")]
    Backend(io::Error),
    /// The client is gone, or does not take its reply.
    #[error("the client did not take its reply: {0}")]
    Client(io::Error),
}

/// The buffers for relaying a reply. A worker uses the same ones for every reply.
#[derive(Debug)]
pub struct ReplyBuffers {
    head: Vec<u8>,
    /// Room for one chunk: its size line, a block of data, and the line end after it.
    block: Box<[u8]>,
}

impl Default for ReplyBuffers {
    fn default() -> Self {
        ReplyBuffers { head: Vec::with_capacity(1024), block: vec![0; SIZE_LINE + BLOCK + 2].into() }
    }
}

/// Relays a whole reply to the client, and counts the body bytes in `sent`.
///
/// # Errors
/// When either side fails. No terminator is written then: the caller must cut the connection.
pub fn relay(
    client: &mut dyn ClientStream,
    reply: &http::response::Parts,
    framing: Framing,
    body: &mut dyn Read,
    buffers: &mut ReplyBuffers,
    sent: &mut u64,
) -> Result<(), RelayError> {
    let ReplyBuffers { head, block } = buffers;
    head.clear();
    response::write_head(reply, framing, head);
    let sized = matches!(framing.delimiter, Delimiter::Sized(_));
    let length = match framing.delimiter {
        Delimiter::Bodiless => 0,
        Delimiter::Sized(length) => length,
        Delimiter::Chunked | Delimiter::Close => u64::MAX,
    };
    // An unsent head is copied before the first bytes of its body and leaves with them.
    let mut unsent_head = if sized && length > 0 && head.len() < BLOCK / 2 { head.len() } else { 0 };
    if unsent_head == 0 {
        client.write(head).map_err(RelayError::Client)?;
    }
    block[..unsent_head].copy_from_slice(&head[..unsent_head]);
    while *sent < length {
        // The head may be shorter than the room for a size line, and must not be followed by a gap.
        let start = if unsent_head > 0 { unsent_head } else { SIZE_LINE };
        let room = (BLOCK - unsent_head).min(usize::try_from(length - *sent).unwrap_or(BLOCK));
        let n = body.read(&mut block[start..start + room]).map_err(RelayError::Backend)?;
        match n {
            0 if sized => return Err(RelayError::Backend(io::ErrorKind::UnexpectedEof.into())),
            0 => break,
            _ => *sent += n as u64,
        }
        let bytes = match framing.delimiter {
            Delimiter::Chunked => as_chunk(block, n),
            _ if unsent_head > 0 => &block[..start + n],
            _ => &block[start..start + n],
        };
        client.write(bytes).map_err(RelayError::Client)?;
        unsent_head = 0;
    }
    if framing.delimiter == Delimiter::Chunked {
        client.write(b"0\r\n\r\n").map_err(RelayError::Client)?;
    }
    // ureq returns a connection to its pool only on the read that reports the end of the body. The
    // client has its whole reply by now, so the result of this read does not matter.
    let _ = body.read(&mut [0]);
    Ok(())
}

/// Returns the chunk of `n` bytes: its size line, the data, and the line end after it.
fn as_chunk(block: &mut [u8], n: usize) -> &[u8] {
    let size = format!("{n:x}\r\n");
    let (start, end) = (SIZE_LINE - size.len(), SIZE_LINE + n);
    block[start..SIZE_LINE].copy_from_slice(size.as_bytes());
    block[end..end + 2].copy_from_slice(b"\r\n");
    &block[start..end + 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::framing::AfterReply;
    use crate::error::Refusal;
    use http::{Version, request, response};
    use proptest::prelude::*;

    /// A client that records each write.
    #[derive(Default)]
    struct RecordingClient(Vec<Vec<u8>>);

    impl ClientStream for RecordingClient {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn may_keep_alive(&self) -> bool {
            true
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.push(bytes.to_vec());
            Ok(())
        }
        fn finish(self: Box<Self>, _: AfterReply) {}
        fn refuse(self: Box<Self>, _: Refusal, _: Option<&request::Parts>) {}
    }

    fn request(method: &str, version: Version, connection: &str) -> request::Parts {
        let request = http::Request::builder().method(method).version(version);
        request.header("connection", connection).body(()).unwrap().into_parts().0
    }

    fn reply(status: u16) -> response::Parts {
        http::Response::builder().status(status).header("x-a", "1").body(()).unwrap().into_parts().0
    }

    fn relayed(
        request: &request::Parts,
        status: u16,
        length: Option<u64>,
        mut body: &[u8],
    ) -> (Result<u64, RelayError>, RecordingClient) {
        let (head, mut client) = (reply(status), RecordingClient::default());
        let framing = Framing::new(request, head.status, length, true);
        let mut sent = 0;
        let outcome = relay(&mut client, &head, framing, &mut body, &mut ReplyBuffers::default(), &mut sent);
        (outcome.map(|()| sent), client)
    }

    #[test]
    fn sends_a_sized_reply_in_one_write_and_the_head_of_a_stream_at_once() {
        let get = request("GET", Version::HTTP_11, "");
        let (_, client) = relayed(&get, 200, Some(5), b"hello");
        assert_eq!(client.0.len(), 1);
        let text = String::from_utf8(client.0.concat()).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nX-A: 1\r\nDate: ") && text.ends_with("\r\n\r\nhello"),
            "{text}"
        );
        let (_, client) = relayed(&get, 200, None, b"hello");
        assert!(client.0[0].ends_with(b"\r\n\r\n"));
        assert_eq!(client.0[1..].concat(), b"5\r\nhello\r\n0\r\n\r\n");
    }

    #[test]
    fn sends_nothing_between_a_short_head_and_its_body() {
        let get = request("GET", Version::HTTP_11, "");
        let mut head = reply(200);
        head.headers.insert("date", "x".parse().unwrap());
        let framing = Framing::new(&get, head.status, Some(5), true);
        let (mut client, mut sent) = (RecordingClient::default(), 0);
        let buffers = &mut ReplyBuffers::default();
        relay(&mut client, &head, framing, &mut &b"hello"[..], buffers, &mut sent).unwrap();
        let text = String::from_utf8(client.0.concat()).unwrap();
        assert_eq!(text, "HTTP/1.1 200 OK\r\nX-A: 1\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello");
    }

    #[test]
    fn fails_without_a_terminator_when_the_body_ends_early() {
        let (outcome, client) = relayed(&request("GET", Version::HTTP_11, ""), 200, Some(9), b"hello");
        assert!(matches!(outcome, Err(RelayError::Backend(_))));
        assert!(client.0.concat().ends_with(b"hello"));
    }

    #[test]
    fn omits_the_length_on_204_and_keeps_it_in_reply_to_head() {
        let (_, client) = relayed(&request("GET", Version::HTTP_11, ""), 204, Some(0), b"");
        assert!(!String::from_utf8(client.0.concat()).unwrap().contains("Content-Length"));
        let (_, client) = relayed(&request("HEAD", Version::HTTP_11, ""), 200, Some(7), b"");
        assert!(String::from_utf8(client.0.concat()).unwrap().ends_with("Content-Length: 7\r\n\r\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn relays_any_body_whole_in_any_framing(body in proptest::collection::vec(any::<u8>(), 0..70_000), framing in 0..3) {
            let version = if framing == 2 { Version::HTTP_10 } else { Version::HTTP_11 };
            let length = (framing == 0).then_some(body.len() as u64);
            let (outcome, client) = relayed(&request("GET", version, ""), 200, length, &body);
            prop_assert_eq!(outcome.unwrap(), body.len() as u64);
            let bytes = client.0.concat();
            let start = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let got = if framing == 1 { unchunk(&bytes[start..]) } else { bytes[start..].to_vec() };
            prop_assert_eq!(got, body);
        }
    }

    fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
            let start = end + 2;
            assert_eq!(&bytes[start + size..start + size + 2], b"\r\n");
            if size == 0 {
                assert_eq!(bytes.len(), start + 2);
                return body;
            }
            body.extend_from_slice(&bytes[start..start + size]);
            bytes = &bytes[start + size + 2..];
        }
    }
}

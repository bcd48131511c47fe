//! The framing of a reply for its client, and the fate of the connection after it. Pure.

use crate::edge::hop_by_hop;
use http::{Method, StatusCode, Version, request};

/// The delimiter of a reply's body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// There is no body, whatever the headers say: HEAD, 204, 304.
    Bodiless,
    /// A body of this many bytes.
    Sized(u64),
    /// The last chunk.
    Chunked,
    /// The end of the connection.
    Close,
}

/// The action on the connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReply {
    /// Wait for the next request.
    KeepAlive,
    /// Deliver the reply, then close.
    Close,
    /// Cut the connection visibly: the client must not take what it has for a whole message.
    Abort,
}

/// The framing of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The delimiter of the body.
    pub delimiter: Delimiter,
    /// The length that the head announces, if any.
    pub(super) length: Option<u64>,
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// Whether the head says `Connection: keep-alive`, which HTTP/1.0 clients need (RFC 9112 §9.3).
    pub(super) says_keep_alive: bool,
}

impl Framing {
    /// Decides the framing of a reply to `request`. `length` is what the backend announced;
    /// `may_keep_alive` is whether the edge allows another request on the connection.
    pub fn new(
        request: &request::Parts,
        status: StatusCode,
        length: Option<u64>,
        may_keep_alive: bool,
    ) -> Self {
        let is_http_1_0 = request.version == Version::HTTP_10;
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        let delimiter = match length {
            _ if bodiless || status == StatusCode::NOT_MODIFIED || request.method == Method::HEAD => {
                Delimiter::Bodiless
            }
            Some(length) => Delimiter::Sized(length),
            None if is_http_1_0 => Delimiter::Close,
            None => Delimiter::Chunked,
        };
        let client_keeps_alive = if is_http_1_0 {
            hop_by_hop::connection_names(&request.headers, "keep-alive")
        } else {
            !hop_by_hop::connection_names(&request.headers, "close")
        };
        let keep_alive = client_keeps_alive && may_keep_alive && delimiter != Delimiter::Close;
        Framing {
            delimiter,
            length: length.filter(|_| !bodiless), // no Content-Length on 204 (RFC 9110 §8.6)
            keep_alive,
            says_keep_alive: keep_alive && is_http_1_0,
        }
    }

    /// Returns the framing of a reply to a request whose head was refused: a body of `length` bytes, and
    /// the connection closes after it.
    pub(super) fn closing(length: u64) -> Self {
        Framing {
            delimiter: Delimiter::Sized(length),
            length: Some(length),
            keep_alive: false,
            says_keep_alive: false,
        }
    }

    /// Returns what happens to the connection after a whole reply.
    pub fn after_reply(&self) -> AfterReply {
        if self.keep_alive { AfterReply::KeepAlive } else { AfterReply::Close }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, version: Version, connection: &str) -> request::Parts {
        let request = http::Request::builder().method(method).version(version);
        request.header("connection", connection).body(()).unwrap().into_parts().0
    }

    #[test]
    fn frames_a_reply_by_request_status_and_length() {
        use AfterReply::KeepAlive;
        use Delimiter::{Bodiless, Chunked, Close, Sized};
        let (v11, v10) = (Version::HTTP_11, Version::HTTP_10);
        for (method, version, connection, status, length, delimiter, after) in [
            ("GET", v11, "", 200, Some(5), Sized(5), KeepAlive),
            ("GET", v11, "close", 200, Some(5), Sized(5), AfterReply::Close),
            ("GET", v11, "", 200, None, Chunked, KeepAlive),
            ("GET", v10, "", 200, Some(5), Sized(5), AfterReply::Close),
            ("GET", v10, "keep-alive", 200, Some(5), Sized(5), KeepAlive),
            ("GET", v10, "keep-alive", 200, None, Close, AfterReply::Close),
            ("HEAD", v11, "", 200, Some(5), Bodiless, KeepAlive),
            ("HEAD", v10, "keep-alive", 200, None, Bodiless, KeepAlive),
            ("GET", v11, "", 204, Some(0), Bodiless, KeepAlive),
            ("GET", v11, "", 304, Some(5), Bodiless, KeepAlive),
        ] {
            let request = request(method, version, connection);
            let framing = Framing::new(&request, StatusCode::from_u16(status).unwrap(), length, true);
            assert_eq!(
                (framing.delimiter, framing.after_reply()),
                (delimiter, after),
                "{method} {version:?} {status}"
            );
            let closing = Framing::new(&request, StatusCode::OK, length, false);
            assert_eq!(closing.after_reply(), AfterReply::Close);
        }
    }
}

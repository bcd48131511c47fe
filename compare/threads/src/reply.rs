//! Parses the head of a backend's reply and writes the head for the client.

use crate::body::Body;
use crate::head::{Head, append, is_text, join, length_of};
use crate::request::{Request, connection_header};

/// A backend's reply, after its head has been parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whether the backend keeps its connection open.
    pub reusable: bool,
    /// Whether the client's connection can serve another request.
    pub keep_alive: bool,
    /// Whether the body is relayed in chunks.
    pub chunked: bool,
    /// The part of the body not read yet.
    pub body: Body,
}

impl Reply {
    /// Parses a complete head and appends the client's head to `out`. Returns `None` for an interim reply (1xx),
    /// which is not relayed. `request_read` is whether all of the request has been read.
    ///
    /// # Errors
    /// Returns an error if the head is malformed or ambiguous.
    pub fn parse(
        bytes: &[u8],
        request: &Request,
        request_read: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Self>, ()> {
        let head = Head::parse(bytes).ok_or(())?;
        let (http_1_0, status) = status_line(head.line).ok_or(())?;
        let code = status.get(..3).and_then(length_of).ok_or(())?;
        match code {
            101 => return Err(()), // the request asked for no other protocol
            100..=199 => return Ok(None),
            200..=999 => {}
            _ => return Err(()),
        }
        let announced = Body::announced(&head, http_1_0).map_err(|_| ())?;
        let body = match announced {
            _ if request.is_head || matches!(code, 204 | 304) => Body::DONE,
            Some(body) => body,
            None => Body::UntilClose,
        };
        let unsized_body = !matches!(body, Body::Sized(_));
        let chunked = unsized_body && !request.http_1_0;
        // Without a length or chunks, the body ends with the connection.
        let keep_alive = request.keep_alive && request_read && (chunked || !unsized_body);
        join(out, &[b"HTTP/1.1 ", status, b"\r\n"]);
        head.write_end_to_end(out, |_| false);
        match announced {
            _ if chunked => Body::CHUNKED.write_header(out),
            // A 204 has no Content-Length (RFC 9110 §8.6).
            Some(length @ Body::Sized(_)) if code != 204 => length.write_header(out),
            _ => {}
        }
        append(out, format_args!("{}\r\n", connection_header(request.http_1_0, keep_alive)));
        let reusable = head.allows_keep_alive(http_1_0) && body != Body::UntilClose;
        Ok(Some(Reply { reusable, keep_alive, chunked, body }))
    }
}

/// Returns whether the reply is HTTP/1.0, and its code and reason, or `None` if the line is malformed. The reason is optional.
fn status_line(line: &[u8]) -> Option<(bool, &[u8])> {
    let (version, status) = line.split_at_checked(9)?;
    let valid = status.iter().all(|&byte| byte == b'\t' || is_text(byte))
        && matches!(status.get(3), None | Some(b' '));
    match version {
        b"HTTP/1.1 " if valid => Some((false, status)),
        b"HTTP/1.0 " if valid => Some((true, status)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]
mod tests {
    use super::*;

    /// Returns the head that a client receives for this reply to a GET.
    fn relayed(head: &str) -> Result<String, ()> {
        let mut out = Vec::new();
        let request = Request::parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "192.0.2.7").unwrap();
        Reply::parse(format!("{head}\r\n").as_bytes(), &request, true, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn normalizes_the_framing_of_a_reply() {
        for (head, framing) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 05\r\n", "Content-Length: 5\r\n"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n"),
            ("HTTP/1.0 200 OK\r\n", "Transfer-Encoding: chunked\r\n"),
        ] {
            assert_eq!(relayed(head), Ok(format!("HTTP/1.1 200 OK\r\n{framing}\r\n")), "{head}");
        }
        assert_eq!(relayed("HTTP/1.1 204 \r\nContent-Length: 0\r\n"), Ok("HTTP/1.1 204 \r\n\r\n".into()));
        assert_eq!(relayed("HTTP/1.1 103 Early Hints\r\n"), Ok(String::new()));
    }

    #[test]
    fn rejects_a_malformed_reply() {
        for head in [
            "HTTP/2 200 OK\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1 099 x\r\n",
            "HTTP/1.1 +20 x\r\n",
            "HTTP/1.1  200 OK\r\n",
            "HTTP/1.1 200 O\rK\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(relayed(head), Err(()), "{head:?}");
        }
    }
}

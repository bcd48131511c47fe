//! Begins a reply while bytes of the request body are unread.

use std::io;
use tiny_http::{Header, Response, StatusCode};

/// A reply's head in the form for `Request::upgrade`, the one tiny_http call that hands over the
/// connection without reading the rest of the body.
pub struct UpgradeHead {
    /// The status, and the headers that tiny_http would add otherwise.
    pub response: Response<io::Empty>,
    /// The value of the `Upgrade` header, followed by the other headers as lines.
    pub fields: String,
}

/// Splits `bytes`, which begin with a whole reply head, into that head in the form for an upgrade and what
/// follows it.
///
/// tiny_http's `into_writer` waits for unread body bytes and its `respond` drops headers that are needed;
/// `upgrade` writes a head and hands over the connection. Hence the odd but valid `Upgrade` header, whose
/// value is followed by the other headers.
pub fn as_upgrade(bytes: &[u8]) -> (UpgradeHead, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (head, body) = bytes.split_at(end);
    // tiny_http accepts ASCII only.
    let head: String =
        head.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(502);
    let mut response = Response::empty(StatusCode(status));
    let mut fields = String::from("HTTP/1.1");
    for line in lines {
        // tiny_http adds these two itself unless they are set on its response.
        let added = ["Date: ", "Server: "].iter().any(|name| line.starts_with(name));
        match line.parse::<Header>() {
            Ok(header) if added => response.add_header(header),
            _ => fields.extend(["\r\n", line]),
        }
    }
    (UpgradeHead { response, fields }, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_head_from_its_body() {
        let reply = "HTTP/1.1 413 Too Large\r\nDate: now\r\nX-A: caf\u{e9}\r\nConnection: close\r\n\r\nbody";
        let (head, body) = as_upgrade(reply.as_bytes());
        assert_eq!(head.response.status_code(), 413);
        assert_eq!(head.fields, "HTTP/1.1\r\nX-A: caf??\r\nConnection: close");
        assert!(head.response.headers().iter().any(|header| header.value.as_str() == "now"));
        assert_eq!(body, b"body");
    }
}

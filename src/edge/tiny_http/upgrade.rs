//! How a reply is begun while bytes of the request body are unread.

use std::io;
use tiny_http::{Header, Response, StatusCode};

/// A reply's head in the shape of the one tiny_http call that hands over a connection as it is.
pub struct Upgrade {
    /// Its status, and the headers that tiny_http would add otherwise.
    pub response: Response<io::Empty>,
    /// What goes into the `Upgrade` header: its value, and the other headers as lines behind it.
    pub fields: String,
}

/// `into_writer` waits for unread body bytes, `respond` drops headers that are needed: `upgrade` writes
/// a head and hands the connection over. Hence the odd, but valid, `Upgrade` header, and the others
/// in its wake. `bytes` begin with a whole head, as `wire` makes it; what follows it is returned.
pub fn shaped(bytes: &[u8]) -> (Upgrade, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (head, body) = bytes.split_at(end);
    // tiny_http takes ASCII only.
    let head: String =
        head.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(502);
    let mut response = Response::empty(StatusCode(status));
    let mut fields = String::from("HTTP/1.1");
    for line in lines {
        // It would add its own.
        let own = ["Date: ", "Server: "].iter().any(|name| line.starts_with(name));
        match line.parse::<Header>() {
            Ok(header) if own => response.add_header(header),
            _ => fields.extend(["\r\n", line]),
        }
    }
    (Upgrade { response, fields }, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_apart_and_its_body_left() {
        let reply = "HTTP/1.1 413 Too Large\r\nDate: now\r\nX-A: caf\u{e9}\r\nConnection: close\r\n\r\nbody";
        let (head, body) = shaped(reply.as_bytes());
        assert_eq!(head.response.status_code(), 413);
        assert_eq!(head.fields, "HTTP/1.1\r\nX-A: caf??\r\nConnection: close");
        assert!(head.response.headers().iter().any(|header| header.value.as_str() == "now"));
        assert_eq!(body, b"body");
    }
}

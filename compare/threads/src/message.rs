//! Requests and replies: what their heads say, and what of them is passed on. Pure functions over bytes.
//!
//! Two readers of one message must not come to two meanings (request smuggling, RFC 9112 §11.2): therefore
//! nothing is repaired here, only refused.

use crate::head::{Head, field, is, is_text, is_token, join, length_of};
use crate::relay::Body;
use std::io::Write;

/// What the client gets when it gets no reply of a backend: nothing in it tells of what is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code and reason.
    pub status: &'static str,
    /// One line for a person.
    pub text: &'static str,
}

impl Refusal {
    /// A refusal of that status, for that reason.
    pub const fn new(status: &'static str, text: &'static str) -> Self {
        Refusal { status, text }
    }

    /// 400: the client's own fault.
    pub const fn bad(text: &'static str) -> Self {
        Refusal::new("400 Bad Request", text)
    }

    /// Appends the whole reply. `request` is what is known of the request.
    pub fn write(self, request: Option<&Request>, keep: bool, out: &mut Vec<u8>) {
        let body = if request.is_some_and(|request| request.is_head) { "" } else { self.text };
        let (status, length) = (self.status, self.text.len() + 1);
        let connection = connection(request.is_some_and(|request| request.old), keep);
        put(out, format_args!("HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"));
        put(out, format_args!("Content-Length: {length}\r\n{connection}\r\n{body}"));
        if !body.is_empty() {
            out.push(b'\n');
        }
    }
}

/// A request, as far as it matters after its head has been read.
#[derive(Debug)]
pub struct Request {
    /// Its reply has no body.
    pub is_head: bool,
    /// It is HTTP/1.0.
    pub old: bool,
    /// The client wants to send another one over this connection.
    pub keep: bool,
    /// It may be sent twice: there is no body, and twice does no more than once (RFC 9110 §9.2.2).
    pub repeatable: bool,
    /// The client waits for a `100 Continue` before it sends the body.
    pub expects: bool,
    /// The body goes on in chunks.
    pub chunked: bool,
    /// What has not been read of the body.
    pub body: Body,
    /// What the backend gets, without the empty line, and perhaps without a Host.
    head: Vec<u8>,
    has_host: bool,
}

impl Request {
    /// Reads a whole head. `peer` is the client's address.
    ///
    /// # Errors
    /// What the client gets. After it, nothing more of that connection may be believed.
    pub fn parse(bytes: &[u8], peer: &str) -> Result<Self, Refusal> {
        let head = Head::parse(bytes).ok_or(Refusal::bad("a header line is malformed"))?;
        let (method, target, old) = request_line(head.line)?;
        let (authority, path) = split(method, target)?;
        let host = host(&head, old, authority)?;
        let body = head.body(old).map_err(Refusal::bad)?;
        let mut expectations = head.values("expect").peekable();
        let expects = expectations.peek().is_some() && !old;
        if !expectations.all(|value| is(value, "100-continue")) {
            let text = "nothing but 100-continue can be expected";
            return Err(Refusal::new("417 Expectation Failed", text));
        }
        let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
        let mut request = Request {
            is_head: method == b"HEAD",
            old,
            keep: head.keeps(old),
            repeatable: idempotent && body.is_none_or(Body::is_over),
            expects,
            chunked: body == Some(Body::CHUNKED),
            body: body.unwrap_or(Body::OVER),
            head: Vec::with_capacity(bytes.len() + 256),
            has_host: host.is_some(),
        };
        let slash: &[u8] = if path.starts_with(b"/") || path == b"*" { b"" } else { b"/" };
        join(&mut request.head, &[method, b" ", slash, path, b" HTTP/1.1\r\n"]);
        request.forward(&head, host, peer);
        // A request without a body that could have one says so (RFC 9110 §8.6).
        if body.is_some() || matches!(method, b"POST" | b"PUT" | b"PATCH") {
            put_framing(&mut request.head, request.body);
        }
        Ok(request)
    }

    /// The client's own headers without its claims about where it comes from, and ours.
    fn forward(&mut self, head: &Head<'_>, host: Option<&[u8]>, peer: &str) {
        let unwanted = |name: &[u8]| {
            let start = name.get(..12).unwrap_or_default();
            is(start, "x-forwarded-")
                || ["forwarded", "x-real-ip", "expect", "host"].iter().any(|&n| is(name, n))
        };
        let out = &mut self.head;
        if let Some(host) = host {
            field(out, b"Host", host);
        }
        head.put_end_to_end(out, unwanted);
        field(out, b"X-Forwarded-For", peer.as_bytes());
        field(out, b"X-Forwarded-Proto", b"http");
        if let Some(host) = host {
            field(out, b"X-Forwarded-Host", host);
        }
        field(out, b"Via", if self.old { b"1.0 turnwheel" } else { b"1.1 turnwheel" });
    }

    /// Appends the head for a backend. Its `authority` is the Host if the client named none.
    pub fn write(&self, authority: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        if !self.has_host {
            field(out, b"Host", authority.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Method, target, and whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Refusal> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::bad("the request line has not three words"));
    };
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" if !is_token(method) => {
            Err(Refusal::bad("the method has a character that is not allowed"))
        }
        b"HTTP/1.1" | b"HTTP/1.0" => Ok((method, target, version == b"HTTP/1.0")),
        _ if version.starts_with(b"HTTP/") => {
            Err(Refusal::new("505 HTTP Version Not Supported", "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        }
        _ => Err(Refusal::bad("the request line names no HTTP version")),
    }
}

/// The request target (RFC 9112 §3.2) as an authority, if there is one, and a path.
fn split<'a>(method: &[u8], target: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8]), Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::new("501 Not Implemented", "there are no tunnels here"));
    }
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Refusal::bad("the request target has a character that is not allowed"));
    }
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok((None, target));
    }
    match target.split_at_checked(7) {
        Some((scheme, rest)) if is(scheme, "http://") => {
            let (authority, path) =
                rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len()));
            Ok((Some(authority), path))
        }
        _ => Err(Refusal::bad("the request target cannot be read")),
    }
}

/// Exactly one Host on HTTP/1.1, at most one on 1.0 (RFC 9112 §3.2). The target's takes its place.
fn host<'a>(head: &Head<'a>, old: bool, target: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Refusal> {
    let mut hosts = head.values("host");
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::bad("there is more than one Host header")),
        (None, _) if !old => return Err(Refusal::bad("there is no Host header")),
        (host, _) => host,
    };
    let is_host = |text: &[u8]| {
        !text.is_empty()
            && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(b))
    };
    if host.into_iter().chain(target).all(is_host) {
        Ok(target.or(host))
    } else {
        Err(Refusal::bad("the Host header names no host"))
    }
}

/// A reply, as far as it matters after its head has been read.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The backend lets its connection be used again.
    pub reusable: bool,
    /// The client's connection can serve another request.
    pub keep: bool,
    /// The body goes on in chunks.
    pub chunked: bool,
    /// What has not been read of the body.
    pub body: Body,
}

impl Reply {
    /// Reads a whole head and appends to `out` what the client gets of it. `None` if it is an interim reply
    /// (1xx), which the client does not. `may_keep` is whether all of the request has been read.
    ///
    /// # Errors
    /// When it is no reply that can be understood in one way.
    pub fn parse(
        bytes: &[u8],
        request: &Request,
        may_keep: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Self>, ()> {
        let head = Head::parse(bytes).ok_or(())?;
        let (old, status) = status_line(head.line).ok_or(())?;
        let code = status.get(..3).and_then(length_of).ok_or(())?;
        match code {
            101 => return Err(()), // nobody has asked for another protocol
            100..=199 => return Ok(None),
            200..=999 => {}
            _ => return Err(()),
        }
        let announced = head.body(old).map_err(|_| ())?;
        let body = match announced {
            _ if request.is_head || matches!(code, 204 | 304) => Body::OVER,
            Some(body) => body,
            None => Body::UntilClose,
        };
        let unsized_body = !matches!(body, Body::Sized(_));
        let chunked = unsized_body && !request.old;
        // Without a length and without chunks, only the end of the connection ends the body.
        let keep = request.keep && may_keep && (chunked || !unsized_body);
        join(out, &[b"HTTP/1.1 ", status, b"\r\n"]);
        head.put_end_to_end(out, |_| false);
        match announced {
            _ if chunked => put_framing(out, Body::CHUNKED),
            // No Content-Length on 204 (RFC 9110 §8.6).
            Some(length @ Body::Sized(_)) if code != 204 => put_framing(out, length),
            _ => {}
        }
        put(out, format_args!("{}\r\n", connection(request.old, keep)));
        let reusable = head.keeps(old) && body != Body::UntilClose;
        Ok(Some(Reply { reusable, keep, chunked, body }))
    }
}

/// Whether it is HTTP/1.0, and code and reason. A reason may be missing, and the blank before it too.
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

/// What the client's connection does next, where it would not know: HTTP/1.0 closes unless told otherwise.
fn connection(old: bool, keep: bool) -> &'static str {
    match (old, keep) {
        (true, true) => "Connection: keep-alive\r\n",
        (false, true) => "",
        (_, false) => "Connection: close\r\n",
    }
}

fn put_framing(out: &mut Vec<u8>, body: Body) {
    match body {
        Body::Sized(length) => put(out, format_args!("Content-Length: {length}\r\n")),
        _ => field(out, b"Transfer-Encoding", b"chunked"),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text); // cannot fail into memory
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]
mod tests {
    use super::*;

    fn request(line: &str, fields: &str) -> Result<Request, Refusal> {
        Request::parse(format!("{line}\r\n{fields}\r\n").as_bytes(), "192.0.2.7")
    }

    fn refused(line: &str, fields: &str) -> &'static str {
        &request(line, fields).unwrap_err().status[..3]
    }

    /// What a client gets of this reply to a GET.
    fn relayed(head: &str) -> Result<String, ()> {
        let mut out = Vec::new();
        let request = request("GET / HTTP/1.1", "Host: h\r\n").unwrap();
        Reply::parse(format!("{head}\r\n").as_bytes(), &request, true, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: user@a\r\n",
            "Host:\r\n",
            "Host : a\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\r\n: x\r\n",
            "Host: a\r\nno colon\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nX: a\r\r\n",
            "Host: a\r\nX: a\0b\r\n",
            "Host: a\r\nX\u{e9}: a\r\n",
            "Host: a\r\nContent-Length: +5\r\n",
            "Host: a\r\nContent-Length:\r\n",
            "Host: a\r\nContent-Length: 5, 5\r\n",
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            "Host: a\r\nContent-Length: 99999999999999999999\r\n",
            "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Host: a\r\nTransfer-Encoding: \u{b}chunked\r\n",
        ] {
            assert_eq!(refused("POST / HTTP/1.1", fields), "400", "{fields:?}");
        }
        assert_eq!(refused("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), "400");
    }

    #[test]
    fn a_request_line_has_three_words_that_can_be_read() {
        for (line, status) in [
            ("GET /", "400"),
            ("GET  / HTTP/1.1", "400"),
            ("GET / HTTP/1.1 ", "400"),
            ("G@T / HTTP/1.1", "400"),
            ("GET x HTTP/1.1", "400"),
            ("GET * HTTP/1.1", "400"),
            ("GET /#f HTTP/1.1", "400"),
            ("GET /\u{e9} HTTP/1.1", "400"),
            ("GET https://a/ HTTP/1.1", "400"),
            ("GET http:// HTTP/1.1", "400"),
            ("GET / HTTP/3", "505"),
            ("GET / http/1.1", "400"),
            ("CONNECT a:1 HTTP/1.1", "501"),
        ] {
            assert_eq!(refused(line, "Host: h\r\n"), status, "{line}");
        }
    }

    #[test]
    fn an_absolute_target_becomes_a_path_and_a_host() {
        for (target, line) in [("HTTP://a:1/x?y", "GET /x?y HTTP/1.1"), ("http://a:1?y", "GET /?y HTTP/1.1")]
        {
            let request = request(&format!("GET {target} HTTP/1.1"), "Host: other\r\n").unwrap();
            let head = String::from_utf8(request.head).unwrap();
            assert!(head.starts_with(&format!("{line}\r\nHost: a:1\r\n")), "{head}");
            assert!(!head.contains("other"), "{head}");
        }
    }

    #[test]
    fn a_backend_gets_the_length_whatever_connection_says_and_a_host_of_its_own_at_need() {
        let mut out = Vec::new();
        let sent =
            request("POST / HTTP/1.0", "Connection: content-length, x\r\nContent-Length: 5\r\nX: 1\r\n");
        sent.unwrap().write("b:1", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nVia: 1.0 turnwheel\r\n\
             Content-Length: 5\r\nHost: b:1\r\n\r\n"
        );
        let empty = request("POST / HTTP/1.1", "Host: h\r\n").unwrap();
        assert!(empty.head.ends_with(b"Content-Length: 0\r\n"));
    }

    #[test]
    fn only_what_may_be_sent_twice_is_repeatable() {
        let repeatable =
            |line, fields: &str| request(line, &format!("Host: h\r\n{fields}")).unwrap().repeatable;
        assert!(repeatable("GET / HTTP/1.1", ""));
        assert!(repeatable("PUT / HTTP/1.1", "Content-Length: 0\r\n"));
        assert!(!repeatable("PUT / HTTP/1.1", "Content-Length: 1\r\n"));
        assert!(!repeatable("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
        assert!(!repeatable("POST / HTTP/1.1", ""));
        assert!(!repeatable("get / HTTP/1.1", "")); // methods are what they are, letter by letter
    }

    #[test]
    fn a_reply_is_framed_anew() {
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
    fn what_is_no_reply_is_none() {
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

//! Parses the head of a client's request and writes the head for a backend. Pure functions over bytes.
//!
//! An ambiguous request is refused and never repaired, because the backend might read it differently (request
//! smuggling, RFC 9112 §11.2).

use crate::body::Body;
use crate::head::{Head, append, field, is, is_token, join};

/// The balancer's own reply to the client. It reveals nothing about the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code and reason phrase.
    pub status: &'static str,
    /// One line of text for a person.
    pub text: &'static str,
}

impl Refusal {
    /// Returns a refusal with this status and text.
    pub const fn new(status: &'static str, text: &'static str) -> Self {
        Refusal { status, text }
    }

    /// Returns a refusal with status 400.
    pub const fn bad(text: &'static str) -> Self {
        Refusal::new("400 Bad Request", text)
    }

    /// Appends the complete reply. `request` is `None` if the request could not be parsed.
    pub fn write(self, request: Option<&Request>, keep_alive: bool, out: &mut Vec<u8>) {
        let body = if request.is_some_and(|request| request.is_head) { "" } else { self.text };
        let (status, length) = (self.status, self.text.len() + 1);
        let connection = connection_header(request.is_some_and(|request| request.http_1_0), keep_alive);
        append(out, format_args!("HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"));
        append(out, format_args!("Content-Length: {length}\r\n{connection}\r\n{body}"));
        if !body.is_empty() {
            out.push(b'\n');
        }
    }
}

/// A client's request, after its head has been parsed.
#[derive(Debug)]
pub struct Request {
    /// Whether the method is HEAD, so that the reply has no body.
    pub is_head: bool,
    /// Whether the request is HTTP/1.0.
    pub http_1_0: bool,
    /// Whether the client keeps the connection open.
    pub keep_alive: bool,
    /// Whether the request may be sent again: it has no body and its method is idempotent (RFC 9110 §9.2.2).
    pub retryable: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the body is relayed in chunks.
    pub chunked: bool,
    /// The part of the body not read yet.
    pub body: Body,
    /// The head for the backend, without the empty line, and without a Host if the client sent none.
    head: Vec<u8>,
    has_host: bool,
}

impl Request {
    /// Parses a complete head. `peer` is the client's address.
    ///
    /// # Errors
    /// Returns the refusal for the client. The connection must not be used after it.
    pub fn parse(bytes: &[u8], peer: &str) -> Result<Self, Refusal> {
        let head = Head::parse(bytes).ok_or(Refusal::bad("a header line is malformed"))?;
        let (method, target, http_1_0) = request_line(head.line)?;
        let (authority, path) = split(method, target)?;
        let host = host(&head, http_1_0, authority)?;
        let body = Body::announced(&head, http_1_0).map_err(Refusal::bad)?;
        let mut expectations = head.values("expect").peekable();
        let expects_continue = expectations.peek().is_some() && !http_1_0;
        if !expectations.all(|value| is(value, "100-continue")) {
            let text = "the only supported expectation is 100-continue";
            return Err(Refusal::new("417 Expectation Failed", text));
        }
        let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
        let mut request = Request {
            is_head: method == b"HEAD",
            http_1_0,
            keep_alive: head.allows_keep_alive(http_1_0),
            retryable: idempotent && body.is_none_or(Body::is_done),
            expects_continue,
            chunked: body == Some(Body::CHUNKED),
            body: body.unwrap_or(Body::DONE),
            head: Vec::with_capacity(bytes.len() + 256),
            has_host: host.is_some(),
        };
        let slash: &[u8] = if path.starts_with(b"/") || path == b"*" { b"" } else { b"/" };
        join(&mut request.head, &[method, b" ", slash, path, b" HTTP/1.1\r\n"]);
        request.forward(&head, host, peer);
        // A method that allows a body has a Content-Length even without one (RFC 9110 §8.6).
        if body.is_some() || matches!(method, b"POST" | b"PUT" | b"PATCH") {
            request.body.write_header(&mut request.head);
        }
        Ok(request)
    }

    /// Writes the client's fields without its own forwarding fields, then the balancer's.
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
        head.write_end_to_end(out, unwanted);
        field(out, b"X-Forwarded-For", peer.as_bytes());
        field(out, b"X-Forwarded-Proto", b"http");
        if let Some(host) = host {
            field(out, b"X-Forwarded-Host", host);
        }
        field(out, b"Via", if self.http_1_0 { b"1.0 turnwheel" } else { b"1.1 turnwheel" });
    }

    /// Appends the head for a backend. Its `authority` is the Host if the client sent none.
    pub fn write(&self, authority: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        if !self.has_host {
            field(out, b"Host", authority.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Returns the method, the target, and whether the request is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Refusal> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::bad("the request line does not have three parts"));
    };
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" if !is_token(method) => {
            Err(Refusal::bad("the method has a character that is not allowed"))
        }
        b"HTTP/1.1" | b"HTTP/1.0" => Ok((method, target, version == b"HTTP/1.0")),
        _ if version.starts_with(b"HTTP/") => {
            Err(Refusal::new("505 HTTP Version Not Supported", "only HTTP/1.0 and HTTP/1.1 are supported"))
        }
        _ => Err(Refusal::bad("the request line has no HTTP version")),
    }
}

/// Splits the request target (RFC 9112 §3.2) into an authority, if it has one, and a path.
fn split<'a>(method: &[u8], target: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8]), Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::new("501 Not Implemented", "tunnels are not supported"));
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
        _ => Err(Refusal::bad("the request target is malformed")),
    }
}

/// Returns the host: exactly one on HTTP/1.1, at most one on 1.0 (RFC 9112 §3.2). The target's authority takes precedence.
fn host<'a>(head: &Head<'a>, http_1_0: bool, target: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Refusal> {
    let mut hosts = head.values("host");
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::bad("there is more than one Host header")),
        (None, _) if !http_1_0 => return Err(Refusal::bad("there is no Host header")),
        (host, _) => host,
    };
    let is_host = |text: &[u8]| {
        !text.is_empty()
            && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(b))
    };
    if host.into_iter().chain(target).all(is_host) {
        Ok(target.or(host))
    } else {
        Err(Refusal::bad("the Host header is malformed"))
    }
}

/// Returns the `Connection` field for the client, or an empty text where the version's default says the same.
pub fn connection_header(http_1_0: bool, keep_alive: bool) -> &'static str {
    match (http_1_0, keep_alive) {
        (true, true) => "Connection: keep-alive\r\n",
        (false, true) => "",
        (_, false) => "Connection: close\r\n",
    }
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

    #[test]
    fn refuses_an_ambiguous_request() {
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
    fn refuses_a_malformed_request_line() {
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
    fn splits_an_absolute_target_into_a_path_and_a_host() {
        for (target, line) in [("HTTP://a:1/x?y", "GET /x?y HTTP/1.1"), ("http://a:1?y", "GET /?y HTTP/1.1")]
        {
            let request = request(&format!("GET {target} HTTP/1.1"), "Host: other\r\n").unwrap();
            let head = String::from_utf8(request.head).unwrap();
            assert!(head.starts_with(&format!("{line}\r\nHost: a:1\r\n")), "{head}");
            assert!(!head.contains("other"), "{head}");
        }
    }

    #[test]
    fn sends_the_length_even_if_connection_lists_it_and_adds_a_missing_host() {
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
    fn only_idempotent_requests_without_a_body_are_retryable() {
        let retryable =
            |line, fields: &str| request(line, &format!("Host: h\r\n{fields}")).unwrap().retryable;
        assert!(retryable("GET / HTTP/1.1", ""));
        assert!(retryable("PUT / HTTP/1.1", "Content-Length: 0\r\n"));
        assert!(!retryable("PUT / HTTP/1.1", "Content-Length: 1\r\n"));
        assert!(!retryable("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
        assert!(!retryable("POST / HTTP/1.1", ""));
        assert!(!retryable("get / HTTP/1.1", "")); // methods are case-sensitive
    }
}

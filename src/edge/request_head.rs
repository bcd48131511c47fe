//! The check that a request head can be understood in one way only. Pure.
//!
//! An edge passes in what it has read; the result is the head in the `http` crate's types and how its body
//! is delimited, or the [`Refusal`] that the client gets. If a message can be read in two ways, the two
//! ends of a proxied request may disagree about where its body ends (request smuggling, RFC 9112 §11.2).
//! Therefore nothing is repaired here, only refused.

pub use crate::edge::options::{Limits, MOST_HEADERS};
use crate::error::Refusal;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, Version, request};

/// The delimiter of a request's body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is no body.
    None,
    /// A body of this many bytes; 0 if the client sent `Content-Length: 0`.
    Sized(u64),
    /// Chunks, up to the last one.
    Chunked,
}

impl Body {
    /// Returns whether there is nothing to read.
    pub fn is_empty(self) -> bool {
        matches!(self, Body::None | Body::Sized(0))
    }
}

/// A request head as it was read, not checked yet.
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'a, F> {
    /// The method, the first word of the request line.
    pub method: &'a [u8],
    /// The request target, the second word.
    pub target: &'a [u8],
    /// The version, the third word.
    pub version: Version,
    /// Name and value of each header line, in order.
    pub fields: F,
}

/// Checks a head by RFC 9112 and the limits. Returns the head and how its body is delimited.
///
/// # Errors
/// The refusal that the client gets. After it, no further byte of the connection may be parsed.
pub fn check<'a, F>(raw: RawHead<'a, F>, limits: &Limits) -> Result<(request::Parts, Body), Refusal>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    if !matches!(raw.version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(Refusal::Version);
    }
    if raw.target.len() as u64 > limits.uri.min(limits.head) {
        return Err(Refusal::UriTooLong);
    }
    let used = (raw.method.len() + raw.target.len()) as u64;
    let mut headers = fields(raw.fields, used, limits)?;
    let method = method(raw.method)?;
    let (uri, authority) = target(raw.target, &method)?;
    host(&mut headers, raw.version, authority)?;
    let body = body(&headers, raw.version)?;
    if matches!(body, Body::Sized(length) if length > limits.body) {
        return Err(Refusal::BodyTooLarge);
    }
    if headers.get_all(header::EXPECT).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expectation);
    }
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = raw.version;
    *request.headers_mut() = headers;
    Ok((request.into_parts().0, body))
}

/// Returns the header lines, within the limits and each of the form of RFC 9110 §5.5.
fn fields<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    mut used: u64,
    limits: &Limits,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.size_hint().0.min(limits.headers()));
    for (count, (name, value)) in fields.enumerate() {
        used += (name.len() + value.len()) as u64 + 3; // the colon and the line's end
        if count >= limits.headers() || used > limits.head {
            return Err(Refusal::HeadTooLarge);
        }
        let name = HeaderName::from_bytes(name)
            .map_err(|_| Refusal::BadRequest("a header name has a character that is not allowed"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| Refusal::BadRequest("a header value has a character that is not allowed"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn method(method: &[u8]) -> Result<Method, Refusal> {
    match Method::from_bytes(method) {
        Ok(Method::CONNECT) => Err(Refusal::NotImplemented),
        Ok(Method::TRACE) => Err(Refusal::MethodNotAllowed),
        Ok(method) => Ok(method),
        Err(_) => Err(Refusal::BadRequest("the method has a character that is not allowed")),
    }
}

/// Returns the request target (RFC 9112 §3.2) and, for absolute-form, its authority. Origin-form stays as
/// it is, byte for byte; absolute-form becomes origin-form; `*` is valid with OPTIONS only.
fn target(target: &[u8], method: &Method) -> Result<(Uri, Option<Authority>), Refusal> {
    const UNREADABLE: Refusal = Refusal::BadRequest("the request target cannot be read");
    if target.contains(&b'#') {
        return Err(Refusal::BadRequest("the request target has a fragment"));
    }
    if target == b"*" && *method != Method::OPTIONS {
        return Err(Refusal::BadRequest("the target * is valid with OPTIONS only"));
    }
    if target == b"*" || target.starts_with(b"/") {
        // Not `Uri::try_from`: it would take "//host/path" for an authority and a path.
        let path = PathAndQuery::try_from(target).map_err(|_| UNREADABLE)?;
        return Ok((Uri::from(path), None));
    }
    let parts = Uri::try_from(target).map_err(|_| UNREADABLE)?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(UNREADABLE);
    };
    if scheme != http::uri::Scheme::HTTP {
        return Err(Refusal::BadRequest("the request target has another scheme than http"));
    }
    // As text, the path has the slash that "http://host?query" omits.
    let path = parts.path_and_query.map_or("/".into(), |path| path.to_string());
    let path = PathAndQuery::try_from(path).map_err(|_| UNREADABLE)?;
    if *method == Method::OPTIONS && path.as_str() == "/" && !target.ends_with(b"/") {
        return Ok((Uri::from_static("*"), Some(authority))); // RFC 9112 §3.2.4
    }
    Ok((Uri::from(path), Some(authority)))
}

/// Checks that there is exactly one Host on HTTP/1.1, at most one on HTTP/1.0, and that it is valid
/// (RFC 9112 §3.2). The host of an absolute-form target replaces it (§3.2.2).
fn host(headers: &mut HeaderMap, version: Version, target: Option<Authority>) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::BadRequest("there is more than one Host header")),
        (None, _) if version == Version::HTTP_11 => {
            return Err(Refusal::BadRequest("there is no Host header"));
        }
        (Some(host), _) if !is_host(host.as_bytes()) => {
            return Err(Refusal::BadRequest("the Host header names no host"));
        }
        _ => {}
    }
    if let Some(authority) = target {
        let host = HeaderValue::from_str(authority.as_str())
            .ok()
            .filter(|host| is_host(host.as_bytes()))
            .ok_or(Refusal::BadRequest("the request target names no host"))?;
        headers.insert(header::HOST, host);
    }
    Ok(())
}

/// Returns whether `text` is `uri-host [ ":" port ]`, without a user name.
fn is_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host); // unless there is a user name
    let is_port = |port: &str| port.starts_with(':') && port[1..].bytes().all(|b| b.is_ascii_digit());
    !host.is_empty() && port.is_some_and(|port| port.is_empty() || is_port(port))
}

/// Returns how the body is delimited, decided from the headers alone (RFC 9112 §6).
fn body(headers: &HeaderMap, version: Version) -> Result<Body, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Body::None),
        (Some(_), Some(_)) => {
            Err(Refusal::BadRequest("the request has both a Content-Length and a Transfer-Encoding"))
        }
        (Some(coding), None) => {
            if version == Version::HTTP_10 {
                return Err(Refusal::BadRequest("HTTP/1.0 has no Transfer-Encoding"));
            }
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::BadRequest("chunked is the only Transfer-Encoding that is supported"));
            }
            Ok(Body::Chunked)
        }
        (None, Some(length)) => {
            if lengths.next().is_some() {
                return Err(Refusal::BadRequest("there is more than one Content-Length"));
            }
            content_length(length.as_bytes()).map(Body::Sized)
        }
    }
}

/// Returns the number that `text` is: digits only, without sign, list or blank.
fn content_length(text: &[u8]) -> Result<u64, Refusal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BadRequest("the Content-Length is not a number"));
    }
    // It is all digits, so parsing can fail only for its size.
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Refusal::BodyTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str, headers: &[(&str, &str)]) -> Result<(request::Parts, Body), Refusal> {
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let version = match words.next() {
            Some("HTTP/1.0") => Version::HTTP_10,
            Some("HTTP/0.9") => Version::HTTP_09,
            _ => Version::HTTP_11,
        };
        let fields = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let raw = RawHead { method: method.as_bytes(), target: target.as_bytes(), version, fields };
        check(raw, &Limits::default())
    }

    fn status(line: &str, headers: &[(&str, &str)]) -> u16 {
        read(line, headers).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
    }

    const H: (&str, &str) = ("Host", "example");

    #[test]
    fn accepts_valid_targets_and_refuses_others() {
        for target in ["/", "/a/../b;c=%2F[x]'{|}^", "//twice", "/?q=a&b", "/\u{e9}"] {
            let (head, _) = read(&format!("GET {target}"), &[H]).unwrap();
            assert_eq!(head.uri.path_and_query().unwrap().as_str(), target);
        }
        let (head, _) = read("GET http://other/x?y", &[H]).unwrap();
        assert_eq!(head.uri, "/x?y");
        assert_eq!(head.headers["host"], "other");
        let (head, _) = read("GET http://other?y", &[H]).unwrap();
        assert_eq!(head.uri.path_and_query().unwrap().as_str(), "/?y");
        assert_eq!(read("OPTIONS *", &[H]).unwrap().0.uri, "*");
        assert_eq!(read("OPTIONS http://other", &[H]).unwrap().0.uri, "*");
        for target in ["*", "/#a", "x", "", "https://a/", "http://u@a/", "/<", "/\u{1}", "ftp://a/"] {
            assert_eq!(status(&format!("GET {target}"), &[H]), 400, "{target:?}");
        }
        assert_eq!(status(&format!("GET /{}", "a".repeat(17 << 10)), &[H]), 414);
    }

    #[test]
    fn checks_methods_and_versions() {
        assert_eq!(status("CONNECT a:1", &[H]), 501);
        assert_eq!(status("TRACE /", &[H]), 405);
        assert_eq!(status("PROPFIND /", &[H]), 200);
        assert_eq!(status("G(T /", &[H]), 400);
        assert_eq!(status("GET / HTTP/0.9", &[H]), 505);
    }

    #[test]
    fn checks_the_host() {
        assert_eq!(status("GET /", &[]), 400);
        assert_eq!(status("GET / HTTP/1.0", &[]), 200);
        assert_eq!(status("GET /", &[H, H]), 400);
        assert_eq!(status("GET / HTTP/1.0", &[H, H]), 400);
        for host in ["", "a b", "a/b", "u@a", "u@", ":80", "a:b", "a:80:80", "[::1]x", "a,b"] {
            let expected = if host == "a,b" { 200 } else { 400 }; // a comma is valid in a name
            assert_eq!(status("GET /", &[("host", host)]), expected, "{host:?}");
        }
        assert_eq!(status("GET /", &[("host", "[::1]:80")]), 200);
    }

    #[test]
    fn accepts_unambiguous_framing_only() {
        let framing = |headers: &[(&str, &str)]| {
            let all: Vec<_> = [H].iter().chain(headers).copied().collect();
            read("POST /", &all).map(|(_, body)| body).map_err(|r| r.status().as_u16())
        };
        let (cl, te) = ("content-length", "transfer-encoding");
        assert_eq!(framing(&[]), Ok(Body::None));
        assert_eq!(framing(&[(cl, "0")]), Ok(Body::Sized(0)));
        assert_eq!(framing(&[(cl, "0005")]), Ok(Body::Sized(5)));
        assert_eq!(framing(&[(te, "Chunked")]), Ok(Body::Chunked));
        assert_eq!(framing(&[(cl, "1073741824")]), Ok(Body::Sized(1 << 30)));
        assert_eq!(framing(&[(cl, "1073741825")]), Err(413));
        assert_eq!(framing(&[(cl, "99999999999999999999999")]), Err(413));
        for length in ["+5", "-5", "5, 5", "5,5", "0x5", "5 5", "", "5.0", "five"] {
            assert_eq!(framing(&[(cl, length)]), Err(400), "{length:?}");
        }
        assert_eq!(framing(&[(cl, "5"), (cl, "5")]), Err(400));
        assert_eq!(framing(&[(cl, "5"), (te, "chunked")]), Err(400));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            assert_eq!(framing(&[(te, coding)]), Err(400), "{coding:?}");
        }
        assert_eq!(framing(&[(te, "chunked"), (te, "chunked")]), Err(400));
        assert_eq!(status("POST / HTTP/1.0", &[H, (te, "chunked")]), 400);
    }

    #[test]
    fn refuses_heads_beyond_the_limits() {
        let many: Vec<_> = std::iter::repeat_n(("a", "b"), 99).chain([H]).collect();
        assert_eq!(status("GET /", &many), 200);
        let too_many: Vec<_> = std::iter::repeat_n(("a", "b"), 100).chain([H]).collect();
        assert_eq!(status("GET /", &too_many), 431);
        assert_eq!(status("GET /", &[H, ("a", &"b".repeat(17 << 10))]), 431);
        assert_eq!(status("GET /", &[H, ("expect", "magic")]), 417);
        assert_eq!(Limits { headers: usize::MAX, ..Limits::default() }.headers(), MOST_HEADERS);
    }

    proptest! {
        #[test]
        fn accepts_a_content_length_of_digits_without_a_transfer_coding_only(length in "[ +0-9a-f,-]{0,6}", coding in any::<bool>()) {
            let mut headers = vec![H, ("content-length", length.as_str())];
            if coding { headers.push(("transfer-encoding", "chunked")); }
            let sound = !coding && !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            match read("POST /", &headers) {
                Ok((_, body)) => prop_assert!(sound && body == Body::Sized(length.parse().unwrap())),
                Err(refusal) => prop_assert!(!sound && refusal.status() == 400),
            }
        }

        #[test]
        fn never_panics(
            method in proptest::collection::vec(any::<u8>(), 0..8),
            target in proptest::collection::vec(any::<u8>(), 0..40),
            fields in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..8), proptest::collection::vec(any::<u8>(), 0..16)), 0..8),
        ) {
            let fields = fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice()));
            let raw = RawHead { method: &method, target: &target, version: Version::HTTP_11, fields };
            if let Ok((head, _)) = check(raw, &Limits::default()) {
                prop_assert_eq!(head.headers.get_all("host").iter().count(), 1);
            }
        }
    }
}

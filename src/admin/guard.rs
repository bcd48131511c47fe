//! Decides which admin requests are served: one pure function over a request's head.
//!
//! A listener on loopback is out of reach for other machines, but not for a web page that the operator's browser
//! shows: the browser runs on this machine and sends the requests of the page's scripts. A hostile page has two ways
//! in, and each is closed by a rule here.
//!
//! * **Cross-origin requests.** A browser sends a request that an HTML form could send without asking the server first.
//!   For any other request it first sends a preflight, an OPTIONS request that must be answered with CORS headers. This
//!   listener sends none. So a request that changes state must have `Content-Type: application/json`, which no form can
//!   send; a request that only reads is harmless, because the browser withholds the response from the page.
//! * **DNS rebinding.** The page's host name first resolves to its server and later to 127.0.0.1; the browser then takes this
//!   listener for the page's own origin and needs no preflight. But the request carries the page's name in `Host`.
//!   An IP address cannot be rebound, and browsers resolve `localhost` themselves: so `Host` must be one of those, with
//!   the listener's own port.
//!
//! The token protects against all other clients. A listener that other machines can reach must have one; on loopback it
//! keeps out other users of this machine. The files of the live page need no token: they are the same everywhere and contain
//! nothing about this balancer, and the page is where a person enters the token. They do need a valid `Host`, since
//! the page sends all its requests to its own origin.

use super::page;
use super::token::AdminToken;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Paths that are served without any check: liveness and readiness.
pub const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// A browser leaves this port out of `Host`.
const DEFAULT_PORT: u16 = 80;

/// The reason why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Status of the reply.
    pub status: StatusCode,
    /// One sentence that says what to do.
    pub reason: &'static str,
}

/// Checks that a request may be served. Outside of [`OPEN`] it needs a `Host` that is the listener's own (else 403), the
/// token if there is one (else 401; not for a file of the live page), and, unless it only reads, a content type that no
/// form can send (else 415). `bound` is the address that was bound.
///
/// # Errors
/// The status and the reason, when it may not.
pub fn check(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    bound: SocketAddr,
    token: Option<&AdminToken>,
) -> Result<(), Denial> {
    let denied = |status, reason| Err(Denial { status, reason });
    if OPEN.contains(&path) {
        return Ok(());
    }
    if !only(headers, &HOST).is_some_and(|host| is_ours(host, bound)) {
        return denied(
            StatusCode::FORBIDDEN,
            "the Host header does not name this listener; use its IP address and port in the URL",
        );
    }
    let is_page = page::find(path).is_some();
    if !is_page && token.is_some_and(|token| !has_token(headers, token)) {
        return denied(
            StatusCode::UNAUTHORIZED,
            "this request needs the admin token; send it as Authorization: Bearer TOKEN",
        );
    }
    let reads = [Method::GET, Method::HEAD].contains(method);
    if !reads && !only(headers, &CONTENT_TYPE).is_some_and(is_json) {
        return denied(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a request that changes something needs Content-Type: application/json",
        );
    }
    Ok(())
}

/// Returns the value of a header, or `None` unless it occurs exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Returns whether a `Host` names this listener, by a name that cannot be rebound.
fn is_ours(host: &str, bound: SocketAddr) -> bool {
    let is_default = bound.port() == DEFAULT_PORT;
    // ::ffff:127.0.0.1 is 127.0.0.1.
    let ours = bound.ip().to_canonical();
    if let Some((ip, port)) = literal(host) {
        let same_port = port.map_or(is_default, |port| port == bound.port());
        return same_port && (ours.is_unspecified() || ip.to_canonical() == ours);
    }
    let same_port = match host.split_once(':') {
        Some((_, port)) => port.parse() == Ok(bound.port()),
        None => is_default,
    };
    let name = host.split(':').next().unwrap_or(host);
    ours.is_loopback() && same_port && name.eq_ignore_ascii_case("localhost")
}

/// Parses an IP address as in a URL, IPv6 in brackets, and its port if it has one; `None` if it is no address.
fn literal(host: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => IpAddr::from(host.parse::<Ipv6Addr>().ok()?),
        None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4)?,
    };
    Some((bare, None))
}

/// Returns whether the headers carry the token as `Bearer` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1).
fn has_token(headers: &HeaderMap, token: &AdminToken) -> bool {
    let credentials = only(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
    credentials.is_some_and(|(scheme, offered)| {
        scheme.eq_ignore_ascii_case("bearer") && token.matches(offered.trim_start_matches(' ').as_bytes())
    })
}

/// Returns whether a media type is JSON. Parameters are ignored, as browsers ignore them.
fn is_json(value: &str) -> bool {
    let kind = value.split(';').next().unwrap_or(value);
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "sixteen-letters!";
    const JSON: (&str, &str) = ("content-type", "application/json");

    /// Returns the status of the denial, or 200.
    fn status(
        method: &str,
        path: &str,
        fields: &[(&'static str, &str)],
        bound: &str,
        token: Option<&AdminToken>,
    ) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        let outcome = check(&method, path, &headers, bound.parse().unwrap(), token);
        outcome.map_or_else(|denial| denial.status.as_u16(), |()| 200)
    }

    #[test]
    fn serves_only_a_host_that_is_the_listeners_own() {
        for (bound, host, expected) in [
            ("127.0.0.1:8090", "127.0.0.1:8090", 200),
            ("127.0.0.1:8090", "localhost:8090", 200),
            ("127.0.0.1:8090", "LocalHost:8090", 200),
            ("127.0.0.1:8090", "127.0.0.1", 403),
            ("127.0.0.1:8090", "localhost", 403),
            ("127.0.0.1:8090", "127.0.0.1:8091", 403),
            ("127.0.0.1:8090", "localhost:80", 403),
            ("127.0.0.1:8090", "localhost:", 403),
            ("127.0.0.1:8090", "127.0.0.2:8090", 403),
            ("127.0.0.1:8090", "[::1]:8090", 403),
            ("127.0.0.1:8090", "[::ffff:127.0.0.1]:8090", 200),
            ("127.0.0.1:8090", "evil.example:8090", 403),
            ("127.0.0.1:8090", "localhost.evil.example:8090", 403),
            ("127.0.0.1:8090", "127.0.0.1.evil.example:8090", 403),
            ("127.0.0.1:8090", "0x7f000001:8090", 403),
            ("127.0.0.1:8090", "2130706433:8090", 403),
            ("127.0.0.1:8090", "127.1:8090", 403),
            ("127.0.0.1:8090", "", 403),
            ("127.0.0.1:80", "127.0.0.1", 200),
            ("127.0.0.1:80", "localhost", 200),
            ("127.0.0.1:80", "127.0.0.1:80", 200),
            ("[::1]:8090", "[::1]:8090", 200),
            ("[::1]:8090", "[0:0:0:0:0:0:0:1]:8090", 200),
            ("[::1]:8090", "localhost:8090", 200),
            ("[::1]:8090", "127.0.0.1:8090", 403),
            ("[::1]:8090", "::1", 403),
            ("[::1]:80", "[::1]", 200),
            ("[::1]:80", "::1", 403),
            ("[::ffff:127.0.0.1]:8090", "127.0.0.1:8090", 200),
            ("[::ffff:127.0.0.1]:8090", "localhost:8090", 200),
            ("192.0.2.1:8090", "192.0.2.1:8090", 200),
            ("192.0.2.1:8090", "192.0.2.2:8090", 403),
            ("192.0.2.1:8090", "localhost:8090", 403),
            ("0.0.0.0:8090", "192.0.2.1:8090", 200),
            ("0.0.0.0:8090", "127.0.0.1:8090", 200),
            ("0.0.0.0:8090", "192.0.2.1:8091", 403),
            ("0.0.0.0:8090", "192.0.2.1", 403),
            ("0.0.0.0:8090", "localhost:8090", 403),
            ("0.0.0.0:8090", "admin.example:8090", 403),
            ("0.0.0.0:80", "192.0.2.1", 200),
            ("[::]:8090", "[2001:db8::1]:8090", 200),
            ("[::]:8090", "192.0.2.1:8090", 200),
            ("[::]:8090", "admin.example:8090", 403),
        ] {
            let fields = [("host", host)];
            assert_eq!(status("GET", "/api/backends", &fields, bound, None), expected, "{host} at {bound}");
        }
    }

    #[test]
    fn denies_a_host_that_is_missing_or_repeated() {
        let host = ("host", "127.0.0.1:8090");
        for fields in [&[][..], &[host, host]] {
            assert_eq!(status("GET", "/api/backends", fields, "127.0.0.1:8090", None), 403);
        }
    }

    #[test]
    fn serves_probes_without_any_check_and_nothing_else() {
        let token = AdminToken::from_text(SECRET).unwrap();
        for (path, expected) in [
            ("/healthz", 200),
            ("/readyz", 200),
            ("/healthz/", 403),
            ("//healthz", 403),
            ("/HEALTHZ", 403),
            ("/api/backends", 403),
            ("/api/../healthz", 403),
            ("/%61pi/backends", 403),
            ("/", 403),
        ] {
            let fields = [("host", "evil.example")];
            assert_eq!(status("GET", path, &fields, "127.0.0.1:8090", Some(&token)), expected, "{path}");
        }
    }

    #[test]
    fn serves_the_page_without_a_token_but_not_without_a_host() {
        let token = AdminToken::from_text(SECRET).unwrap();
        for (path, expected) in [
            ("/", 200),
            ("/page.js", 200),
            ("/icon.svg", 200),
            ("/page.js/", 401),
            ("/Page.js", 401),
            ("//", 401),
        ] {
            let get = |host| status("GET", path, &[("host", host)], "127.0.0.1:8090", Some(&token));
            assert_eq!((get("127.0.0.1:8090"), get("evil.example:8090")), (expected, 403), "{path}");
        }
    }

    #[test]
    fn serves_only_requests_with_the_token() {
        let token = AdminToken::from_text(SECRET).unwrap();
        for (credentials, expected) in [
            ("Bearer sixteen-letters!", 200),
            ("bEARER sixteen-letters!", 200),
            ("Bearer   sixteen-letters!", 200),
            ("Bearer sixteen-letters", 401),
            ("Bearer sixteen-letters!!", 401),
            ("Bearer ", 401),
            ("Bearer", 401),
            ("sixteen-letters!", 401),
            ("Basic sixteen-letters!", 401),
            ("", 401),
        ] {
            let fields = [("host", "127.0.0.1:8090"), ("authorization", credentials)];
            let path = "/api/backends";
            assert_eq!(
                status("GET", path, &fields, "127.0.0.1:8090", Some(&token)),
                expected,
                "{credentials}"
            );
            let twice = [fields[0], fields[1], fields[1]];
            assert_eq!(status("GET", path, &twice, "127.0.0.1:8090", Some(&token)), 401, "{credentials}");
        }
        assert_eq!(
            status("GET", "/api/x", &[("host", "127.0.0.1:8090")], "127.0.0.1:8090", Some(&token)),
            401
        );
        let stranger = [("host", "a.example"), ("authorization", "Bearer wrong"), JSON];
        assert_eq!(
            status("POST", "/api/x", &stranger, "127.0.0.1:8090", Some(&token)),
            403,
            "Host is checked first"
        );
    }

    #[test]
    fn serves_changes_only_as_json() {
        let host = ("host", "127.0.0.1:8090");
        for (kind, expected) in [
            ("application/json", 200),
            ("Application/JSON; charset=utf-8", 200),
            ("application/json ;x", 200),
            ("text/plain", 415),
            ("text/plain; application/json", 415),
            ("text/plain, application/json", 415),
            ("application/json, text/plain", 415),
            ("application/x-www-form-urlencoded", 415),
            ("multipart/form-data", 415),
            ("application/json5", 415),
            ("", 415),
        ] {
            for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "ODD"] {
                let fields = [host, ("content-type", kind)];
                let got = status(method, "/api/reload", &fields, "127.0.0.1:8090", None);
                assert_eq!(got, expected, "{method} {kind}");
            }
        }
        assert_eq!(status("DELETE", "/api/backends/a:1", &[host], "127.0.0.1:8090", None), 415);
        assert_eq!(status("HEAD", "/api/backends", &[host], "127.0.0.1:8090", None), 200);
        let twice = [host, JSON, ("content-type", "text/plain")];
        assert_eq!(status("POST", "/api/reload", &twice, "127.0.0.1:8090", None), 415);
    }

    proptest! {
        #[test]
        fn accepts_no_host_name_but_localhost(name in "[a-z][a-z0-9.-]{0,20}", any_address: bool) {
            let bound = if any_address { "0.0.0.0:8090" } else { "127.0.0.1:8090" }.parse().unwrap();
            let ours = is_ours(&format!("{name}:8090"), bound);
            prop_assert_eq!(ours, name == "localhost" && !any_address);
        }
    }
}

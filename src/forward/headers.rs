//! The headers that a gateway forwards and adds. Pure.

pub use crate::edge::hop_by_hop::{connection_names, end_to_end};
use crate::edge::request_head::Body;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use ipnet::IpNet;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The origin of a request.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The peer address of the client's connection.
    pub peer: IpAddr,
    /// The HTTP version of the request.
    pub version: Version,
    /// Proxies whose forwarding headers are kept.
    pub trusted: &'a [IpNet],
}

/// Returns the headers of the request to the backend: the client's end-to-end headers, without its own forwarding
/// headers unless it is trusted, plus `X-Forwarded-For`, `-Proto`, `-Host` and `Via`.
///
/// Content-Length and Host stay as they came. Expect is answered by the balancer and not passed on, as RFC 9110 §10.1.1
/// allows.
pub fn to_backend(method: &Method, headers: &HeaderMap, body: Body, origin: Origin<'_>) -> HeaderMap {
    let trusted = origin.trusted.iter().any(|net| net.contains(&origin.peer));
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in end_to_end(headers) {
        if *name == header::EXPECT || (!trusted && claims_origin(name)) {
            continue;
        }
        out.append(name, value.clone());
    }
    if let Ok(peer) = HeaderValue::try_from(origin.peer.to_string()) {
        out.append(X_FORWARDED_FOR, peer);
    }
    if !out.contains_key(X_FORWARDED_PROTO) {
        out.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if let Some(host) = headers.get(header::HOST)
        && !out.contains_key(X_FORWARDED_HOST)
    {
        out.insert(X_FORWARDED_HOST, host.clone());
    }
    let via = if origin.version == Version::HTTP_10 { "1.0 turnwheel" } else { "1.1 turnwheel" };
    out.append(header::VIA, HeaderValue::from_static(via));
    // The length delimits the body, so no `Connection: content-length` may remove it. Without a body, methods that
    // usually have one get a length of 0 (RFC 9110 §8.6).
    match body {
        Body::Sized(length) => drop(out.insert(header::CONTENT_LENGTH, length.into())),
        Body::None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            out.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Body::None | Body::Chunked => {}
    }
    out
}

/// Returns whether this header can claim another origin.
fn claims_origin(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == header::FORWARDED || *name == X_REAL_IP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::hop_by_hop::tests::map;
    use proptest::prelude::*;

    fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
        map.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_string())).collect()
    }

    fn forwarded(method: &Method, headers: &[(&str, &str)], trusted: &[IpNet]) -> Vec<(String, String)> {
        let origin = Origin { peer: [192, 0, 2, 7].into(), version: Version::HTTP_11, trusted };
        pairs(&to_backend(method, &map(headers), Body::None, origin))
    }

    fn has(headers: &[(String, String)], name: &str, value: &str) -> bool {
        headers.iter().any(|(n, v)| n == name && v == value)
    }

    #[test]
    fn forwarding_headers_of_an_untrusted_client_are_dropped() {
        let sent = [
            ("host", "example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
        ];
        let headers = forwarded(&Method::GET, &sent, &[]);
        assert_eq!(
            headers,
            [
                ("host", "example"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "example"),
                ("via", "1.1 turnwheel"),
            ]
            .map(|(n, v)| (n.to_string(), v.to_string()))
        );
    }

    #[test]
    fn forwarding_headers_of_a_trusted_proxy_are_extended() {
        let trusted = ["192.0.2.0/24".parse().unwrap()];
        let sent = [
            ("host", "h"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("via", "1.1 edge"),
        ];
        let headers = forwarded(&Method::GET, &sent, &trusted);
        let chain: Vec<_> =
            headers.iter().filter(|(n, _)| n == "x-forwarded-for").map(|(_, v)| v.as_str()).collect();
        assert_eq!(chain, ["10.0.0.1", "192.0.2.7"]);
        assert!(has(&headers, "x-forwarded-proto", "https"));
        assert!(has(&headers, "via", "1.1 edge") && has(&headers, "via", "1.1 turnwheel"));
    }

    #[test]
    fn a_post_without_a_body_has_a_length_of_zero() {
        assert!(has(&forwarded(&Method::POST, &[], &[]), "content-length", "0"));
        assert!(!has(&forwarded(&Method::GET, &[], &[]), "content-length", "0"));
    }

    proptest! {
        #[test]
        fn end_to_end_headers_keep_their_order(names in proptest::collection::vec("x-[a-e]", 0..12)) {
            let sent: Vec<(String, String)> =
                names.iter().enumerate().map(|(i, n)| (n.clone(), i.to_string())).collect();
            let mut headers = HeaderMap::new();
            for (n, v) in &sent {
                headers.append(HeaderName::try_from(n.as_str()).unwrap(), HeaderValue::try_from(v.as_str()).unwrap());
            }
            let origin = Origin { peer: [127, 0, 0, 1].into(), version: Version::HTTP_11, trusted: &[] };
            let got = to_backend(&Method::GET, &headers, Body::None, origin);
            for name in ["x-a", "x-b", "x-c", "x-d", "x-e"] {
                let sent: Vec<_> = sent.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
                let got: Vec<_> = got.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
                prop_assert_eq!(sent, got);
            }
        }
    }
}

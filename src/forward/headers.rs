//! Which headers a gateway passes on, and which it adds: pure functions.

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

/// Where a request came from, as far as its headers are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// The HTTP version that the client spoke.
    pub version: Version,
    /// Proxies whose own word on the client is believed.
    pub trusted: &'a [IpNet],
}

/// The headers of the request to the backend: the client's own end-to-end headers, without its
/// claims about where it comes from, plus `X-Forwarded-For`, `-Proto`, `-Host` and `Via`.
///
/// Content-Length and Host stay as they came; Expect is answered by the balancer and not passed on
/// (RFC 9110 §10.1.1 lets a gateway do so).
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
    // The length decides where the body ends, so no `Connection: content-length` may remove it. A
    // request without a body that could have one says so (RFC 9110 §8.6).
    match body {
        Body::Sized(length) => drop(out.insert(header::CONTENT_LENGTH, length.into())),
        Body::None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            out.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Body::None | Body::Chunked => {}
    }
    out
}

/// Is this a header in which a client could pretend to come from elsewhere?
fn claims_origin(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == header::FORWARDED || *name == X_REAL_IP
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        map
    }

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
    fn a_strangers_word_on_where_it_comes_from_is_dropped() {
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
    fn a_trusted_proxys_word_is_kept_and_added_to() {
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
    fn a_post_without_a_body_says_so() {
        assert!(has(&forwarded(&Method::POST, &[], &[]), "content-length", "0"));
        assert!(!has(&forwarded(&Method::GET, &[], &[]), "content-length", "0"));
    }

    proptest! {
        #[test]
        fn what_is_not_hop_by_hop_arrives_in_order(names in proptest::collection::vec("x-[a-e]", 0..12)) {
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

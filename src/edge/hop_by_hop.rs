//! Separates hop-by-hop headers from end-to-end headers. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that belong to one connection and not to the message (RFC 9110 §7.6.1), in addition to the
/// headers that `Connection` lists.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Returns whether a `Connection` header lists this option, without regard to case (RFC 9110 §7.6.1).
///
/// ```
/// use http::HeaderMap;
/// let mut headers = HeaderMap::new();
/// headers.insert("connection", "Keep-Alive, Close".parse().unwrap());
/// assert!(turnwheel::internals::hop_by_hop::connection_names(&headers, "close"));
/// ```
pub fn connection_names(headers: &HeaderMap, option: &str) -> bool {
    connection_options(headers).any(|named| named.eq_ignore_ascii_case(option))
}

/// Returns the options that the `Connection` headers list.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Returns the headers that go on to the next hop, in order, with repeats.
pub fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    // Most messages have no Connection header, or one that lists no header: the common case is cheap.
    let names_others = connection_options(headers)
        .any(|option| !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close"));
    headers.iter().filter(move |(name, _)| {
        let named = names_others && *name != header::HOST && connection_names(headers, name.as_str());
        !named && !HOP_BY_HOP.contains(name)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns these headers, in order, with repeats.
    pub(crate) fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        map
    }

    #[test]
    fn removes_hop_by_hop_headers_and_those_that_connection_lists() {
        let headers = map(&[
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("proxy-authenticate", "x"),
            ("proxy-authorization", "x"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        let kept: Vec<_> = end_to_end(&headers).map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(kept, [("accept", "a"), ("accept", "b")]);
    }

    #[test]
    fn connection_cannot_remove_the_host() {
        let headers = map(&[("connection", "host"), ("host", "a")]);
        assert_eq!(end_to_end(&headers).count(), 1);
    }

    proptest! {
        #[test]
        fn removes_every_header_that_connection_lists(names in proptest::collection::vec("[a-z]{1,9}", 1..6)) {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::try_from(names.join(" , ")).unwrap());
            for name in &names {
                headers.append(HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::from_static("x"));
            }
            let left: Vec<_> = end_to_end(&headers).map(|(n, _)| n.to_string()).filter(|n| n != "host").collect();
            prop_assert!(left.is_empty(), "{:?}", left);
        }
    }
}

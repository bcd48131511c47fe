//! One name for a request, in the client's log, in the balancer's and in the backend's: `X-Request-Id`.

use crate::forward::headers::{connection_names, connection_options};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The header that says it.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are replaced: what a client says is written into every log on the way.
const LONGEST: usize = 128;

/// The id that a message has: one, of letters, digits and what common ids are written with. Whatever else a client
/// calls an id could be mistaken for another field in somebody's log.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(X_REQUEST_ID).iter();
    let id = all.next()?.as_bytes();
    let fits = (1..=LONGEST).contains(&id.len()) && id.iter().copied().all(is_common);
    if fits && all.next().is_none() { std::str::from_utf8(id).ok() } else { None }
}

fn is_common(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=' | b'@' | b'~')
}

/// `Connection` may say that it was for one hop. The one that goes on is the balancer's own.
fn goes_on(headers: &mut HeaderMap) {
    if !connection_names(headers, X_REQUEST_ID.as_str()) {
        return;
    }
    let others =
        connection_options(headers).filter(|option| !option.eq_ignore_ascii_case(X_REQUEST_ID.as_str()));
    let others = HeaderValue::try_from(others.collect::<Vec<_>>().join(", "));
    // What was taken out of a value makes a value.
    headers.insert(header::CONNECTION, others.unwrap_or_else(|_| HeaderValue::from_static("close")));
}

/// Sees to it that a request has one: its client's own, or one that no other request has.
pub fn settle(request: &mut HeaderMap) {
    if of(request).is_none() {
        let id = format!("{:032x}", fastrand::u128(..));
        // Digits always make a value.
        let id = HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"));
        request.insert(X_REQUEST_ID, id);
    }
    goes_on(request);
}

/// Tells the client which one its request had.
pub fn echo(request: &HeaderMap, reply: &mut HeaderMap) {
    if let (Some(_), Some(id)) = (of(request), request.get(X_REQUEST_ID)) {
        reply.insert(X_REQUEST_ID, id.clone());
        goes_on(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn with(ids: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }
        headers
    }

    #[test]
    fn a_clients_own_id_is_kept() {
        let long = "x".repeat(LONGEST);
        for id in
            ["7", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Root=1-67891233-abc", "a/b:c+d@e~f_g.h", &long]
        {
            let mut request = with(&[id.as_bytes()]);
            settle(&mut request);
            assert_eq!(of(&request), Some(id));
            let mut reply = with(&[b"of the backend"]);
            echo(&request, &mut reply);
            assert_eq!(reply.get_all(X_REQUEST_ID).iter().collect::<Vec<_>>(), [id]);
        }
    }

    #[test]
    fn what_would_be_mistaken_in_a_log_is_replaced() {
        let long = vec![b'x'; LONGEST + 1];
        let sent: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"a b"],
            &[b"a\tb"],
            &[b"a\"b"],
            &[b"a\\b"],
            &[b"caf\xc3\xa9"],
            &[&long],
            &[b"one", b"two"],
        ];
        for ids in sent {
            let mut request = with(ids);
            assert_eq!(of(&request), None, "{ids:?}");
            settle(&mut request);
            let id = of(&request).unwrap();
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}: {id}");
        }
    }

    #[test]
    fn no_two_requests_are_called_alike() {
        let named = |_| {
            let mut request = HeaderMap::new();
            settle(&mut request);
            of(&request).unwrap().to_owned()
        };
        assert_eq!((0..10_000).map(named).collect::<HashSet<_>>().len(), 10_000);
    }
}

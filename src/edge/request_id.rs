//! `X-Request-Id`: one id for a request in the logs of the client, the balancer and the backend.

use crate::edge::hop_by_hop::{connection_names, connection_options};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The header that carries the id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id in bytes. A longer one is replaced, because a client's id is written into every log on the way.
const MAX_LENGTH: usize = 128;

/// Returns the id of a message, or `None` if it has none, more than one, or one that is too long or has
/// other characters than common ids have: such an id could be taken for another field in a log.
pub fn get(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(X_REQUEST_ID).iter();
    let id = all.next()?.as_bytes();
    let is_valid = (1..=MAX_LENGTH).contains(&id.len()) && id.iter().copied().all(is_id_byte);
    if is_valid && all.next().is_none() { std::str::from_utf8(id).ok() } else { None }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=' | b'@' | b'~')
}

/// Makes the id an end-to-end header: removes its name from `Connection`, which may have limited a
/// client's or a backend's own id to one hop.
fn make_end_to_end(headers: &mut HeaderMap) {
    if !connection_names(headers, X_REQUEST_ID.as_str()) {
        return;
    }
    let others =
        connection_options(headers).filter(|option| !option.eq_ignore_ascii_case(X_REQUEST_ID.as_str()));
    let others = HeaderValue::try_from(others.collect::<Vec<_>>().join(", "));
    // Parts of a valid value make a valid value.
    headers.insert(header::CONNECTION, others.unwrap_or_else(|_| HeaderValue::from_static("close")));
}

/// Gives a request a unique id unless its client has set a valid one.
pub fn ensure(request: &mut HeaderMap) {
    if get(request).is_none() {
        let id = format!("{:032x}", fastrand::u128(..));
        // Digits always make a valid value.
        let id = HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"));
        request.insert(X_REQUEST_ID, id);
    }
    make_end_to_end(request);
}

/// Copies the request's id to its reply.
pub fn echo(request: &HeaderMap, reply: &mut HeaderMap) {
    if let (Some(_), Some(id)) = (get(request), request.get(X_REQUEST_ID)) {
        reply.insert(X_REQUEST_ID, id.clone());
        make_end_to_end(reply);
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
    fn keeps_a_valid_id_of_the_client() {
        let long = "x".repeat(MAX_LENGTH);
        for id in
            ["7", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Root=1-67891233-abc", "a/b:c+d@e~f_g.h", &long]
        {
            let mut request = with(&[id.as_bytes()]);
            ensure(&mut request);
            assert_eq!(get(&request), Some(id));
            let mut reply = with(&[b"of the backend"]);
            echo(&request, &mut reply);
            assert_eq!(reply.get_all(X_REQUEST_ID).iter().collect::<Vec<_>>(), [id]);
        }
    }

    #[test]
    fn replaces_an_id_that_could_be_misread_in_a_log() {
        let long = vec![b'x'; MAX_LENGTH + 1];
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
            assert_eq!(get(&request), None, "{ids:?}");
            ensure(&mut request);
            let id = get(&request).unwrap();
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}: {id}");
        }
    }

    #[test]
    fn gives_each_request_its_own_id() {
        let id = |_| {
            let mut request = HeaderMap::new();
            ensure(&mut request);
            get(&request).unwrap().to_owned()
        };
        assert_eq!((0..10_000).map(id).collect::<HashSet<_>>().len(), 10_000);
    }
}

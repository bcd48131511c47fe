//! Checks that a head is found and parsed the same however its bytes are cut, and that the reference agrees.

#![no_main]

use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use std::ops::Range;
use turnwheel::config::Limits;
use turnwheel::internals::parser::head;
use turnwheel::internals::parser::head_scanner::HeadScanner;
use turnwheel::internals::request_head::Body;
use turnwheel_fuzz::{Head, cuts, limits};

fuzz_target!(|bytes: &[u8]| {
    for limits in limits() {
        let read = find(bytes, &[bytes.len()], &limits);
        let at_once = read.as_ref().map(|read| read.as_ref().map(comparable));
        for ends in [cuts(bytes), (1..=bytes.len()).collect()] {
            let again = find(bytes, &ends, &limits);
            assert_eq!(at_once, again.as_ref().map(|read| read.as_ref().map(comparable)), "cut at {ends:?}");
        }
        let reference = Head::read(bytes);
        match (&read, &reference) {
            (Ok(Some(read)), Some(reference)) => {
                agrees(read, reference);
                round_trip(read, &limits);
            }
            (Ok(Some(read)), None) => panic!("the reference does not accept {read:?}"),
            (_, Some(reference)) => assert!(!reference.is_plain(&limits), "{read:?}: {reference:?}"),
            // More bytes are needed, so there may be no visible fault so far.
            (Ok(None), None) => assert!(bytes.len() as u64 <= limits.head + 8 && !has_bare_lf(bytes)),
            (Err(()), None) => {}
        }
    }
    let _ = head::parse(bytes, &Limits::default()); // must not panic without a scan either
});

type Read = (Range<usize>, Parts, Body);

/// Scans for a head each time the bytes up to one of `ends` have arrived, and parses it. The cut may decide
/// which fault is found first, but not whether there is one.
fn find(bytes: &[u8], ends: &[usize], limits: &Limits) -> Result<Option<Read>, ()> {
    let mut scanner = HeadScanner::default();
    for end in ends {
        if let Some(range) = scanner.scan(&bytes[..*end], limits).map_err(drop)? {
            let (parts, body) = head::parse(&bytes[range.clone()], limits).map_err(drop)?;
            return Ok(Some((range, parts, body)));
        }
    }
    Ok(None)
}

/// Returns a head in a form that can be compared.
fn comparable((range, parts, body): &Read) -> (Range<usize>, String, Body) {
    (range.clone(), format!("{parts:?}"), *body)
}

/// Asserts that the head is what the reference reads, except for what an absolute-form target changes.
fn agrees((range, parts, body): &Read, reference: &Head<'_>) {
    assert_eq!(*range, reference.range);
    assert_eq!(parts.method.as_str().as_bytes(), reference.method);
    assert_eq!(format!("{:?}", parts.version).as_bytes(), reference.version);
    assert_eq!(Some(*body), reference.body());
    let hosts = reference.values("host").len();
    assert!(hosts == 1 || hosts == 0 && reference.version == b"HTTP/1.0");
    let origin_form = matches!(reference.target[0], b'/' | b'*');
    let target = parts.uri.path_and_query().map_or("", |path| path.as_str());
    assert!(target.starts_with('/') || target == "*", "neither a path nor *: {target:?}");
    if origin_form {
        assert_eq!(target.as_bytes(), reference.target);
    }
    for name in parts.headers.keys().filter(|name| origin_form || *name != "host") {
        let values: Vec<_> = parts.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        assert_eq!(values, reference.values(name.as_str()), "{name}");
    }
    let added = usize::from(hosts == 0 && parts.headers.contains_key("host"));
    assert_eq!(parts.headers.len(), reference.fields.len() + added);
    let host = parts.headers.get("host").map_or(&b"a"[..], |host| host.as_bytes());
    let delimits = |byte: &u8| byte.is_ascii_control() || b" /?#@\\\"<>".contains(byte);
    assert!(!host.is_empty() && !host.iter().any(delimits), "no host: {host:?}");
}

/// Asserts that the head stays the same when it is written in canonical form and parsed again.
fn round_trip((_, parts, body): &Read, limits: &Limits) {
    let mut bytes = format!("{} {} {:?}\r\n", parts.method, parts.uri, parts.version).into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    // Blanks and a Host may have made it longer.
    let roomy = Limits { head: 1 << 20, uri: 1 << 20, headers: limits.headers + 1, ..*limits };
    let again = find(&bytes, &[bytes.len()], &roomy).expect("it is refused").expect("it has no end");
    assert_eq!(comparable(&again), comparable(&(0..bytes.len(), parts.clone(), *body)));
}

fn has_bare_lf(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

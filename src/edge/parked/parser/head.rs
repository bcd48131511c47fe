//! The parsing of a whole request head.

use crate::edge::options::Limits;
use crate::edge::request_head::{self, Body, RawHead};
use crate::error::Refusal;
use http::{Version, request};
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// Header lines that are parsed without a heap allocation.
const STACK_HEADERS: usize = 64;

/// Parses and checks a whole head. Returns it and how its body is delimited.
///
/// # Errors
/// The refusal that the client gets. After it, no further byte of the connection may be parsed.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<(request::Parts, Body), Refusal> {
    let mut on_stack = [const { MaybeUninit::uninit() }; STACK_HEADERS];
    match parse_with(bytes, &mut on_stack, limits) {
        Err(httparse::Error::TooManyHeaders) if limits.headers() > STACK_HEADERS => {
            let mut on_heap = vec![MaybeUninit::uninit(); limits.headers()];
            parse_with(bytes, &mut on_heap, limits)
        }
        parsed => parsed,
    }
    .unwrap_or_else(|error| Err(refusal(error, bytes)))
}

/// Parses and checks a head with room for as many header lines as `headers` has. The outer result is
/// the parser's, the inner one the check's.
fn parse_with<'a>(
    bytes: &'a [u8],
    headers: &mut [MaybeUninit<Header<'a>>],
    limits: &Limits,
) -> Result<Result<(request::Parts, Body), Refusal>, httparse::Error> {
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(bytes, headers)?;
    let (Status::Complete(_), Some(method), Some(target)) = (status, parsed.method, parsed.path) else {
        return Err(httparse::Error::Token); // cannot be: the blank line is there
    };
    let fields = parsed.headers.iter().map(|header| (header.name.as_bytes(), header.value));
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let raw = RawHead { method: method.as_bytes(), target: target.as_bytes(), version, fields };
    Ok(request_head::check(raw, limits))
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error::*;
    Refusal::BadRequest(match error {
        TooManyHeaders => return Refusal::HeadTooLarge,
        Version if has_other_version(bytes) => return Refusal::Version,
        Version => "the request line does not end with an HTTP version",
        HeaderName => "a header name has a character that is not allowed",
        HeaderValue => "a header value has a character that is not allowed",
        NewLine | Status | Token => "the request line cannot be read",
    })
}

/// Returns whether the request line ends with a valid version whose major number is not 1.
fn has_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && *major != b'1' && minor.is_ascii_digit()
        }
        _ => false,
    }
}

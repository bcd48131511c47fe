//! The head of a reply, and the replies that the balancer makes itself.

use crate::edge::framing::{AfterReply, Delimiter, Framing};
use crate::edge::{hop_by_hop, request_id};
use crate::error::Refusal;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, request, response};
use std::io::Write;
use std::time::SystemTime;

/// Appends a reply's head to `out`.
pub fn write_head(reply: &response::Parts, framing: Framing, out: &mut Vec<u8>) {
    write_status_line(reply.status, out);
    let mut has_date = false;
    for (name, value) in hop_by_hop::end_to_end(&reply.headers) {
        if *name == header::CONTENT_LENGTH {
            continue; // the framing decides on it, below
        }
        has_date |= *name == header::DATE;
        write_title_case(name, out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !has_date {
        write_date(out); // a gateway adds a missing Date (RFC 9110 §6.6.1)
    }
    if let Some(length) = framing.length {
        write_text(out, format_args!("Content-Length: {length}\r\n"));
    }
    if framing.delimiter == Delimiter::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if framing.says_keep_alive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    } else if !framing.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the body of a refusal: one line of text that names no inside address.
fn refusal_text(refusal: Refusal) -> String {
    format!("{refusal}\n")
}

/// Returns the size of a refusal's body in bytes: 0 in reply to HEAD.
pub fn refusal_bytes(refusal: Refusal, request: Option<&request::Parts>) -> u64 {
    let bodiless = request.is_some_and(|request| request.method == Method::HEAD);
    if bodiless { 0 } else { refusal_text(refusal).len() as u64 }
}

/// Returns a whole refusal, head and body, and what happens to the connection after it. `request` is
/// `None` if the request's head was refused.
pub fn refusal(
    refusal: Refusal,
    request: Option<&request::Parts>,
    may_keep_alive: bool,
) -> (Vec<u8>, AfterReply) {
    let text = refusal_text(refusal);
    let length = text.len() as u64;
    let (mut reply, ()) = http::Response::new(()).into_parts();
    reply.status = refusal.status();
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply.headers.extend(refusal.header().map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Some(request) = request {
        request_id::echo(&request.headers, &mut reply.headers);
    }
    let framing = match request {
        Some(request) => Framing::new(request, reply.status, Some(length), may_keep_alive),
        None => Framing::closing(length),
    };
    let mut out = Vec::with_capacity(256);
    write_head(&reply, framing, &mut out);
    if framing.delimiter != Delimiter::Bodiless {
        out.extend_from_slice(text.as_bytes());
    }
    (out, framing.after_reply())
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    let reason = status.canonical_reason().unwrap_or("");
    write_text(out, format_args!("HTTP/1.1 {} {reason}\r\n", status.as_u16()));
}

fn write_date(out: &mut Vec<u8>) {
    write_text(out, format_args!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())));
}

fn write_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text); // writing to a vector does not fail
}

/// Appends a header name in its usual spelling, `Content-Type`: the `http` crate keeps names in lower case.
fn write_title_case(name: &HeaderName, out: &mut Vec<u8>) {
    let mut begins_word = true;
    out.extend(name.as_str().bytes().map(|byte| {
        let byte = if begins_word { byte.to_ascii_uppercase() } else { byte };
        begins_word = byte == b'-';
        byte
    }));
}

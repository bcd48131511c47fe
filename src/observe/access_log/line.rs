//! One line of the access log.

use super::Format;
use crate::edge::request_id;
use crate::observe::outcome::Outcome;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fmt::{self, Display};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// A line is seldom longer.
const USUAL: usize = 512;

/// The line of a request that has just ended.
pub fn of(format: Format, outcome: &Outcome<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL);
    let target = outcome.head.map(|head| head.uri.to_string());
    let target = target.as_deref();
    // Writing to a vector does not fail, and there is nothing in a line that JSON does not know.
    let _ = match format {
        Format::Text => text(&mut out, outcome, target),
        Format::Json => serde_json::to_writer(&mut out, &Line::of(outcome, target)).map_err(Into::into),
    };
    out.push(b'\n');
    out
}

/// The combined log format, and what a balancer has to add.
fn text(out: &mut Vec<u8>, outcome: &Outcome<'_>, target: Option<&str>) -> std::io::Result<()> {
    let Outcome { head, status, bytes, tries, received, .. } = outcome;
    let headers = head.map(|head| &head.headers);
    write!(out, "{} - - [{}] \"", outcome.peer.ip(), Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000"))?;
    match (head, target) {
        (Some(Parts { method, version, .. }), Some(target)) => {
            write!(out, "{method} {} {version:?}", Escaped(target.as_bytes()))?;
        }
        _ => out.push(b'-'),
    }
    let [referer, agent] = [header::REFERER, header::USER_AGENT].map(|name| said(headers, &name));
    write!(out, "\" {} {bytes} \"{}\" \"{}\"", status.as_u16(), OrDash(referer), OrDash(agent))?;
    let backend = outcome.backend.map(|backend| backend.authority());
    let id = headers.and_then(request_id::get);
    write!(out, " id={} backend={} tries={tries} received={received}", OrDash(id), OrDash(backend))?;
    let [queue, upstream, total] =
        [outcome.queued.unwrap_or_default(), outcome.upstream, outcome.total].map(|time| time.as_secs_f64());
    write!(out, " queue={queue:.6} upstream={upstream:.6} total={total:.6}")?;
    let reason = outcome.refusal.map(|refusal| refusal.reason());
    write!(out, " ended={} reason={}", outcome.ended.word(), OrDash(reason))
}

/// The same, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "time_of_day")]
    time: Timestamp,
    id: Option<&'a str>,
    client: IpAddr,
    method: Option<&'a str>,
    #[serde(serialize_with = "in_words")]
    target: Option<Target<'a>>,
    version: Option<&'static str>,
    #[serde(serialize_with = "in_words")]
    host: Option<Escaped<'a>>,
    status: u16,
    ended: &'static str,
    reason: Option<&'static str>,
    bytes: u64,
    received: u64,
    #[serde(serialize_with = "in_words")]
    referer: Option<Escaped<'a>>,
    #[serde(serialize_with = "in_words")]
    user_agent: Option<Escaped<'a>>,
    backend: Option<&'a str>,
    tries: u32,
    queue_seconds: f64,
    upstream_seconds: f64,
    total_seconds: f64,
}

impl<'a> Line<'a> {
    fn of(outcome: &Outcome<'a>, target: Option<&'a str>) -> Self {
        let head = outcome.head;
        let headers = head.map(|head| &head.headers);
        Line {
            time: Timestamp::now(),
            id: headers.and_then(request_id::get),
            client: outcome.peer.ip(),
            method: head.map(|head| head.method.as_str()),
            target: target.map(Target),
            version: head.map(|head| version(head.version)),
            host: said(headers, &header::HOST),
            status: outcome.status.as_u16(),
            ended: outcome.ended.word(),
            reason: outcome.refusal.map(|refusal| refusal.reason()),
            bytes: outcome.bytes,
            received: outcome.received,
            referer: said(headers, &header::REFERER),
            user_agent: said(headers, &header::USER_AGENT),
            backend: outcome.backend.map(|backend| backend.authority().as_str()),
            tries: outcome.tries,
            queue_seconds: seconds(outcome.queued.unwrap_or_default()),
            upstream_seconds: seconds(outcome.upstream),
            total_seconds: seconds(outcome.total),
        }
    }
}

/// A header's value, if there is one.
fn said<'a>(headers: Option<&'a HeaderMap>, name: &HeaderName) -> Option<Escaped<'a>> {
    headers?.get(name).map(|value| Escaped(value.as_bytes()))
}

/// Milliseconds are too coarse for a loopback backend: seconds with six digits.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

fn version(version: http::Version) -> &'static str {
    if version == http::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// What came from a client as a log may hold it: printable ASCII, everything else as `\xNN`.
struct Escaped<'a>(&'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// The same for a target in JSON, which has its own way with quotes and backslashes.
struct Target<'a>(&'a str);

impl Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for plain in self.0.as_bytes().chunk_by(|one, other| one.is_ascii() == other.is_ascii()) {
            match std::str::from_utf8(plain) {
                Ok(plain) if plain.is_ascii() => f.write_str(plain)?,
                _ => plain.escape_ascii().fmt(f)?,
            }
        }
        Ok(())
    }
}

/// A field of text that there may be nothing to say in.
struct OrDash<T>(Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

fn in_words<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339, with six digits.
fn time_of_day<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

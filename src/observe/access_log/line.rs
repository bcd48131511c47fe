//! Formats one line of the access log.

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

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// The combined log format, followed by the balancer's own fields.
    Text,
    /// One JSON object on each line.
    Json,
}

/// The initial capacity of a line, in bytes. Few lines are longer.
const CAPACITY: usize = 512;

/// Returns the line of a request that has just ended, with its line feed.
pub fn format(format: AccessLogFormat, outcome: &Outcome<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(CAPACITY);
    let target = outcome.head.map(|head| head.uri.to_string());
    let target = target.as_deref();
    // Writing to a vector cannot fail, and every field has a JSON representation.
    let _ = match format {
        AccessLogFormat::Text => write_text(&mut out, outcome, target),
        AccessLogFormat::Json => {
            serde_json::to_writer(&mut out, &JsonLine::new(outcome, target)).map_err(Into::into)
        }
    };
    out.push(b'\n');
    out
}

/// Writes the combined log format, followed by the balancer's own fields.
fn write_text(out: &mut Vec<u8>, outcome: &Outcome<'_>, target: Option<&str>) -> std::io::Result<()> {
    let Outcome { head, status, bytes, tries, received, .. } = outcome;
    let headers = head.map(|head| &head.headers);
    write!(out, "{} - - [{}] \"", outcome.peer.ip(), Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000"))?;
    match (head, target) {
        (Some(Parts { method, version, .. }), Some(target)) => {
            write!(out, "{method} {} {version:?}", Escaped(target.as_bytes()))?;
        }
        _ => out.push(b'-'),
    }
    let [referer, agent] = [header::REFERER, header::USER_AGENT].map(|name| header_value(headers, &name));
    write!(out, "\" {} {bytes} \"{}\" \"{}\"", status.as_u16(), TextField(referer), TextField(agent))?;
    let backend = outcome.backend.map(|backend| backend.authority());
    let id = headers.and_then(request_id::get);
    write!(out, " id={} backend={} tries={tries} received={received}", TextField(id), TextField(backend))?;
    let [queue, upstream, total] =
        [outcome.queued.unwrap_or_default(), outcome.upstream, outcome.total].map(|time| time.as_secs_f64());
    write!(out, " queue={queue:.6} upstream={upstream:.6} total={total:.6}")?;
    let reason = outcome.refusal.map(|refusal| refusal.reason());
    write!(out, " ended={} reason={}", outcome.ended.word(), TextField(reason))
}

/// A line as a JSON object.
#[derive(Serialize)]
struct JsonLine<'a> {
    #[serde(serialize_with = "rfc3339")]
    time: Timestamp,
    id: Option<&'a str>,
    client: IpAddr,
    method: Option<&'a str>,
    #[serde(serialize_with = "displayed")]
    target: Option<JsonTarget<'a>>,
    version: Option<&'static str>,
    #[serde(serialize_with = "displayed")]
    host: Option<Escaped<'a>>,
    status: u16,
    ended: &'static str,
    reason: Option<&'static str>,
    bytes: u64,
    received: u64,
    #[serde(serialize_with = "displayed")]
    referer: Option<Escaped<'a>>,
    #[serde(serialize_with = "displayed")]
    user_agent: Option<Escaped<'a>>,
    backend: Option<&'a str>,
    tries: u32,
    queue_seconds: f64,
    upstream_seconds: f64,
    total_seconds: f64,
}

impl<'a> JsonLine<'a> {
    fn new(outcome: &Outcome<'a>, target: Option<&'a str>) -> Self {
        let head = outcome.head;
        let headers = head.map(|head| &head.headers);
        JsonLine {
            time: Timestamp::now(),
            id: headers.and_then(request_id::get),
            client: outcome.peer.ip(),
            method: head.map(|head| head.method.as_str()),
            target: target.map(JsonTarget),
            version: head.map(|head| version(head.version)),
            host: header_value(headers, &header::HOST),
            status: outcome.status.as_u16(),
            ended: outcome.ended.word(),
            reason: outcome.refusal.map(|refusal| refusal.reason()),
            bytes: outcome.bytes,
            received: outcome.received,
            referer: header_value(headers, &header::REFERER),
            user_agent: header_value(headers, &header::USER_AGENT),
            backend: outcome.backend.map(|backend| backend.authority().as_str()),
            tries: outcome.tries,
            queue_seconds: seconds(outcome.queued.unwrap_or_default()),
            upstream_seconds: seconds(outcome.upstream),
            total_seconds: seconds(outcome.total),
        }
    }
}

/// Returns a header's first value, or `None` if the request has no such header.
fn header_value<'a>(headers: Option<&'a HeaderMap>, name: &HeaderName) -> Option<Escaped<'a>> {
    headers?.get(name).map(|value| Escaped(value.as_bytes()))
}

/// Returns the time in seconds, rounded to microseconds: milliseconds are too coarse for a backend on the same machine.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

fn version(version: http::Version) -> &'static str {
    if version == http::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// Bytes from a client, made safe for a terminal: everything but printable ASCII is written as an escape such as `\xNN`.
struct Escaped<'a>(&'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// A request target in JSON: only bytes outside ASCII are escaped, because JSON escapes quotes and backslashes itself.
struct JsonTarget<'a>(&'a str);

impl Display for JsonTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in self.0.as_bytes().chunk_by(|one, other| one.is_ascii() == other.is_ascii()) {
            match std::str::from_utf8(run) {
                Ok(ascii) if ascii.is_ascii() => f.write_str(ascii)?,
                _ => run.escape_ascii().fmt(f)?,
            }
        }
        Ok(())
    }
}

/// A field of a text line: its value, or `-` if there is none, as in the common log format.
struct TextField<T>(Option<T>);

impl<T: Display> Display for TextField<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Serializes a value as the string that `Display` gives, and `None` as null.
fn displayed<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Serializes a time as RFC 3339 with microseconds.
fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

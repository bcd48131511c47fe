//! The smoke test that every balancer passes before it is measured, because doing less work is not being faster.

use crate::backend::pattern;
use crate::cell::{Cell, Delay};
use crate::program::{Program, Programs};
use crate::variant::Variant;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Body size of an ordinary reply in bytes.
const BODY: usize = 100_000;

/// A balancer and its backends.
struct Setup {
    balancer: Program,
    backends: [Program; 2],
}

/// A requirement and its check.
type Check = (&'static str, fn(&Setup) -> Result<()>);

const CHECKS: [Check; 8] = [
    ("requests alternate between the backends", alternates_backends),
    ("reply bodies arrive whole", relays_bodies),
    ("a connection serves several requests, and closes on request", keeps_connections),
    ("HEAD has no body", answers_head),
    ("a status is passed on", relays_status),
    ("uploads arrive whole, sized and chunked", relays_uploads),
    ("backends receive the client's address and the Host", forwards_client_and_host),
    ("a malformed request is refused", refuses_a_malformed_request),
];

/// Runs the smoke test on a variant.
///
/// # Errors
/// Returns the first requirement that the variant does not meet.
pub fn check(programs: &Programs, variant: Variant) -> Result<()> {
    if variant == Variant::Direct {
        return Ok(()); // there is no balancer
    }
    let mut bed = Setup::of(programs, variant)?;
    for (requirement, check) in CHECKS {
        check(&bed).with_context(|| format!("{variant} fails the smoke test: {requirement}"))?;
    }
    bed.backends[0].end();
    serves_with_one_backend(&bed).with_context(|| {
        format!("{variant} fails the smoke test: when one backend is down, the other serves")
    })?;
    bed.backends[1].end();
    reports_no_backend(&bed).with_context(|| {
        format!("{variant} fails the smoke test: when all backends are down, the status is 502, 503 or 504")
    })
}

impl Setup {
    fn of(programs: &Programs, variant: Variant) -> Result<Setup> {
        let backends = [programs.backend("a", BODY, Delay::None)?, programs.backend("b", BODY, Delay::None)?];
        let addresses = backends.each_ref().map(|backend| backend.address);
        let balancer = programs.balancer(variant, &Cell::base(), addresses)?;
        Ok(Setup { balancer, backends })
    }

    fn ask(&self, request: &str) -> Result<Reply> {
        ask(self.balancer.address, request)
    }
}

/// A complete reply.
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> &str {
        self.head.get(9..12).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// Sends one request on a new connection with `Connection: close` and returns the reply.
fn ask(address: SocketAddr, request: &str) -> Result<Reply> {
    let mut stream = connect(address)?;
    let (line, rest) = request.split_once("\r\n").context("the request has no request line")?;
    write!(stream, "{line}\r\nHost: smoke.test\r\nConnection: close\r\n{rest}")?;
    read(&mut stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    Ok(stream)
}

/// Reads the reply until the connection closes.
fn read(stream: &mut TcpStream) -> Result<Reply> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).context("the reply does not end")?;
    split(&bytes)
}

fn split(bytes: &[u8]) -> Result<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("the reply has no head")?;
    Ok(Reply { head: String::from_utf8_lossy(&bytes[..end]).into_owned(), body: bytes[end + 4..].to_vec() })
}

fn alternates_backends(bed: &Setup) -> Result<()> {
    let mut turns = Vec::new();
    for _ in 0..8 {
        let reply = bed.ask("GET / HTTP/1.1\r\n\r\n")?;
        turns.push(
            reply
                .field("X-Backend")
                .with_context(|| format!("the reply has lost its X-Backend header: {}", reply.head))?
                .to_owned(),
        );
    }
    ensure!(turns.iter().filter(|name| *name == "a").count() == 4, "the order was {turns:?}");
    Ok(())
}

fn relays_bodies(bed: &Setup) -> Result<()> {
    ensure!(bed.ask("GET / HTTP/1.1\r\n\r\n")?.body == pattern(BODY), "the body differs");
    let huge = bed.ask("GET /huge HTTP/1.1\r\n\r\n")?.body;
    ensure!(huge == pattern(16 << 20), "of 16 MiB, {} bytes arrived, or the body differs", huge.len());
    Ok(())
}

fn keeps_connections(bed: &Setup) -> Result<()> {
    let mut stream = connect(bed.balancer.address)?;
    for _ in 0..3 {
        write!(stream, "GET / HTTP/1.1\r\nHost: smoke.test\r\n\r\n")?;
        let mut bytes = Vec::new();
        while split(&bytes).map_or(0, |reply| reply.body.len()) < BODY {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer)?;
            ensure!(n > 0, "the connection closed early");
            bytes.extend_from_slice(&buffer[..n]);
        }
    }
    write!(stream, "GET / HTTP/1.1\r\nHost: smoke.test\r\nConnection: close\r\n\r\n")?;
    ensure!(read(&mut stream)?.body.len() == BODY, "the last reply was incomplete");
    Ok(())
}

fn answers_head(bed: &Setup) -> Result<()> {
    let reply = bed.ask("HEAD / HTTP/1.1\r\n\r\n")?;
    let length = reply.field("Content-Length").unwrap_or_default();
    ensure!(reply.body.is_empty() && length == BODY.to_string(), "{}", reply.head);
    Ok(())
}

fn relays_status(bed: &Setup) -> Result<()> {
    let reply = bed.ask("GET /missing HTTP/1.1\r\n\r\n")?;
    ensure!(reply.status() == "404" && reply.body == b"missing", "{}", reply.head);
    Ok(())
}

fn relays_uploads(bed: &Setup) -> Result<()> {
    let body = String::from_utf8(pattern(BODY))?;
    let sized = format!("POST / HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n{body}");
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    for (request, sent) in [(sized, body.clone()), (chunked, body.repeat(2))] {
        let reply = bed.ask(&request)?;
        ensure!(reply.body == sent.as_bytes(), "{} of {} bytes arrived", reply.body.len(), sent.len());
    }
    Ok(())
}

fn forwards_client_and_host(bed: &Setup) -> Result<()> {
    let head = String::from_utf8(bed.ask("GET /head HTTP/1.1\r\n\r\n")?.body)?;
    for (name, value) in [("Host", "smoke.test"), ("X-Forwarded-For", "127.0.0.1")] {
        ensure!(field(&head, name) == Some(value), "{name} is not {value}: {head}");
    }
    Ok(())
}

fn refuses_a_malformed_request(bed: &Setup) -> Result<()> {
    let mut stream = connect(bed.balancer.address)?;
    stream.write_all(b"nonsense\r\n\r\n")?;
    let reply = read(&mut stream)?;
    ensure!(reply.status() == "400", "{}", reply.head);
    Ok(())
}

fn serves_with_one_backend(bed: &Setup) -> Result<()> {
    for _ in 0..8 {
        let reply = bed.ask("GET / HTTP/1.1\r\n\r\n")?;
        ensure!(reply.status() == "200" && reply.body.len() == BODY, "{}", reply.head);
    }
    Ok(())
}

fn reports_no_backend(bed: &Setup) -> Result<()> {
    match bed.ask("GET / HTTP/1.1\r\n\r\n")?.status() {
        "502" | "503" | "504" => Ok(()),
        other => bail!("the status is {other}"),
    }
}

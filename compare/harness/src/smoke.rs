//! What every balancer must do before it is measured: what does less work is not faster.

use crate::backend::pattern;
use crate::cell::{Cell, Delay};
use crate::program::{Program, Programs};
use crate::variant::Variant;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The size of an ordinary reply's body here.
const BODY: usize = 100_000;

/// A balancer and its backends.
struct Bed {
    balancer: Program,
    backends: [Program; 2],
}

/// One thing that it must do.
type Check = (&'static str, fn(&Bed) -> Result<()>);

const CHECKS: [Check; 8] = [
    ("backends take turns", takes_turns),
    ("bodies arrive whole", relays_bodies),
    ("a connection serves more than one request, and ends when asked to", keeps_connections),
    ("HEAD has no body", answers_head),
    ("a status is passed on", passes_status_on),
    ("uploads arrive whole, sized and in chunks", passes_uploads_on),
    ("backends learn whom they serve, and under which name", says_who_asks),
    ("nonsense is refused", refuses_nonsense),
];

/// Checks a variant.
///
/// # Errors
/// What it does not do.
pub fn check(programs: &Programs, variant: Variant) -> Result<()> {
    if variant == Variant::Direct {
        return Ok(()); // it balances nothing
    }
    let mut bed = Bed::of(programs, variant)?;
    for (promise, keeps) in CHECKS {
        keeps(&bed).with_context(|| format!("{variant} fails the smoke test: {promise}"))?;
    }
    bed.backends[0].end();
    serves_without_a_backend(&bed).with_context(|| {
        format!("{variant} fails the smoke test: when a backend is dead, the other serves")
    })?;
    bed.backends[1].end();
    says_that_none_is_left(&bed)
        .with_context(|| format!("{variant} fails the smoke test: when all are dead, it says so"))
}

impl Bed {
    fn of(programs: &Programs, variant: Variant) -> Result<Bed> {
        let backends = [programs.backend("a", BODY, Delay::None)?, programs.backend("b", BODY, Delay::None)?];
        let addresses = backends.each_ref().map(|backend| backend.address);
        let balancer = programs.balancer(variant, &Cell::base(), addresses)?;
        Ok(Bed { balancer, backends })
    }

    fn ask(&self, request: &str) -> Result<Reply> {
        ask(self.balancer.address, request)
    }
}

/// A reply.
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

/// One request on a connection of its own, that asks for the end of it.
fn ask(address: SocketAddr, request: &str) -> Result<Reply> {
    let mut stream = connect(address)?;
    let (line, rest) = request.split_once("\r\n").context("a request has a line")?;
    write!(stream, "{line}\r\nHost: smoke.test\r\nConnection: close\r\n{rest}")?;
    read(&mut stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What comes until the connection ends.
fn read(stream: &mut TcpStream) -> Result<Reply> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).context("the reply does not end")?;
    split(&bytes)
}

fn split(bytes: &[u8]) -> Result<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("there is no head")?;
    Ok(Reply { head: String::from_utf8_lossy(&bytes[..end]).into_owned(), body: bytes[end + 4..].to_vec() })
}

fn takes_turns(bed: &Bed) -> Result<()> {
    let mut turns = Vec::new();
    for _ in 0..8 {
        let reply = bed.ask("GET / HTTP/1.1\r\n\r\n")?;
        turns.push(
            reply.field("X-Backend").with_context(|| format!("a header is lost: {}", reply.head))?.to_owned(),
        );
    }
    ensure!(turns.iter().filter(|name| *name == "a").count() == 4, "it was {turns:?}");
    Ok(())
}

fn relays_bodies(bed: &Bed) -> Result<()> {
    ensure!(bed.ask("GET / HTTP/1.1\r\n\r\n")?.body == pattern(BODY), "it was another");
    let huge = bed.ask("GET /huge HTTP/1.1\r\n\r\n")?.body;
    ensure!(huge == pattern(16 << 20), "of 16 MiB {} bytes came, or others", huge.len());
    Ok(())
}

fn keeps_connections(bed: &Bed) -> Result<()> {
    let mut stream = connect(bed.balancer.address)?;
    for _ in 0..3 {
        write!(stream, "GET / HTTP/1.1\r\nHost: smoke.test\r\n\r\n")?;
        let mut bytes = Vec::new();
        while split(&bytes).map_or(0, |reply| reply.body.len()) < BODY {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece)?;
            ensure!(n > 0, "it ended");
            bytes.extend_from_slice(&piece[..n]);
        }
    }
    write!(stream, "GET / HTTP/1.1\r\nHost: smoke.test\r\nConnection: close\r\n\r\n")?;
    ensure!(read(&mut stream)?.body.len() == BODY, "the last was not whole");
    Ok(())
}

fn answers_head(bed: &Bed) -> Result<()> {
    let reply = bed.ask("HEAD / HTTP/1.1\r\n\r\n")?;
    let length = reply.field("Content-Length").unwrap_or_default();
    ensure!(reply.body.is_empty() && length == BODY.to_string(), "{}", reply.head);
    Ok(())
}

fn passes_status_on(bed: &Bed) -> Result<()> {
    let reply = bed.ask("GET /missing HTTP/1.1\r\n\r\n")?;
    ensure!(reply.status() == "404" && reply.body == b"missing", "{}", reply.head);
    Ok(())
}

fn passes_uploads_on(bed: &Bed) -> Result<()> {
    let body = String::from_utf8(pattern(BODY))?;
    let sized = format!("POST / HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n{body}");
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    for (request, sent) in [(sized, body.clone()), (chunked, body.repeat(2))] {
        let reply = bed.ask(&request)?;
        ensure!(reply.body == sent.as_bytes(), "{} of {} bytes came", reply.body.len(), sent.len());
    }
    Ok(())
}

fn says_who_asks(bed: &Bed) -> Result<()> {
    let came = String::from_utf8(bed.ask("GET /head HTTP/1.1\r\n\r\n")?.body)?;
    for (name, value) in [("Host", "smoke.test"), ("X-Forwarded-For", "127.0.0.1")] {
        ensure!(field(&came, name) == Some(value), "{name} is not {value}: {came}");
    }
    Ok(())
}

fn refuses_nonsense(bed: &Bed) -> Result<()> {
    let mut stream = connect(bed.balancer.address)?;
    stream.write_all(b"nonsense\r\n\r\n")?;
    let reply = read(&mut stream)?;
    ensure!(reply.status() == "400", "{}", reply.head);
    Ok(())
}

fn serves_without_a_backend(bed: &Bed) -> Result<()> {
    for _ in 0..8 {
        let reply = bed.ask("GET / HTTP/1.1\r\n\r\n")?;
        ensure!(reply.status() == "200" && reply.body.len() == BODY, "{}", reply.head);
    }
    Ok(())
}

fn says_that_none_is_left(bed: &Bed) -> Result<()> {
    match bed.ask("GET / HTTP/1.1\r\n\r\n")?.status() {
        "502" | "503" | "504" => Ok(()),
        other => bail!("it says {other}"),
    }
}

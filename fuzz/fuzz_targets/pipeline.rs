//! A connection's bytes are divided into requests in one way only: however they come, and as the
//! reference does it. Whoever could make the two ends of a request disagree about this could smuggle one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwheel::edge::request_head::Limits;
use turnwheel::edge::parked::body::Incoming;
use turnwheel::edge::parked::parser::{self, Scan};
use turnwheel::error::Refusal;
use turnwheel_fuzz::{Head, body, cuts, limits};

fuzz_target!(|bytes: &[u8]| {
    for limits in limits() {
        let at_once = divide(bytes, &[bytes.len()], &limits);
        for ends in [cuts(bytes), (1..=bytes.len()).collect()] {
            assert_eq!(at_once, divide(bytes, &ends, &limits), "cut at {ends:?}");
        }
        let mut rest = bytes;
        for request in &at_once.requests {
            let head = Head::read(rest).expect("the reference finds no head");
            assert_eq!(head.method, request.method.as_bytes());
            let framing = head.body().expect("the reference finds no framing");
            let behind = &rest[head.place.end..];
            let (data, taken) = body(framing, behind).expect("the reference finds no body");
            assert_eq!(data, request.body);
            rest = &behind[taken..];
        }
        assert_eq!(rest.len(), at_once.left);
    }
});

/// What came of a connection.
#[derive(Debug, PartialEq)]
struct Divided {
    /// Those that are whole.
    requests: Vec<Request>,
    /// Bytes behind the last of them.
    left: usize,
    /// What follows them is refused.
    refused: bool,
}

#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    head: String,
    body: Vec<u8>,
}

/// A connection as far as its bytes go.
struct Connection<'a> {
    limits: &'a Limits,
    scan: Scan,
    /// The request whose body is coming.
    request: Option<(Request, Incoming)>,
    requests: Vec<Request>,
}

fn divide(bytes: &[u8], ends: &[usize], limits: &Limits) -> Divided {
    let mut connection = Connection { limits, scan: Scan::default(), request: None, requests: Vec::new() };
    let (mut at, mut whole, mut refused) = (0, 0, false);
    for end in ends {
        while let Ok(Some(taken)) = connection.take(&bytes[at..*end]).inspect_err(|_| refused = true) {
            at += taken;
            if connection.request.is_none() {
                whole = at;
            }
        }
        if refused {
            break;
        }
    }
    Divided { requests: connection.requests, left: bytes.len() - whole, refused }
}

impl Connection<'_> {
    /// Takes a head or some of a body off `input`. `None`: it takes more bytes to go on.
    fn take(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let (mut request, mut incoming, mut taken) = match self.request.take() {
            Some((request, incoming)) => (request, incoming, 0),
            None => {
                let Some(place) = self.scan.head(input, self.limits)? else { return Ok(None) };
                let (parts, body) = parser::head(&input[place.clone()], self.limits)?;
                let head = format!("{parts:?} {body:?}");
                let request = Request { method: parts.method.to_string(), head, body: Vec::new() };
                self.scan = Scan::default();
                (request, Incoming::of(body), place.end)
            }
        };
        let mut out = [0; 16];
        let (more, put) = incoming.decode(&input[taken..], &mut out)?;
        taken += more;
        request.body.extend(&out[..put]);
        match incoming.is_over() {
            true => self.requests.push(request),
            false => self.request = Some((request, incoming)),
        }
        Ok((taken > 0).then_some(taken))
    }
}

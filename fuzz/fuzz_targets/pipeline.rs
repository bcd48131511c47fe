//! Checks that a connection's bytes are divided into requests in one way only, however they are cut, and
//! that the reference agrees. Where two servers disagree about that, requests can be smuggled.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwheel::config::Limits;
use turnwheel::internals::Refusal;
use turnwheel::internals::body::decoder::BodyDecoder;
use turnwheel::internals::parser::head;
use turnwheel::internals::parser::head_scanner::HeadScanner;
use turnwheel_fuzz::{Head, body, cuts, limits};

fuzz_target!(|bytes: &[u8]| {
    for limits in limits() {
        let at_once = divide(bytes, &[bytes.len()], &limits);
        for ends in [cuts(bytes), (1..=bytes.len()).collect()] {
            assert_eq!(at_once, divide(bytes, &ends, &limits), "cut at {ends:?}");
        }
        let mut rest = bytes;
        for request in &at_once.requests {
            let reference = Head::read(rest).expect("the reference finds no head");
            assert_eq!(reference.method, request.method.as_bytes());
            let framing = reference.body().expect("the reference finds no framing");
            let behind = &rest[reference.range.end..];
            let (data, taken) = body(framing, behind).expect("the reference finds no body");
            assert_eq!(data, request.body);
            rest = &behind[taken..];
        }
        assert_eq!(rest.len(), at_once.left);
    }
});

/// The result of dividing a connection's bytes.
#[derive(Debug, PartialEq)]
struct Divided {
    /// The complete requests.
    requests: Vec<Request>,
    /// Bytes after the last of them.
    left: usize,
    /// Whether what follows them is refused.
    refused: bool,
}

#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    head: String,
    body: Vec<u8>,
}

/// The parsing state of a connection.
struct Connection<'a> {
    limits: &'a Limits,
    scanner: HeadScanner,
    /// The request whose body is being decoded.
    request: Option<(Request, BodyDecoder)>,
    requests: Vec<Request>,
}

fn divide(bytes: &[u8], ends: &[usize], limits: &Limits) -> Divided {
    let mut connection =
        Connection { limits, scanner: HeadScanner::default(), request: None, requests: Vec::new() };
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
    /// Takes a head or a part of a body from `input`. Returns how many bytes were taken, or `None` if more
    /// bytes are needed.
    fn take(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let (mut request, mut decoder, mut taken) = match self.request.take() {
            Some((request, decoder)) => (request, decoder, 0),
            None => {
                let Some(range) = self.scanner.scan(input, self.limits)? else { return Ok(None) };
                let (parts, body) = head::parse(&input[range.clone()], self.limits)?;
                let head = format!("{parts:?} {body:?}");
                let request = Request { method: parts.method.to_string(), head, body: Vec::new() };
                self.scanner = HeadScanner::default();
                (request, BodyDecoder::new(body), range.end)
            }
        };
        let mut out = [0; 16];
        let (more, written) = decoder.decode(&input[taken..], &mut out)?;
        taken += more;
        request.body.extend(&out[..written]);
        match decoder.is_over() {
            true => self.requests.push(request),
            false => self.request = Some((request, decoder)),
        }
        Ok((taken > 0).then_some(taken))
    }
}

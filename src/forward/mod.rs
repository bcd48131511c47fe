//! Step 5: the request goes to a backend, through ureq, and its reply's head comes back.
//!
//! Each worker has an agent of its own, so that no two workers ever wait for the same pool of
//! connections.

mod agent;
mod connector;
pub mod retry;

use crate::backend::Backend;
use crate::edge::Exchange;
use crate::edge::head::Body;
use crate::error::Refusal;
use crate::headers::{self, Origin};
pub use agent::Handle;
use agent::Recipe;
use connector::{Trace, timeout_in};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version, response};
use ipnet::IpNet;
use retry::Failure;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use ureq::{BodyReader, SendBody};

/// How long backends are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For one connection attempt. 2 s.
    pub connect_timeout: Duration,
    /// From the end of the request to the end of the reply's head. 30 s.
    pub reply_head_timeout: Duration,
    /// For the next bytes of a reply's body, and for the backend to take the next bytes of a
    /// request's. 30 s.
    pub upstream_timeout: Duration,
    /// How long a connection to a backend is kept without use. 4 s: less than the 5 s after which
    /// common servers close theirs.
    pub upstream_idle_timeout: Duration,
    /// Further backends that are tried when one fails. 2.
    pub retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connect_timeout: Duration::from_secs(2),
            reply_head_timeout: Duration::from_secs(30),
            upstream_timeout: Duration::from_secs(30),
            upstream_idle_timeout: Duration::from_secs(4),
            retries: 2,
        }
    }
}

/// A reply whose head has arrived.
pub struct Reply {
    /// Status and headers.
    pub head: response::Parts,
    /// The length of its body, if the backend said so.
    pub length: Option<u64>,
    /// The body, as it arrives.
    pub body: BodyReader<'static>,
}

/// A try that failed.
#[derive(Debug)]
pub struct Failed {
    /// What the retry rule needs to know.
    pub failure: Failure,
    /// What the client gets if this was the last try.
    pub refusal: Refusal,
    /// For the log.
    pub cause: String,
}

/// Sends requests to backends. One for each worker.
pub struct Forwarder {
    recipe: Recipe,
    agent: Handle,
    trace: Arc<Trace>,
    trusted_proxies: Arc<[IpNet]>,
}

impl Forwarder {
    /// A forwarder with no connection open. `longest_line` is the longest request target that may
    /// come, in bytes.
    pub fn new(
        options: &Options,
        backends: Arc<[Arc<Backend>]>,
        trusted_proxies: Arc<[IpNet]>,
        longest_line: u64,
    ) -> Self {
        let trace = Arc::new(Trace::default());
        let recipe = Recipe::new(options, backends, longest_line, Arc::clone(&trace));
        Forwarder { agent: Handle::new(recipe.agent()), recipe, trace, trusted_proxies }
    }

    /// Something that ends this forwarder's calls from another thread.
    pub fn handle(&self) -> Handle {
        self.agent.clone()
    }

    /// Closes the connections to backends. ureq would look after old ones at the next call only, and
    /// there may be none for long.
    pub fn close_idle(&self) {
        self.agent.set(self.recipe.agent());
    }

    /// Sends the request and waits for the reply's head.
    ///
    /// # Errors
    /// With what is needed to decide about another try.
    pub fn send(&self, backend: &Backend, exchange: &mut Exchange) -> Result<Reply, Failed> {
        self.trace.reset();
        let (method, body) = (exchange.head.method.clone(), exchange.body);
        let origin = Origin {
            peer: exchange.peer.ip(),
            version: exchange.head.version,
            trusted: &self.trusted_proxies,
        };
        let mut request = Request::new(());
        *request.headers_mut() = headers::to_backend(&method, &exchange.head.headers, body, origin);
        *request.uri_mut() = upstream_uri(backend, &exchange.head.uri);
        *request.method_mut() = method;
        let mut upload = Upload { left: body, exchange, trace: &self.trace, failure: None };
        let agent = self.agent.get();
        let outcome = if matches!(body, Body::None) {
            agent.run(request)
        } else {
            agent.run(request.map(|()| SendBody::from_reader(&mut upload)))
        };
        let client = upload.failure;
        match outcome {
            Ok(reply) => self.reply(reply),
            Err(error) => Err(self.failed(error.to_string(), timeout_in(&error).is_some(), client)),
        }
    }

    fn reply(&self, reply: http::Response<ureq::Body>) -> Result<Reply, Failed> {
        let (head, body) = reply.into_parts();
        let declared = head.headers.get(CONTENT_LENGTH);
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let length = match (codings.next(), codings.next()) {
            (None, _) => declared.and_then(|value| value.to_str().ok()?.trim().parse().ok()),
            (Some(coding), None)
                if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version == Version::HTTP_11 =>
            {
                if declared.is_some() {
                    // RFC 9112 §6.3: the coding wins, and such a peer is not to be trusted further.
                    self.trace.spoiled.store(true, Relaxed);
                }
                None
            }
            // Its header would be lost on the way, and its body not understood without it.
            _ => {
                return Err(self.failed("its reply has a coding that was not asked for".into(), false, None));
            }
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.failed("it switches protocols, and was not asked to".into(), false, None));
        }
        Ok(Reply { head, length, body: body.into_reader() })
    }

    fn failed(&self, cause: String, timed_out: bool, client: Option<Refusal>) -> Failed {
        let failure = Failure {
            connected: self.trace.connected.load(Relaxed),
            fresh: self.trace.fresh.load(Relaxed),
            received: self.trace.received.load(Relaxed),
            timed_out,
            client: client.is_some(),
        };
        let refusal = match client {
            Some(refusal) => refusal,
            None if failure.timed_out && failure.connected => Refusal::BackendTooSlow,
            None => Refusal::BadGateway,
        };
        Failed { failure, refusal, cause }
    }
}

/// The client's path and query, at this backend.
fn upstream_uri(backend: &Backend, target: &Uri) -> Uri {
    let path = target.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(backend.authority().clone());
    // Scheme, authority and path together are always a URI.
    uri.path_and_query(path).build().unwrap_or_default()
}

/// The client's body on its way to the backend.
struct Upload<'a> {
    exchange: &'a mut Exchange,
    trace: &'a Trace,
    left: Body,
    failure: Option<Refusal>,
}

impl Read for Upload<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.trace.send_failed.load(Relaxed) {
            return Ok(self.pretend(buf.len()));
        }
        let n = self.exchange.read(buf).inspect_err(|error| self.failure = Some(why(error)))?;
        if let Body::Sized(left) = &mut self.left {
            *left = left.saturating_sub(n as u64);
        }
        Ok(n)
    }
}

impl Upload<'_> {
    /// Sending has failed, and what matters now is the reply that may say why. ureq reads it only
    /// once the body is over: so it gets a rest that nobody sends, and the client is left alone.
    fn pretend(&mut self, room: usize) -> usize {
        let Body::Sized(left) = &mut self.left else { return 0 };
        let n = room.min(usize::try_from(*left).unwrap_or(room));
        *left -= n as u64;
        n
    }
}

/// What the client did wrong: its edge wraps that in the error.
fn why(error: &io::Error) -> Refusal {
    let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
    refusal.copied().unwrap_or(Refusal::ClientGone)
}

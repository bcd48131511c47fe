//! Step 5: the request goes to a backend, through ureq, and its reply's head comes back.
//!
//! Each worker has an agent of its own, so that no two workers ever wait for the same pool of
//! connections.

mod agent;
mod connector;
pub mod headers;
mod options;
pub mod retry;
pub mod retry_budget;

use crate::backend::Backend;
use crate::edge::Exchange;
use crate::edge::request_head::Body;
use crate::error::Refusal;
pub use agent::Handle;
use agent::{Recipe, Target};
use connector::{Trace, timeout_in};
use headers::Origin;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version, response};
use ipnet::IpNet;
pub use options::ForwardOptions;
use retry::Failure;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use ureq::{BodyReader, SendBody};

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
    options: ForwardOptions,
    longest_line: u64,
    recipe: Recipe,
    agent: Handle,
    trace: Arc<Trace>,
    target: Arc<Target>,
}

impl Forwarder {
    /// A forwarder with no connection open. `longest_line` is the longest request target that may
    /// come, in bytes.
    pub fn new(options: &ForwardOptions, longest_line: u64) -> Self {
        let (trace, target) = (Arc::new(Trace::default()), Arc::new(Target::default()));
        let recipe = Recipe::new(options, Arc::clone(&target), longest_line, Arc::clone(&trace));
        let agent = Handle::new(recipe.agent());
        Forwarder { options: *options, longest_line, recipe, agent, trace, target }
    }

    /// Goes by these options from now on. If they are others, that takes new connections.
    pub fn adopt(&mut self, options: &ForwardOptions) {
        if self.options != *options {
            self.options = *options;
            let (trace, target) = (Arc::clone(&self.trace), Arc::clone(&self.target));
            self.recipe = Recipe::new(options, target, self.longest_line, trace);
            self.close_idle();
        }
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
    pub fn send(
        &self,
        backend: &Backend,
        trusted_proxies: &[IpNet],
        exchange: &mut Exchange,
    ) -> Result<Reply, Failed> {
        self.trace.reset();
        self.target.set(&backend.place().addresses);
        let (method, body) = (exchange.head.method.clone(), exchange.body);
        let origin =
            Origin { peer: exchange.peer.ip(), version: exchange.head.version, trusted: trusted_proxies };
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
            Err(error) => Err(self.failed(in_words(&error), timeout_in(&error).is_some(), client)),
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

/// What happened, without the word that it has to do with input and output.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
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
        let n =
            self.exchange.read(buf).inspect_err(|error| self.failure = Some(Refusal::of_upload(error)))?;
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

//! The forwarder on ureq: one agent for each worker.

use super::agent::{AgentFactory, AgentHandle, CallTarget};
use super::connector::{CallTrace, timeout_in};
use super::headers::{self, Origin};
use super::options::ForwardOptions;
use super::outcome::{BackendReply, FailedAttempt};
use super::retry::AttemptFailure;
use crate::backend::instance::Backend;
use crate::edge::exchange::Exchange;
use crate::edge::request_head::Body;
use crate::error::Refusal;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version};
use ipnet::IpNet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use ureq::SendBody;

/// Sends requests to backends, one at a time. Each worker has its own.
pub struct Forwarder {
    options: ForwardOptions,
    longest_target: u64,
    factory: AgentFactory,
    agent: AgentHandle,
    trace: Arc<CallTrace>,
    target: Arc<CallTarget>,
}

impl Forwarder {
    /// Creates a forwarder without any connection. `longest_target` is the longest request target, in bytes.
    pub fn new(options: &ForwardOptions, longest_target: u64) -> Self {
        let (trace, target) = (Arc::new(CallTrace::default()), Arc::new(CallTarget::default()));
        let factory = AgentFactory::new(options, Arc::clone(&target), longest_target, Arc::clone(&trace));
        let agent = AgentHandle::new(factory.agent());
        Forwarder { options: *options, longest_target, factory, agent, trace, target }
    }

    /// Applies these options. If they differ from the current ones, idle connections are closed.
    pub fn set_options(&mut self, options: &ForwardOptions) {
        if self.options != *options {
            self.options = *options;
            let (trace, target) = (Arc::clone(&self.trace), Arc::clone(&self.target));
            self.factory = AgentFactory::new(options, target, self.longest_target, trace);
            self.close_idle();
        }
    }

    /// Returns a handle that can end this forwarder's calls from another thread.
    pub fn handle(&self) -> AgentHandle {
        self.agent.clone()
    }

    /// Closes idle connections to backends. ureq itself drops old ones only at its next call, which may not come for a
    /// long time.
    pub fn close_idle(&self) {
        self.agent.replace(self.factory.agent());
    }

    /// Sends the request and waits for the head of the reply.
    ///
    /// # Errors
    /// When no usable reply came, with the facts that decide about another try.
    pub fn send(
        &self,
        backend: &Backend,
        trusted_proxies: &[IpNet],
        exchange: &mut Exchange,
    ) -> Result<BackendReply, FailedAttempt> {
        self.trace.reset();
        self.target.set(&backend.address().addresses);
        let (method, body) = (exchange.head.method.clone(), exchange.body);
        let origin =
            Origin { peer: exchange.peer.ip(), version: exchange.head.version, trusted: trusted_proxies };
        let mut request = Request::new(());
        *request.headers_mut() = headers::to_backend(&method, &exchange.head.headers, body, origin);
        *request.uri_mut() = upstream_uri(backend, &exchange.head.uri);
        *request.method_mut() = method;
        let mut upload = UploadReader { left: body, exchange, trace: &self.trace, failure: None };
        let agent = self.agent.get();
        let outcome = if matches!(body, Body::None) {
            agent.run(request)
        } else {
            agent.run(request.map(|()| SendBody::from_reader(&mut upload)))
        };
        let client_failure = upload.failure;
        match outcome {
            Ok(reply) => self.accept(reply),
            Err(error) => Err(self.failed(cause_text(&error), timeout_in(&error).is_some(), client_failure)),
        }
    }

    /// Checks the framing of a reply.
    fn accept(&self, reply: http::Response<ureq::Body>) -> Result<BackendReply, FailedAttempt> {
        let (head, body) = reply.into_parts();
        let declared = head.headers.get(CONTENT_LENGTH);
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let length = match (codings.next(), codings.next()) {
            (None, _) => declared.and_then(|value| value.to_str().ok()?.trim().parse().ok()),
            (Some(coding), None)
                if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version == Version::HTTP_11 =>
            {
                if declared.is_some() {
                    // RFC 9112 §6.3: the coding wins, and the connection must not be used again.
                    self.trace.not_reusable.store(true, Relaxed);
                }
                None
            }
            // The header is hop-by-hop, and the body could not be decoded without it.
            _ => return Err(self.failed("its reply has an unexpected transfer coding".into(), false, None)),
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.failed("it switched protocols without being asked to".into(), false, None));
        }
        Ok(BackendReply { head, length, body: body.into_reader() })
    }

    fn failed(&self, cause: String, timed_out: bool, client_failure: Option<Refusal>) -> FailedAttempt {
        let failure = AttemptFailure {
            connected: self.trace.connected.load(Relaxed),
            fresh: self.trace.fresh.load(Relaxed),
            received: self.trace.received.load(Relaxed),
            timed_out,
            client: client_failure.is_some(),
        };
        let refusal = match client_failure {
            Some(refusal) => refusal,
            None if failure.timed_out && failure.connected => Refusal::BackendTooSlow,
            None => Refusal::BadGateway,
        };
        FailedAttempt { failure, refusal, cause }
    }
}

/// Returns the error's text, without ureq's prefix for I/O errors.
fn cause_text(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Returns the client's path and query at this backend.
fn upstream_uri(backend: &Backend, target: &Uri) -> Uri {
    let path = target.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(backend.authority().clone());
    // A scheme, an authority and a path always make a URI.
    uri.path_and_query(path).build().unwrap_or_default()
}

/// Reads the client's body while it is sent to the backend.
struct UploadReader<'a> {
    exchange: &'a mut Exchange,
    trace: &'a CallTrace,
    left: Body,
    /// The reason why the client's body could not be read.
    failure: Option<Refusal>,
}

impl Read for UploadReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.trace.send_failed.load(Relaxed) {
            return Ok(self.skip(buf.len()));
        }
        let n =
            self.exchange.read(buf).inspect_err(|error| self.failure = Some(Refusal::of_upload(error)))?;
        if let Body::Sized(left) = &mut self.left {
            *left = left.saturating_sub(n as u64);
        }
        Ok(n)
    }
}

impl UploadReader<'_> {
    /// Counts bytes as read without reading from the client. After sending has failed, what matters is the reply that
    /// may say why, and ureq reads it only once the body is complete; these bytes are never sent.
    fn skip(&mut self, room: usize) -> usize {
        let Body::Sized(left) = &mut self.left else { return 0 };
        let n = room.min(usize::try_from(*left).unwrap_or(room));
        *left -= n as u64;
        n
    }
}

//! One request: check, select, forward, relay. The decisions are turnwheel's own functions.

use crate::reply_body::{self, ReplyBody};
use crate::request_body::RequestBody;
use crate::upstream::Upstream;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version, request};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use turnwheel::backend::BackendAddress;
use turnwheel::balance::rotation::{Rotation, SecondChoice};
use turnwheel::edge;
use turnwheel::edge::request_head::{self, Body, RawHead};
use turnwheel::error::Refusal;
use turnwheel::forward::headers::{self, Origin};
use turnwheel::forward::retry::{self, AttemptFailure, RetryDecision};
use turnwheel::forward::{FailedAttempt, ForwardOptions};

/// State shared by all requests.
pub struct Proxy {
    rotations: Rotations,
    upstreams: Vec<Arc<Upstream>>,
    forward: ForwardOptions,
    edge: edge::EdgeOptions,
}

/// turnwheel's rotations for the first and the further attempts.
#[derive(Default)]
struct Rotations {
    first: Rotation,
    second: SecondChoice,
}

impl Rotations {
    /// Returns the order in which a request tries `count` backends, each at most once.
    fn attempts(&self, count: usize) -> impl Iterator<Item = usize> {
        let mut left: Vec<usize> = (0..count).collect();
        std::iter::from_fn(move || match left.len() {
            0 => None,
            all if all == count => Some(left.remove(self.first.turn(count))),
            _ => Some(left.remove(self.second.turn(&left))),
        })
    }
}

/// A request being forwarded.
struct Exchange {
    head: request::Parts,
    body: Body,
    /// The client's body; `None` if there is none or once reading has started.
    incoming: Option<Incoming>,
    peer: SocketAddr,
}

/// A failed attempt.
struct AttemptError {
    failed: FailedAttempt,
    /// Whether no byte was sent and the request is complete again.
    unsent: bool,
}

impl AttemptError {
    fn new(failure: AttemptFailure, refusal: Refusal, cause: String) -> Self {
        AttemptError { failed: FailedAttempt { failure, refusal, cause }, unsent: false }
    }
}

impl Proxy {
    /// Returns a proxy that balances over these backends round robin.
    pub fn new(backends: Vec<BackendAddress>, forward: ForwardOptions, edge: edge::EdgeOptions) -> Self {
        let upstreams = backends.into_iter().map(|place| Arc::new(Upstream::new(place, forward))).collect();
        Proxy { rotations: Rotations::default(), upstreams, forward, edge }
    }

    /// Closes connections to backends that have been idle for too long.
    pub fn close_expired(&self) {
        self.upstreams.iter().for_each(|upstream| upstream.close_expired());
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        let outcome = match self.admit(request, peer) {
            Ok(mut exchange) => self.forward(&mut exchange).await,
            Err(refusal) => Err(refusal),
        };
        outcome.unwrap_or_else(reply_body::refuse)
    }

    /// Checks a request as turnwheel's edges do, so that an ambiguous one is refused.
    fn admit(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Exchange, Refusal> {
        let (parts, incoming) = request.into_parts();
        let whole;
        let target = match parts.uri.path_and_query() {
            Some(path) if parts.uri.scheme().is_none() => path.as_str(),
            _ => {
                whole = parts.uri.to_string();
                &whole
            }
        };
        let raw = RawHead {
            method: parts.method.as_str().as_bytes(),
            target: target.as_bytes(),
            version: parts.version,
            fields: parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
        };
        let (head, body) = request_head::check(raw, &self.edge.limits)?;
        let incoming = (!body.is_empty()).then_some(incoming);
        Ok(Exchange { head, body, incoming, peer })
    }

    /// Tries backends until one starts a reply.
    async fn forward(&self, exchange: &mut Exchange) -> Result<Response<ReplyBody>, Refusal> {
        let mut refusal = Refusal::NoBackend;
        for index in self.rotations.attempts(self.upstreams.len()).take(1 + self.forward.retries as usize) {
            match self.try_backend(&self.upstreams[index], exchange).await {
                Ok(reply) => return Ok(reply),
                Err((failed, next)) => {
                    refusal = failed.refusal;
                    if next != RetryDecision::TryAnother {
                        break;
                    }
                }
            }
        }
        Err(refusal)
    }

    /// Tries one backend, and again over a new connection if the pooled one was stale.
    async fn try_backend(
        &self,
        upstream: &Arc<Upstream>,
        exchange: &mut Exchange,
    ) -> Result<Response<ReplyBody>, (FailedAttempt, RetryDecision)> {
        loop {
            let error = match self.send(upstream, exchange).await {
                Ok(reply) => {
                    upstream.report(None);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            let request = retry::Repeatability {
                // A request that was not sent can be sent again whatever its method.
                idempotent: error.unsent || retry::is_idempotent(&exchange.head.method),
                body_untouched: exchange.body.is_empty() || exchange.incoming.is_some(),
            };
            let next = retry::decide(error.failed.failure, request);
            // Terminates, because a stale connection leaves the pool when it fails.
            if next != RetryDecision::Redial {
                if !error.failed.failure.client {
                    upstream.report(Some(&error.failed.cause));
                }
                return Err((error.failed, next));
            }
        }
    }

    /// Sends the request and waits for the reply's head.
    async fn send(
        &self,
        upstream: &Arc<Upstream>,
        exchange: &mut Exchange,
    ) -> Result<Response<ReplyBody>, AttemptError> {
        let pooled = upstream.take();
        let fresh = pooled.is_none();
        let failure =
            AttemptFailure { connected: true, fresh, received: false, timed_out: false, client: false };
        let mut connection = match pooled {
            Some(connection) => connection,
            None => upstream.connect().await.map_err(|error| {
                let failure = AttemptFailure { connected: false, ..failure };
                AttemptError::new(failure, Refusal::BadGateway, error.to_string())
            })?,
        };
        let request = self.request(exchange, upstream);
        match connection.call(request, self.forward.reply_head_timeout).await {
            Some(Ok(reply)) => reply_body::relay(reply, connection, upstream, self.forward.upstream_timeout)
                .map_err(|cause| {
                    let failure = AttemptFailure { received: true, ..failure };
                    AttemptError::new(failure, Refusal::BadGateway, cause.into())
                }),
            Some(Err(error)) => Err(map_error(error, failure, exchange)),
            None => {
                let failure = AttemptFailure { timed_out: true, ..failure };
                Err(AttemptError::new(failure, Refusal::BackendTooSlow, "the reply timed out".into()))
            }
        }
    }

    /// Returns the request for the backend.
    fn request(&self, exchange: &mut Exchange, upstream: &Upstream) -> Request<RequestBody> {
        let Exchange { head, body, incoming, peer } = exchange;
        let upload = match incoming.take() {
            Some(body) => RequestBody::stream(body, self.edge.limits.body, self.edge.client_body_timeout),
            None => RequestBody::Empty,
        };
        let origin = Origin { peer: peer.ip(), version: head.version, trusted: &[] };
        let mut request = Request::new(upload);
        let mut headers = headers::to_backend(&head.method, &head.headers, *body, origin);
        if *body == Body::Chunked {
            // Without it hyper sends no body with a GET.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if !headers.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(upstream.authority())
        {
            headers.insert(header::HOST, host);
        }
        *request.headers_mut() = headers;
        *request.method_mut() = head.method.clone();
        *request.uri_mut() =
            Uri::from(head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        *request.version_mut() = Version::HTTP_11;
        request
    }
}

/// Maps hyper's error to turnwheel's terms, and returns an unsent body to the exchange.
fn map_error(
    mut error: TrySendError<Request<RequestBody>>,
    failure: AttemptFailure,
    exchange: &mut Exchange,
) -> AttemptError {
    let unsent = error.take_message();
    let error = error.into_error();
    // An error of the request body is the client's fault.
    let client = error.source().and_then(|cause| cause.downcast_ref().copied());
    // hyper does not report whether a truncated head had started, so such a request is retried here, unlike in
    // turnwheel, if it is idempotent.
    let failure = AttemptFailure { client: client.is_some(), received: error.is_parse(), ..failure };
    let mut attempt = AttemptError::new(failure, client.unwrap_or(Refusal::BadGateway), error.to_string());
    if let Some(request) = unsent {
        exchange.incoming = request.into_body().into_incoming();
        attempt.unsent = true;
    }
    attempt
}

//! One request: check, choose, forward, relay. The decisions are turnwheel's own functions.

use crate::reply::{self, Reply};
use crate::upload::Upload;
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
use turnwheel::edge;
use turnwheel::edge::request_head::{self, Body, RawHead};
use turnwheel::error::Refusal;
use turnwheel::forward::retry::{self, AttemptFailure, RetryDecision};
use turnwheel::forward::{FailedAttempt, ForwardOptions};
use turnwheel::forward::headers::{self, Origin};
use turnwheel::balance::rotation::{Rotation, SecondChoice};

/// What all requests share.
pub struct Proxy {
    wheels: Wheels,
    upstreams: Vec<Arc<Upstream>>,
    forward: ForwardOptions,
    edge: edge::EdgeOptions,
}

/// Whose turn it is: turnwheel's own two wheels.
#[derive(Default)]
struct Wheels {
    first: Rotation,
    second: SecondChoice,
}

impl Wheels {
    /// The order in which one request tries so many backends, each once at the most.
    fn tour(&self, count: usize) -> impl Iterator<Item = usize> {
        let mut left: Vec<usize> = (0..count).collect();
        std::iter::from_fn(move || match left.len() {
            0 => None,
            all if all == count => Some(left.remove(self.first.turn(count))),
            _ => Some(left.remove(self.second.turn(&left))),
        })
    }
}

/// One request on its way.
struct Exchange {
    head: request::Parts,
    body: Body,
    /// The client's body; nothing once somebody has begun to read it, or if there is none.
    incoming: Option<Incoming>,
    peer: SocketAddr,
}

/// A try that failed.
struct Lost {
    failed: FailedAttempt,
    /// Not a byte of it has been sent, and it is whole again.
    unsent: bool,
}

impl Lost {
    fn new(failure: AttemptFailure, refusal: Refusal, cause: String) -> Self {
        Lost { failed: FailedAttempt { failure, refusal, cause }, unsent: false }
    }
}

impl Proxy {
    /// Round robin over these backends.
    pub fn new(backends: Vec<BackendAddress>, forward: ForwardOptions, edge: edge::EdgeOptions) -> Self {
        let upstreams = backends.into_iter().map(|place| Arc::new(Upstream::new(place, forward))).collect();
        Proxy { wheels: Wheels::default(), upstreams, forward, edge }
    }

    /// Closes connections to backends that have not been used for too long.
    pub fn close_old(&self) {
        self.upstreams.iter().for_each(|upstream| upstream.close_old());
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Reply> {
        let outcome = match self.admit(request, peer) {
            Ok(mut exchange) => self.forward(&mut exchange).await,
            Err(refusal) => Err(refusal),
        };
        outcome.unwrap_or_else(reply::refuse)
    }

    /// Is this a request, in one way only? The same check that turnwheel's edges make.
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

    /// Tries backends until one has begun a reply.
    async fn forward(&self, exchange: &mut Exchange) -> Result<Response<Reply>, Refusal> {
        let mut refusal = Refusal::NoBackend;
        for index in self.wheels.tour(self.upstreams.len()).take(1 + self.forward.retries as usize) {
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

    /// One backend, and a second time over a new connection if the first was stale.
    async fn try_backend(
        &self,
        upstream: &Arc<Upstream>,
        exchange: &mut Exchange,
    ) -> Result<Response<Reply>, (FailedAttempt, RetryDecision)> {
        loop {
            let lost = match self.send(upstream, exchange).await {
                Ok(reply) => {
                    upstream.report(None);
                    return Ok(reply);
                }
                Err(lost) => lost,
            };
            let request = retry::Repeatability {
                // What has not been sent can be sent, whatever it is.
                idempotent: lost.unsent || retry::is_idempotent(&exchange.head.method),
                body_untouched: exchange.body.is_empty() || exchange.incoming.is_some(),
            };
            let next = retry::decide(lost.failed.failure, request);
            // A stale connection leaves the pool by failing, so this comes to an end.
            if next != RetryDecision::Redial {
                if !lost.failed.failure.client {
                    upstream.report(Some(&lost.failed.cause));
                }
                return Err((lost.failed, next));
            }
        }
    }

    /// Sends the request and waits for the reply's head.
    async fn send(&self, upstream: &Arc<Upstream>, exchange: &mut Exchange) -> Result<Response<Reply>, Lost> {
        let pooled = upstream.take();
        let fresh = pooled.is_none();
        let failure = AttemptFailure { connected: true, fresh, received: false, timed_out: false, client: false };
        let mut link = match pooled {
            Some(link) => link,
            None => upstream.connect().await.map_err(|error| {
                let failure = AttemptFailure { connected: false, ..failure };
                Lost::new(failure, Refusal::BadGateway, error.to_string())
            })?,
        };
        let request = self.request(exchange, upstream);
        match link.call(request, self.forward.reply_head_timeout).await {
            Some(Ok(reply)) => {
                reply::relay(reply, link, upstream, self.forward.upstream_timeout).map_err(|cause| {
                    let failure = AttemptFailure { received: true, ..failure };
                    Lost::new(failure, Refusal::BadGateway, cause.into())
                })
            }
            Some(Err(error)) => Err(lost(error, failure, exchange)),
            None => {
                let failure = AttemptFailure { timed_out: true, ..failure };
                Err(Lost::new(failure, Refusal::BackendTooSlow, "it took too long to reply".into()))
            }
        }
    }

    /// The request as the backend gets it.
    fn request(&self, exchange: &mut Exchange, upstream: &Upstream) -> Request<Upload> {
        let Exchange { head, body, incoming, peer } = exchange;
        let upload = match incoming.take() {
            Some(body) => Upload::stream(body, self.edge.limits.body, self.edge.client_body_timeout),
            None => Upload::Nothing,
        };
        let origin = Origin { peer: peer.ip(), version: head.version, trusted: &[] };
        let mut request = Request::new(upload);
        let mut headers = headers::to_backend(&head.method, &head.headers, *body, origin);
        if *body == Body::Chunked {
            // hyper sends no body with a GET unless it is told how.
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

/// Why hyper has given up on a request, in turnwheel's terms. What has not been sent goes back to the exchange.
fn lost(mut error: TrySendError<Request<Upload>>, failure: AttemptFailure, exchange: &mut Exchange) -> Lost {
    let unsent = error.take_message();
    let error = error.into_error();
    // The error of an upload's own is what the client did wrong.
    let client = error.source().and_then(|cause| cause.downcast_ref().copied());
    // hyper does not say whether a head that broke off had begun: that much is tried again here, and not by
    // turnwheel. Only what may be done twice is.
    let failure = AttemptFailure { client: client.is_some(), received: error.is_parse(), ..failure };
    let mut lost = Lost::new(failure, client.unwrap_or(Refusal::BadGateway), error.to_string());
    if let Some(request) = unsent {
        exchange.incoming = request.into_body().into_incoming();
        lost.unsent = true;
    }
    lost
}

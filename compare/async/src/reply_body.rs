//! The reply to the client: a backend's, or the balancer's own.

use crate::backend_connection::BackendConnection;
use crate::request_body::ReadTimeout;
use crate::upstream::Upstream;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use turnwheel::internals::Refusal;
use turnwheel::internals::headers;

/// The body of a reply.
pub enum ReplyBody {
    /// A backend's body, relayed as it arrives.
    Relayed(RelayedBody),
    /// The balancer's own text.
    Text(Option<Bytes>),
}

/// Returns the balancer's own reply for a refusal.
pub fn refuse(refusal: Refusal) -> Response<ReplyBody> {
    let text = Bytes::from(format!("{refusal}\n"));
    let mut reply = Response::new(ReplyBody::Text(Some(text)));
    *reply.status_mut() = refusal.status();
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.extend(refusal.header().map(|(name, value)| (name, HeaderValue::from_static(value))));
    if refusal.distrusts_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// Converts a backend's reply into the reply for the client.
///
/// # Errors
/// Returns the reason if the reply cannot be relayed.
pub fn relay(
    reply: Response<Incoming>,
    connection: BackendConnection,
    upstream: &Arc<Upstream>,
    timeout: Duration,
) -> Result<Response<ReplyBody>, &'static str> {
    let (mut head, incoming) = reply.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, which was not requested");
    }
    let chunked = is_chunked(&head.headers)?;
    // RFC 9112 §6.3: the connection must not carry another request.
    let dubious = chunked && head.headers.contains_key(header::CONTENT_LENGTH);
    head.headers = headers::end_to_end(&head.headers).map(|(n, v)| (n.clone(), v.clone())).collect();
    if dubious || head.status == StatusCode::NO_CONTENT {
        head.headers.remove(header::CONTENT_LENGTH); // the coding takes precedence; for 204 see RFC 9110 §8.6
    }
    head.version = Version::HTTP_11; // the version of this hop
    let upstream = (!dubious).then(|| Arc::clone(upstream));
    let mut relay =
        RelayedBody { incoming, connection: Some(connection), upstream, timeout: ReadTimeout::new(timeout) };
    if relay.incoming.is_end_stream() {
        relay.finish();
    }
    Ok(Response::from_parts(head, ReplyBody::Relayed(relay)))
}

/// Returns whether the reply is chunked, or an error for any other transfer coding.
fn is_chunked(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        // The header is hop-by-hop, so the client could not decode the body.
        _ => Err("its reply has an unsupported transfer coding"),
    }
}

/// The body of a backend's reply and its connection.
pub struct RelayedBody {
    incoming: Incoming,
    /// `None` once the reply has ended.
    connection: Option<BackendConnection>,
    /// The pool that the connection returns to, if it may be reused.
    upstream: Option<Arc<Upstream>>,
    timeout: ReadTimeout,
}

impl RelayedBody {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = self.pull(cx) else {
            return self.timeout.poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())));
        };
        self.timeout.reset();
        // Trailers end a body. They are dropped, as in turnwheel.
        let frame = frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers));
        if frame.is_none() || self.incoming.is_end_stream() {
            self.finish();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    /// Returns the next frame, driving the connection if none has arrived.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // As in `BackendConnection::call`, bytes arrive only by driving.
        let mut quiet = Context::from_waker(Waker::noop());
        let first = Pin::new(&mut self.incoming).poll_frame(&mut quiet);
        match &mut self.connection {
            Some(connection) if first.is_pending() => {
                connection.drive(cx);
                Pin::new(&mut self.incoming).poll_frame(&mut quiet)
            }
            _ => first,
        }
    }

    /// Returns the connection to its pool at the end of the reply, if it is reusable.
    fn finish(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_reusable()
            && let Some(upstream) = &self.upstream
        {
            upstream.put(connection);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            ReplyBody::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            ReplyBody::Relayed(relay) => relay.next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Text(text) => text.is_none(),
            ReplyBody::Relayed(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            ReplyBody::Relayed(relay) => relay.incoming.size_hint(),
        }
    }
}

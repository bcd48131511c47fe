//! The reply on its way back: the backend's, or the balancer's own.

use crate::link::Link;
use crate::upload::Patience;
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
use turnwheel::error::Refusal;
use turnwheel::forward::headers;

/// A reply's body.
pub enum Reply {
    /// From a backend, as it arrives.
    Relay(Relay),
    /// The balancer's own words.
    Text(Option<Bytes>),
}

/// The balancer's own reply.
pub fn refuse(refusal: Refusal) -> Response<Reply> {
    let text = Bytes::from(format!("{refusal}\n"));
    let mut reply = Response::new(Reply::Text(Some(text)));
    *reply.status_mut() = refusal.status();
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.extend(refusal.header().map(|(name, value)| (name, HeaderValue::from_static(value))));
    if refusal.distrusts_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// A backend's reply, ready for the client.
///
/// # Errors
/// Why it cannot be relayed.
pub fn relay(
    reply: Response<Incoming>,
    link: Link,
    home: &Arc<Upstream>,
    patience: Duration,
) -> Result<Response<Reply>, &'static str> {
    let (mut head, incoming) = reply.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, and was not asked to");
    }
    let chunked = is_chunked(&head.headers)?;
    // RFC 9112 §6.3: such a peer is not to be trusted with another request.
    let dubious = chunked && head.headers.contains_key(header::CONTENT_LENGTH);
    head.headers = headers::end_to_end(&head.headers).map(|(n, v)| (n.clone(), v.clone())).collect();
    if dubious || head.status == StatusCode::NO_CONTENT {
        head.headers.remove(header::CONTENT_LENGTH); // the coding wins; and for 204: RFC 9110 §8.6
    }
    head.version = Version::HTTP_11; // the version of this hop
    let home = (!dubious).then(|| Arc::clone(home));
    let mut relay = Relay { incoming, link: Some(link), home, patience: Patience::new(patience) };
    if relay.incoming.is_end_stream() {
        relay.settle();
    }
    Ok(Response::from_parts(head, Reply::Relay(relay)))
}

/// Is it chunked?
fn is_chunked(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        // Its header would be lost on the way, and its body not understood without it.
        _ => Err("its reply has a coding that was not asked for"),
    }
}

/// The body of a backend's reply, and the connection that it comes over.
pub struct Relay {
    incoming: Incoming,
    /// Nothing once the reply is over.
    link: Option<Link>,
    /// Where the connection goes then, if it is to be used again.
    home: Option<Arc<Upstream>>,
    patience: Patience,
}

impl Relay {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = self.pull(cx) else {
            return self.patience.poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())));
        };
        self.patience.renew();
        // Trailers end a body. They are dropped, as turnwheel drops them.
        let frame = frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers));
        if frame.is_none() || self.incoming.is_end_stream() {
            self.settle();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    /// What has arrived; if nothing has, whatever the connection can bring now.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // As in `Link::call`: nothing comes but by driving.
        let mut quiet = Context::from_waker(Waker::noop());
        let first = Pin::new(&mut self.incoming).poll_frame(&mut quiet);
        match &mut self.link {
            Some(link) if first.is_pending() => {
                link.drive(cx);
                Pin::new(&mut self.incoming).poll_frame(&mut quiet)
            }
            _ => first,
        }
    }

    /// The reply is over: the connection goes home, if it can take another request.
    fn settle(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.rest()
            && let Some(home) = &self.home
        {
            home.put(link);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Reply::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Reply::Relay(relay) => relay.next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Text(text) => text.is_none(),
            Reply::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Reply::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

//! The request body, from the client to the backend.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use turnwheel::internals::Refusal;

/// A request body. Its error is the client's fault.
pub enum RequestBody {
    /// No body.
    Empty,
    /// The client's body, streamed as it arrives.
    Stream(Box<Stream>),
}

/// A streamed request body.
pub struct Stream {
    incoming: Incoming,
    limit: u64,
    pulled: u64,
    timeout: ReadTimeout,
    finished: Arc<AtomicBool>,
}

impl RequestBody {
    /// Streams a body of at most `limit` bytes, with `timeout` for the next bytes.
    pub fn stream(incoming: Incoming, limit: u64, timeout: Duration) -> Self {
        let timeout = ReadTimeout::new(timeout);
        RequestBody::Stream(Box::new(Stream {
            incoming,
            limit,
            pulled: 0,
            timeout,
            finished: Arc::default(),
        }))
    }

    /// Returns a flag that is set when all of the body has been read, or `None` without a body.
    pub fn finished(&self) -> Option<Arc<AtomicBool>> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Stream(stream) => Some(Arc::clone(&stream.finished)),
        }
    }

    /// Returns the client's body, of which nothing has been read, or `None` without a body.
    pub fn into_incoming(self) -> Option<Incoming> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Stream(stream) => Some(stream.incoming),
        }
    }
}

impl Stream {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.timeout.poll(cx).map(|()| Some(Err(Refusal::ClientTooSlow)));
        };
        self.timeout.reset();
        match frame {
            Some(Ok(frame)) => {
                self.pulled += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.pulled > self.limit {
                    return Poll::Ready(Some(Err(Refusal::BodyTooLarge)));
                }
                if self.incoming.is_end_stream() {
                    self.finished.store(true, Relaxed);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(Refusal::ClientGone))),
            None => {
                self.finished.store(true, Relaxed);
                Poll::Ready(None)
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Stream(stream) => stream.next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

/// A timeout for the next bytes. The timer is created on the first wait and only reset after that, so it costs
/// nothing while bytes arrive.
pub struct ReadTimeout {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl ReadTimeout {
    /// Returns a timeout that has not started.
    pub fn new(limit: Duration) -> Self {
        ReadTimeout { limit, sleep: None, waiting: false }
    }

    /// Resets the timeout after bytes have arrived.
    pub fn reset(&mut self) {
        self.waiting = false;
    }

    /// Completes when the timeout has expired.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            sleep.as_mut().reset(Instant::now() + limit);
            self.waiting = true;
        }
        sleep.as_mut().poll(cx)
    }
}

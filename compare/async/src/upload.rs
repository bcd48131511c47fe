//! The client's body on its way to the backend.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use turnwheel::error::Refusal;

/// A request body. Its error is what the client did wrong.
pub enum Upload {
    /// There is none.
    Nothing,
    /// What the client sends, as it comes.
    Stream(Box<Stream>),
}

/// The streamed kind.
pub struct Stream {
    incoming: Incoming,
    limit: u64,
    pulled: u64,
    patience: Patience,
    over: Arc<AtomicBool>,
}

impl Upload {
    /// Streams this body: at most `limit` bytes, and waits for the next ones for at most `patience`.
    pub fn stream(incoming: Incoming, limit: u64, patience: Duration) -> Self {
        let patience = Patience::new(patience);
        Upload::Stream(Box::new(Stream { incoming, limit, pulled: 0, patience, over: Arc::default() }))
    }

    /// Becomes true when all of it has been handed over; nothing if there is nothing to hand over.
    pub fn over(&self) -> Option<Arc<AtomicBool>> {
        match self {
            Upload::Nothing => None,
            Upload::Stream(stream) => Some(Arc::clone(&stream.over)),
        }
    }

    /// The body, of which nothing has been read.
    pub fn into_incoming(self) -> Option<Incoming> {
        match self {
            Upload::Nothing => None,
            Upload::Stream(stream) => Some(stream.incoming),
        }
    }
}

impl Stream {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.patience.poll(cx).map(|()| Some(Err(Refusal::ClientTooSlow)));
        };
        self.patience.renew();
        match frame {
            Some(Ok(frame)) => {
                self.pulled += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.pulled > self.limit {
                    return Poll::Ready(Some(Err(Refusal::BodyTooLarge)));
                }
                if self.incoming.is_end_stream() {
                    self.over.store(true, Relaxed);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(Refusal::ClientGone))),
            None => {
                self.over.store(true, Relaxed);
                Poll::Ready(None)
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self.get_mut() {
            Upload::Nothing => Poll::Ready(None),
            Upload::Stream(stream) => stream.next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Upload::Nothing => true,
            Upload::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Upload::Nothing => SizeHint::with_exact(0),
            Upload::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

/// A timeout for the next bytes. Costs nothing while they come: the timer is set on the first wait only, and
/// only moved after that.
pub struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    /// A patience of this length, not yet begun.
    pub fn new(limit: Duration) -> Self {
        Patience { limit, sleep: None, waiting: false }
    }

    /// Something has come: the next wait begins anew.
    pub fn renew(&mut self) {
        self.waiting = false;
    }

    /// Ready when it is over.
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

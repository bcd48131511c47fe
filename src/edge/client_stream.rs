//! The seam between an edge and the path behind it: what an edge supplies for one request.

use crate::edge::response::End;
use crate::error::Refusal;
use http::request;
use std::io;

/// The client's end of one request: all that an edge supplies. It moves bytes; [`response`](crate::edge::response) frames them.
pub trait ClientStream: Send {
    /// Request body, without its framing. The first call sends `100 Continue` if the client waits
    /// for it. `Ok(0)` is the body's true end and stays so.
    ///
    /// # Errors
    /// A body that is cut short or comes too slowly fails with an error that wraps the [`Refusal`].
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Bytes of the body that were taken from the client before anybody asked for them.
    fn gathered(&self) -> u64 {
        0
    }

    /// May the connection serve another request after this one? Not if bytes of the body are
    /// unread, and not while the balancer is stopping.
    fn may_keep(&self) -> bool;

    /// Writes all of it, now. The first call ends reading.
    ///
    /// # Errors
    /// When the client is gone or takes nothing for too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The reply is over: what becomes of the connection?
    fn end(self: Box<Self>, end: End);

    /// A whole short reply of the balancer's own, also while body bytes are unread. `request` is the
    /// head as far as it could be believed. Never makes the caller wait for the client.
    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>);
}

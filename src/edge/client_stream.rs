//! The seam between an edge and the rest of the path: what an edge supplies for one request.

use crate::edge::framing::AfterReply;
use crate::error::Refusal;
use http::request;
use std::io;

/// The client's connection for the time of one request. It moves bytes;
/// [`relay`](crate::edge::relay) frames them.
pub trait ClientStream: Send {
    /// Reads request body bytes, without their framing. The first call sends `100 Continue` if the
    /// client waits for it. `Ok(0)` is the true end of the body and stays so.
    ///
    /// # Errors
    /// A body that is cut short or comes too slowly fails with an error that wraps the [`Refusal`].
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Returns how many body bytes the edge read from the client before a worker asked for them.
    fn buffered(&self) -> u64 {
        0
    }

    /// Returns whether the connection may serve another request after this one. It may not while body
    /// bytes are unread or while the balancer is stopping.
    fn may_keep_alive(&self) -> bool;

    /// Writes all of `bytes` without delay. The first call ends the reading of the body.
    ///
    /// # Errors
    /// When the client is gone or takes nothing for too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Ends the reply and does with the connection what `after` says.
    fn finish(self: Box<Self>, after: AfterReply);

    /// Sends a whole short reply of the balancer's own, even while body bytes are unread. `request` is
    /// the head as far as it is valid. The call never blocks on the client.
    fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>);
}

/// A client for tests, which sends no body and records how it is refused.
#[cfg(test)]
pub mod fake {
    use super::*;
    use crate::edge::exchange::Exchange;
    use crate::edge::request_head::Body;
    use std::sync::{Arc, Mutex};

    /// The target of each refused request, and its refusal.
    pub type Refusals = Arc<Mutex<Vec<(String, Refusal)>>>;

    struct FakeClient(Refusals);

    /// Returns a GET request for this target from such a client.
    pub fn exchange(target: &str, refusals: &Refusals) -> Exchange {
        let head = http::Request::builder().uri(target).body(()).unwrap().into_parts().0;
        let client = Box::new(FakeClient(Arc::clone(refusals)));
        Exchange::new((head, Body::None), ([127, 0, 0, 1], 1).into(), 0, client)
    }

    impl ClientStream for FakeClient {
        fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn may_keep_alive(&self) -> bool {
            true
        }

        fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn finish(self: Box<Self>, _after: AfterReply) {}

        fn refuse(self: Box<Self>, refusal: Refusal, request: Option<&request::Parts>) {
            let target = request.map(|head| head.uri.to_string()).unwrap_or_default();
            self.0.lock().unwrap().push((target, refusal));
        }
    }
}

//! Step 1: the client's side. An edge accepts connections, reads request heads, and hands each
//! request on as an [`Exchange`]: one request that waits for its one reply.

mod client_stream;
pub mod exchange;
mod kind;
pub mod lifecycle;
mod options;
pub mod parked;
pub mod request_head;
pub mod request_id;
pub mod response;
mod socket;
pub mod tiny_http;

use crate::error::StartError;
pub use client_stream::ClientStream;
pub use exchange::Exchange;
pub use kind::EdgeKind;
use lifecycle::Edge;
pub use options::EdgeOptions;
use parked::ParkedEdge;
use std::net::SocketAddr;
use tiny_http::TinyHttpEdge;

/// Binds the addresses, in order. So many workers may wait for slow clients at a time, where an edge
/// can tell.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(
    kind: EdgeKind,
    addresses: &[SocketAddr],
    options: &EdgeOptions,
    permits: usize,
) -> Result<Vec<Box<dyn Edge>>, StartError> {
    match kind {
        EdgeKind::Parked => Ok(vec![Box::new(ParkedEdge::bind(addresses, options, permits)?)]),
        EdgeKind::TinyHttp => {
            let edges = addresses.iter().map(|address| TinyHttpEdge::bind(*address, options));
            edges.map(|edge| edge.map(|edge| Box::new(edge) as Box<dyn Edge>)).collect()
        }
    }
}

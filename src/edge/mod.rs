//! Step 1: the client's side of the balancer. An edge accepts connections, reads request heads, and hands
//! each request on as an [exchange](exchange::Exchange): one request that awaits its one reply.
//!
//! There are two edges behind one [trait](lifecycle::Edge): [`tiny_http`], the textbook one, and
//! [`parked`], the one for production.

#![forbid(unsafe_code)]

pub mod client_stream;
pub mod exchange;
pub mod framing;
pub mod hop_by_hop;
pub mod kind;
pub mod lifecycle;
pub mod options;
pub mod parked;
pub mod relay;
pub mod request_head;
pub mod request_id;
pub mod response;
pub mod server;
pub mod socket;
pub mod tiny_http;

use crate::edge::kind::EdgeKind;
use crate::edge::lifecycle::Edge;
use crate::edge::options::EdgeOptions;
use crate::edge::parked::edge::ParkedEdge;
use crate::edge::tiny_http::edge::TinyHttpEdge;
use crate::error::StartError;
use std::net::SocketAddr;

/// Binds the addresses, in order, and returns the edges that will serve them. At most `slow_client_permits`
/// workers of a parked edge wait for slow clients at a time; the tiny_http edge has no such limit.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(
    kind: EdgeKind,
    addresses: &[SocketAddr],
    options: &EdgeOptions,
    slow_client_permits: usize,
) -> Result<Vec<Box<dyn Edge>>, StartError> {
    match kind {
        EdgeKind::Parked => {
            let edge = ParkedEdge::bind(addresses, options, slow_client_permits)?;
            Ok(vec![Box::new(edge)])
        }
        EdgeKind::TinyHttp => {
            let edges = addresses.iter().map(|address| TinyHttpEdge::bind(*address, options));
            edges.map(|edge| edge.map(|edge| Box::new(edge) as Box<dyn Edge>)).collect()
        }
    }
}

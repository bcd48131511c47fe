//! Step 1a: the textbook edge, on tiny_http.
//!
//! tiny_http accepts, gives each connection a thread, and reads heads. [`dispatch`] takes each request
//! from it, checks it, and offers it to the queue; a worker then reads and writes through a
//! [`client_stream`]. The rest makes up for what tiny_http lacks: it cannot close a connection and reads
//! unread bodies into memory ([`client_stream`], [`connection_handle`], [`closed_connections`],
//! [`upgrade`]), and stops accepting after one error ([`accept_watchdog`]).
#![allow(rustdoc::private_intra_doc_links, reason = "the modules are listed for readers of the code")]

mod accept_watchdog;
mod client_stream;
mod closed_connections;
mod connection_handle;
mod dispatch;
pub mod edge;
mod state;
mod upgrade;

pub use edge::TinyHttpEdge;

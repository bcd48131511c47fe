//! Step 1a: the textbook edge, on tiny_http.
//!
//! tiny_http accepts, gives each connection a thread, and reads heads. [`dispatch`] takes each request
//! from it, checks it, and offers it to the queue; a worker then reads and writes through a
//! [`client_stream`]. The rest makes up for what tiny_http lacks: it cannot close a connection and reads
//! unread bodies into memory ([`client_stream`], [`connection_handle`], [`closed_connections`],
//! [`upgrade`]), and stops accepting after one error ([`accept_watchdog`]).
#![allow(rustdoc::private_intra_doc_links, reason = "the modules are listed for readers of the code")]

pub mod accept_watchdog;
pub mod client_stream;
pub mod closed_connections;
pub mod connection_handle;
pub mod dispatch;
pub mod edge;
pub mod state;
pub mod upgrade;

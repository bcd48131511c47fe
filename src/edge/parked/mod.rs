//! Step 1b: the production edge.
//!
//! A connection that waits for its client needs no thread: it is *parked* in a [`slab`], and one thread,
//! the [`poller`], waits for all of them. The poller reads what has arrived, and only a whole, valid head
//! (with its body, if that is small) becomes an [`Exchange`](crate::edge::exchange::Exchange). A worker
//! then does what may block, and parks the connection again. So an idle connection costs some hundred
//! bytes, a slow one holds no worker, and the number of threads is fixed for any number of connections.
//!
//! Read [`edge`] (start and stop), [`acceptor`] (accepting), [`poller`] (waiting), [`connection`] with
//! [`parser`] and [`body`] (what the bytes mean), and [`client_stream`] (the worker's side) with
//! [`slow_client`] (how long a worker waits).
#![allow(rustdoc::private_intra_doc_links, reason = "the modules are listed for readers of the code")]

pub mod acceptor;
pub mod body;
pub mod buffer_budget;
pub mod client_stream;
pub mod connection;
pub mod edge;
pub mod parser;
pub mod per_address;
pub mod poller;
pub mod semaphore;
pub mod slab;
pub mod slow_client;
pub mod state;

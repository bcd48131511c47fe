//! A synchronous HTTP/1.1 load balancer: operating-system threads, blocking I/O, no `async`.
//!
//! # The journey of a request
//!
//! ```text
//! client ──► edge ──► queue ──► worker ──► rotation ──► forward ──► backend
//!                                 │                                   │
//! client ◄────────── wire ◄───────┴────────────── reply ◄─────────────┘
//! ```
//!
//! Read the modules in this order, and you have followed one request:
//!
//! 1. [`edge`]: a connection is accepted, a head is read and checked ([`edge::head`]), and the request
//!    becomes an [`Exchange`](edge::Exchange). There are two edges: [`edge::tiny`] to read first, and
//!    [`edge::parked`] for real traffic.
//! 2. [`queue`]: it waits in a bounded queue, or is told at once that there is no room.
//! 3. [`worker`]: one of a pool of threads takes it: choose, forward, relay, record.
//! 4. [`balance::rotation`]: a mutex-guarded index says whose turn it is; [`balance::strategies`] is the seam for other
//!    answers, and [`balance::selector`] asks it, about those that [`balance::candidates`] lets it choose from.
//! 5. [`forward`]: ureq takes the request to the backend, with the [`forward::headers`] that a gateway adds;
//!    [`forward::retry`] says what happens if that fails.
//! 6. [`edge::wire`]: the reply goes back to the client, framed, as it arrives.
//!
//! Beside the path: [`backend`] (where one is, how much it is doing, whether it is well), [`backend::limit`] (how much it may be
//! doing, and who is next), [`balance::affinity`] (clients that stay), [`forward::retry_budget`] (how many retries there may be), [`cluster::health`] (who is
//! well), [`cluster::snapshot`] (what workers go by), [`cluster::membership`] (who belongs to it, and how that changes), [`admin`] (a listener
//! for whoever looks after it, with a live page), [`observe`] (what is noted of a request, in the [`observe::access_log`] and in the
//! [`observe::metrics`]), [`edge::request_id`] (what a request is called),
//! [`error`] (what can go wrong, and what the client is told), [`demo`] (backends and traffic for a lesson), [`sys::shutdown`],
//! [`balancer`] (builds it all and takes it down again), [`balancer::config`].
//!
//! # Embedding it
//!
//! ```
//! use turnwheel::{balancer::Balancer, balancer::config::Config, sys::shutdown};
//!
//! let mut config = Config::new(vec!["http://127.0.0.1:8081".parse().unwrap()]);
//! config.listen = vec!["127.0.0.1:0".parse().unwrap()];
//! let balancer = Balancer::bind(config.validate().unwrap()).unwrap();
//! println!("listening on {}", balancer.local_addr().unwrap());
//!
//! let (handle, stop) = shutdown::pair();
//! let thread = std::thread::spawn(move || balancer.run(&stop));
//! handle.stop(); // from anywhere, at any time
//! thread.join().unwrap().unwrap();
//! ```
//!
//! The library prints nothing and installs neither a signal handler nor a log subscriber; the
//! `turnwheel` program does. Without the default feature `cli` the command line is not built, and without `top` the
//! view for a terminal is not.

pub mod admin;
pub mod backend;
pub mod balance;
pub mod balancer;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod edge;
pub mod error;
pub mod forward;
pub mod observe;
pub mod queue;
pub mod sys;
pub mod worker;

//! A synchronous HTTP/1.1 load balancer: operating-system threads, blocking I/O, no `async`. For Linux.
//!
//! A program embeds it in four steps: fill in a [`Config`], [validate](Config::validate) it, [bind](Balancer::bind) it,
//! and [run](Balancer::run) it until a [`Stop`](shutdown::Stop) is signalled.
//!
//! ```
//! use turnwheel::{Balancer, Config, shutdown};
//!
//! let mut config = Config::new(vec!["http://127.0.0.1:8081".parse().unwrap()]);
//! config.listen = vec!["127.0.0.1:0".parse().unwrap()];
//! let balancer = Balancer::bind(config.validate().unwrap()).unwrap();
//! println!("listening on {}", balancer.local_addr().unwrap());
//!
//! let (handle, stop) = shutdown::pair();
//! let thread = std::thread::spawn(move || balancer.run(&stop));
//! handle.stop(); // from any thread
//! thread.join().unwrap().unwrap();
//! ```
//!
//! - [`config`] has the parts of a [`Config`], with their defaults and units.
//! - [`strategy`] has the strategies that choose a backend, and the trait for one of your own.
//! - [`shutdown`] has the signal that stops a balancer.
//!
//! The library prints nothing and installs neither a signal handler nor a log subscriber; the `turnwheel` program does.
//! It reports events through [`tracing`]. Without the default feature `cli` the command line is not built, and without
//! `top` the view for the terminal is not.
//!
//! # The path of a request
//!
//! ```text
//! client ──► edge ──► queue ──► worker ──► rotation ──► forward ──► backend
//!                                 │                                   │
//! client ◄──────── response ◄─────┴────────────── reply ◄─────────────┘
//! ```
//!
//! The folders of `src/` are named after it: `edge`, `queue`, `worker.rs`, `balance`, `forward`. `backend` and
//! `cluster` hold what the path reads, `observe` what is recorded of it.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "turnwheel runs on Linux only: it uses epoll and socket options that other systems do not have"
);

mod admin;
mod backend;
mod balance;
mod balancer;
mod cluster;
mod demo;
mod edge;
mod error;
mod forward;
mod observe;
mod queue;
mod sys;
mod worker;

#[cfg(feature = "cli")]
mod cli;

pub use balancer::Balancer;
pub use balancer::config::{Config, InvalidConfig, ValidConfig};
pub use demo::backend::{DemoBackend, RunningBackend};
pub use error::StartError;

/// The parts of a [`Config`].
pub mod config {
    pub use crate::admin::options::{AdminOptions, LISTEN as ADMIN_LISTEN};
    pub use crate::admin::token::{AdminToken, BadToken};
    pub use crate::backend::address::{BackendUrl, BadBackendUrl};
    pub use crate::backend::ejection::options::EjectionOptions;
    pub use crate::backend::member::{BadMember, MOST_WEIGHT, Member};
    pub use crate::balance::affinity::cookie::{BadCookieName, CookieName};
    pub use crate::balance::affinity::session::AffinityOptions;
    pub use crate::balance::candidates::SelectionOptions;
    pub use crate::balancer::config::LISTEN;
    pub use crate::cluster::health::options::HealthOptions;
    pub use crate::cluster::health::statuses::{BadStatuses, Statuses};
    pub use crate::cluster::names::Lookup;
    pub use crate::cluster::options::{Reread, Upstream};
    pub use crate::edge::kind::EdgeKind;
    pub use crate::edge::options::{EdgeOptions, Limits};
    pub use crate::forward::options::ForwardOptions;
    pub use crate::forward::retry_budget::RetryBudgetOptions;
    pub use crate::observe::access_log::line::AccessLogFormat;
    pub use crate::queue::options::QueueOptions;
}

/// The strategies that choose the backend on which a request is tried first.
///
/// ```
/// use turnwheel::strategy::{Candidate, ClientKey, Strategy};
///
/// /// Chooses the backend with the fewest requests in flight.
/// struct LeastBusy;
///
/// impl Strategy for LeastBusy {
///     fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
///         (0..usable.len()).min_by_key(|&index| usable[index].backend.in_flight()).unwrap_or(0)
///     }
/// }
/// ```
pub mod strategy {
    pub use crate::backend::instance::Backend;
    pub use crate::balance::rotation::Rotation;
    pub use crate::balance::strategies::client_hash::ClientHash;
    pub use crate::balance::strategies::least_connections::LeastConnections;
    pub use crate::balance::strategies::power_of_two::PowerOfTwo;
    pub use crate::balance::strategies::weighted_round_robin::WeightedRoundRobin;
    pub use crate::balance::strategy::{Candidate, ClientKey, Strategy};
}

/// The signal that stops a balancer.
pub mod shutdown {
    pub use crate::sys::shutdown::{Stop, StopHandle, pair};
}

/// What the program itself, `compare/` and `fuzz/` use of the crate. It is not part of the library's interface and can
/// change with every version.
#[doc(hidden)]
pub mod internals {
    pub use crate::backend::address::BackendAddress;
    pub use crate::backend::{limit, waiting_queue};
    pub use crate::balance::affinity;
    pub use crate::balance::rotation::SecondChoice;
    #[cfg(feature = "cli")]
    pub use crate::cli::{arguments, logging, run};
    pub use crate::cluster::names;
    pub use crate::edge::parked::{body, parser};
    pub use crate::edge::{hop_by_hop, request_head, response};
    pub use crate::error::Refusal;
    pub use crate::forward::outcome::FailedAttempt;
    pub use crate::forward::{headers, retry, retry_budget};
}

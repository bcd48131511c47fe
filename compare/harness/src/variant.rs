//! What is measured: turnwheel, its peers, and nothing at all in between.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A balancer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// No balancer: clients ask the backends themselves. What the load and the backends can do
    Direct,
    /// turnwheel with its parked edge
    Parked,
    /// turnwheel with its tiny-http edge
    TinyHttp,
    /// A thread for each connection, on std alone
    Threads,
    /// tokio and hyper, a thread for each processor
    Async,
    /// tokio and hyper on one thread
    AsyncOne,
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// Caddy
    Caddy,
}

impl Variant {
    /// All of them, in the order of tables.
    pub const ALL: [Variant; 9] = [
        Variant::Direct,
        Variant::Parked,
        Variant::TinyHttp,
        Variant::Threads,
        Variant::Async,
        Variant::AsyncOne,
        Variant::Nginx,
        Variant::Haproxy,
        Variant::Caddy,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Direct => "direct",
            Variant::Parked => "parked",
            Variant::TinyHttp => "tiny-http",
            Variant::Threads => "threads",
            Variant::Async => "async",
            Variant::AsyncOne => "async-one",
            Variant::Nginx => "nginx",
            Variant::Haproxy => "haproxy",
            Variant::Caddy => "caddy",
        }
    }

    /// Is it one of this project's own?
    pub fn is_own(self) -> bool {
        !matches!(self, Variant::Direct | Variant::Nginx | Variant::Haproxy | Variant::Caddy)
    }

    /// Has it a pool of workers whose size can be set?
    pub fn has_workers(self) -> bool {
        matches!(self, Variant::Parked | Variant::TinyHttp)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

//! The variants that are measured: turnwheel, its peers, and no balancer at all.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A balancer, or the absence of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// No balancer: clients connect to the backends directly. The ceiling of the measurement
    Direct,
    /// turnwheel with the parked edge
    Parked,
    /// turnwheel with the tiny-http edge
    TinyHttp,
    /// One thread per connection, standard library only
    Threads,
    /// tokio and hyper, one thread per processor
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
    /// Every variant, in the order of the tables.
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

    /// Returns the name used in tables and on the command line.
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

    /// Returns whether this project builds the variant.
    pub fn is_own(self) -> bool {
        !matches!(self, Variant::Direct | Variant::Nginx | Variant::Haproxy | Variant::Caddy)
    }

    /// Returns whether the variant has a worker pool whose size can be set.
    pub fn has_workers(self) -> bool {
        matches!(self, Variant::Parked | Variant::TinyHttp)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

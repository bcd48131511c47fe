//! What concerns backends, as it is configured.

use crate::backend::Member;
use crate::balance::rotation::Rotation;
use crate::balance::strategies::Strategy;
use crate::balance::{affinity, candidates};
use crate::cluster::health;
use crate::forward::{self, retry_budget};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// Reads the configuration again; or says every reason why it is none.
pub type Reread = dyn Fn() -> Result<Upstream, Vec<String>> + Send + Sync;

/// What concerns backends: all that can change while the balancer runs.
pub struct Upstream {
    /// The backends, each once.
    pub backends: Vec<Member>,
    /// Who chooses among them. Round robin.
    pub strategy: Arc<dyn Strategy>,
    /// Which of them may be chosen.
    pub choice: candidates::SelectionOptions,
    /// Does a client stay with the backend that it had? No.
    pub sticky: Option<affinity::AffinityOptions>,
    /// How backends are watched.
    pub health: health::HealthOptions,
    /// How long they are waited for, and how often another one is tried.
    pub forward: forward::ForwardOptions,
    /// How many retries are allowed in all.
    pub budget: retry_budget::RetryBudgetOptions,
    /// How often the addresses behind a name are looked up again. 30 s.
    pub resolve_interval: Duration,
    /// Proxies whose word on the client's address is believed. None.
    pub trusted_proxies: Vec<IpNet>,
}

/// The defaults, and no backend yet.
impl Default for Upstream {
    fn default() -> Self {
        Upstream::new(Vec::new())
    }
}

impl Upstream {
    /// The defaults, for these backends.
    pub fn new(backends: Vec<Member>) -> Self {
        Upstream {
            backends,
            strategy: Arc::new(Rotation::default()),
            choice: candidates::SelectionOptions::default(),
            sticky: None,
            health: health::HealthOptions::default(),
            forward: forward::ForwardOptions::default(),
            budget: retry_budget::RetryBudgetOptions::default(),
            resolve_interval: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

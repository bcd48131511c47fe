//! The options of a cluster.

use super::health::options::HealthOptions;
use crate::backend::member::Member;
use crate::balance::affinity::session::AffinityOptions;
use crate::balance::candidates::SelectionOptions;
use crate::balance::rotation::Rotation;
use crate::balance::strategy::Strategy;
use crate::forward::options::ForwardOptions;
use crate::forward::retry_budget::RetryBudgetOptions;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// Reads the configuration again, or returns all its problems, a sentence each.
pub type Reread = dyn Fn() -> Result<Upstream, Vec<String>> + Send + Sync;

/// The backends and their options: all that can change while the balancer runs.
pub struct Upstream {
    /// The backends, without duplicates.
    pub backends: Vec<Member>,
    /// Selects among the backends. Default: round robin.
    pub strategy: Arc<dyn Strategy>,
    /// The rules by which backends may be selected.
    pub choice: SelectionOptions,
    /// The options of sticky sessions. Default: `None`, no sticky sessions.
    pub sticky: Option<AffinityOptions>,
    /// The options of health checks and ejection.
    pub health: HealthOptions,
    /// The timeouts and the retry limit.
    pub forward: ForwardOptions,
    /// The retry budget.
    pub budget: RetryBudgetOptions,
    /// The interval at which host names are looked up again. Default: 30 s.
    pub resolve_interval: Duration,
    /// Proxies whose forwarding headers are kept. Default: none.
    pub trusted_proxies: Vec<IpNet>,
}

/// The defaults, without a backend.
impl Default for Upstream {
    fn default() -> Self {
        Upstream::new(Vec::new())
    }
}

impl Upstream {
    /// Returns the default options for these backends.
    pub fn new(backends: Vec<Member>) -> Self {
        Upstream {
            backends,
            strategy: Arc::new(Rotation::default()),
            choice: SelectionOptions::default(),
            sticky: None,
            health: HealthOptions::default(),
            forward: ForwardOptions::default(),
            budget: RetryBudgetOptions::default(),
            resolve_interval: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

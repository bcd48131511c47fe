//! The routing snapshot that workers read. A change replaces it as a whole; a request that has begun keeps its own.

use super::health::options::HealthOptions;
use crate::backend::address::BackendAddress;
use crate::backend::counters::BackendCounters;
use crate::backend::ejection::tracker::FailureCause;
use crate::backend::instance::Backend;
use crate::backend::member::Member;
use crate::backend::waiting_queue::WaitingQueue;
use crate::balance::candidates::has_another;
use crate::balance::selector::Selector;
use crate::forward::options::ForwardOptions;
use crate::forward::retry::AttemptFailure;
use crate::forward::retry_budget::RetryBudget;
use http::StatusCode;
use ipnet::IpNet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The backends and the options with which a worker serves a request.
pub struct RoutingSnapshot {
    /// Selects backends.
    pub selector: Selector,
    /// The timeouts and the retry limit.
    pub forward: ForwardOptions,
    /// Proxies whose forwarding headers are kept.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The options of health checks and ejection.
    pub health: HealthOptions,
    /// The retry budget.
    pub budget: Arc<RetryBudget>,
    /// The state that survives a replacement.
    pub shared: Arc<SharedRouting>,
}

/// Creates the counters of the backend with this name.
pub type NewCounters = dyn Fn(&str) -> BackendCounters + Send + Sync;

/// The state that all snapshots of a balancer share.
pub struct SharedRouting {
    new_counters: Box<NewCounters>,
    /// The queue in which requests wait while all backends are at their limit.
    pub queue: Arc<WaitingQueue>,
    /// Locked during an ejection: two backends that fail at the same moment must not each be ejected because the other
    /// one is still usable.
    ejecting: Mutex<()>,
}

impl SharedRouting {
    /// Creates the state of a cluster in which no request waits.
    pub fn new(new_counters: Box<NewCounters>) -> Self {
        SharedRouting { new_counters, queue: Arc::default(), ejecting: Mutex::default() }
    }

    /// Creates a backend of this member.
    pub fn new_backend(&self, address: &BackendAddress, member: &Member) -> Arc<Backend> {
        let counters = (self.new_counters)(address.authority.as_str());
        let backend = Backend::new(address.clone(), member.weight, member.backup, &self.queue);
        Arc::new(backend.with_counters(counters))
    }
}

impl RoutingSnapshot {
    /// Records the reply of a backend to a request that began then. A 502 or 504 counts as a failure: a gateway whose own
    /// backends are unreachable is of no use.
    pub fn record_reply(&self, backend: &Backend, began: Instant, status: StatusCode) {
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            return self.count_failure(backend, FailureCause::Reply, began, &format!("it replied {status}"));
        }
        if backend.health_state().record_success(began, Instant::now()) {
            tracing::info!("backend {} answers again", backend.authority());
            self.shared.queue.announce_change();
        }
    }

    /// Records that a backend failed a request that began then.
    pub fn record_failure(&self, backend: &Backend, failure: AttemptFailure, began: Instant, why: &str) {
        let cause = if failure.connected { FailureCause::Reply } else { FailureCause::Connect };
        self.count_failure(backend, cause, began, why);
    }

    /// Returns whether another backend may be tried. A retry after a failed connection puts no load on a backend. Any
    /// other retry takes from the retry budget; without the budget, an outage would multiply the load.
    pub fn may_retry(&self, failure: AttemptFailure) -> bool {
        !failure.connected || self.budget.try_grant(Instant::now())
    }

    /// Counts a failure, and ejects the backend if it has failed often enough and another one is usable.
    fn count_failure(&self, backend: &Backend, cause: FailureCause, began: Instant, why: &str) {
        let (now, name) = (Instant::now(), backend.authority());
        backend.count_failure();
        let (news, due) = backend.health_state().record_failure(cause, began, now, &self.health.ejection);
        if news {
            tracing::warn!("backend {name} failed a request: {why}");
        }
        if !due {
            return;
        }
        let _one_at_a_time = self.shared.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if has_another(&self.selector.backends, backend, now) {
            // `None` if another worker, whose request failed at the same moment, has ejected it already.
            let Some(time) = backend.health_state().eject(why, began, now, &self.health.ejection) else {
                return;
            };
            let time = time.as_secs_f64();
            tracing::warn!(
                "backend {name} is taken out for {time:.1} s: too many failures in a row, the last: {why}"
            );
            self.shared.queue.announce_change();
        }
    }
}

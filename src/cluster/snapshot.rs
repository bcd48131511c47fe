//! What workers go by. A change replaces the snapshot as a whole: whoever has begun a request by the old one ends it by that.

use crate::backend::Backend;
use crate::backend::counters::BackendCounters;
use crate::backend::ejection::Cause;
use crate::backend::limit::WaitingRoom;
use crate::balance::candidates::has_another;
use crate::balance::selector::Selector;
use crate::cluster::health;
use crate::forward::retry_budget::RetryBudget;
use crate::forward::{self, retry::Failure};
use http::StatusCode;
use ipnet::IpNet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Everything about backends that a worker needs for a request.
pub struct RoutingSnapshot {
    /// Who is next.
    pub selector: Selector,
    /// How backends are waited for.
    pub forward: forward::ForwardOptions,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How backends are watched.
    pub health: health::HealthOptions,
    /// How many retries there may be.
    pub budget: Arc<RetryBudget>,
    /// What stays when the snapshot is replaced.
    pub common: Arc<SharedRouting>,
}

/// Makes the counters of a backend that is called so.
pub type NewCounters = dyn Fn(&str) -> BackendCounters + Send + Sync;

/// What one snapshot hands on to the next.
pub struct SharedRouting {
    /// Where a new backend's counters come from.
    pub new_counters: Box<NewCounters>,
    /// Where requests wait while all backends are full.
    pub room: Arc<WaitingRoom>,
    /// Held while a backend is ejected: two that fail at the same moment must not both count on the other.
    ejecting: Mutex<()>,
}

impl SharedRouting {
    /// Returns the state of a cluster in which no request waits.
    pub fn new(new_counters: Box<NewCounters>) -> Self {
        SharedRouting { new_counters, room: Arc::default(), ejecting: Mutex::default() }
    }
}

impl RoutingSnapshot {
    /// This backend has replied to a request that was begun then. A gateway that says that nobody is behind it is as good as gone.
    pub fn replied(&self, backend: &Backend, began: Instant, status: StatusCode) {
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            return self.blame(backend, Cause::Reply, began, &format!("it replied {status}"));
        }
        if backend.health_state().succeeded(began, Instant::now()) {
            tracing::info!("backend {} answers again", backend.authority());
            self.common.room.look_again();
        }
    }

    /// This backend has failed a request that was begun then.
    pub fn failed(&self, backend: &Backend, failure: Failure, began: Instant, why: &str) {
        self.blame(backend, if failure.connected { Cause::Reply } else { Cause::Connect }, began, why);
    }

    /// May one more backend be tried? Where nothing was sent it costs nobody anything. Otherwise retries have
    /// a budget, or an outage would be answered with three times the load.
    pub fn may_retry(&self, failure: Failure) -> bool {
        !failure.connected || self.budget.may_retry(Instant::now())
    }

    fn blame(&self, backend: &Backend, cause: Cause, began: Instant, why: &str) {
        let (now, name) = (Instant::now(), backend.authority());
        backend.count_failure();
        let (news, due) = backend.health_state().failed(cause, began, now, &self.health.ejection);
        if news {
            tracing::warn!("backend {name} fails: {why}");
        }
        if !due {
            return;
        }
        let _one_at_a_time = self.common.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if has_another(&self.selector.backends, backend, now) {
            // None if another worker, whose request failed at the same moment, was here first.
            let Some(time) = backend.health_state().eject(why, began, now, &self.health.ejection) else {
                return;
            };
            let time = time.as_secs_f64();
            tracing::warn!(
                "backend {name} is taken out for {time:.1} s: too many failures in a row, the last: {why}"
            );
            self.common.room.look_again();
        }
    }
}

//! The state of the running balancer, as `/metrics`, `/api/state` and `/api/history` show it.

use super::answers::history::{Sample, Samples};
use super::answers::state::{BackendRates, BackendState, BusyWorker, EndedRequest, RecentRates, State};
use super::control::Insight;
use super::membership_control::backend_state;
use crate::backend::instance::Backend;
use crate::balance::candidates::eligible;
use crate::cluster::membership::Membership;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::edge::kind::EdgeKind;
use crate::edge::lifecycle::Counter;
use crate::observe::metrics::exposition::Readings;
use crate::observe::metrics::history::{History, Rates, SecondCounts};
use crate::observe::metrics::registry::Metrics;
use crate::observe::recent::RecentRequest;
use crate::observe::recorder::Recorder;
use crate::observe::worker_status::WorkerActivity;
use crate::queue::sender::CongestionSignal;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two samples of the history.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The parts of a balancer that the admin listener reads.
pub struct Overview {
    /// When the balancer was started.
    pub began: Instant,
    /// Counts since the start.
    pub metrics: Arc<Metrics>,
    /// Samples of those counts over the last two minutes.
    pub history: History,
    /// Status of the workers, and the requests that ended last.
    pub recorder: Arc<Recorder>,
    /// Worker threads.
    pub workers: usize,
    /// Depth of the queue.
    pub congestion: CongestionSignal,
    /// Requests that the queue holds at most.
    pub queue_capacity: usize,
    /// The edge that accepts requests.
    pub edge: EdgeKind,
    /// Addresses of that edge.
    pub listen: Vec<SocketAddr>,
    /// Whether this is the demo.
    pub demo: bool,
    /// Counts the open connections of clients; `None` if the edge cannot count them.
    pub connections: Option<Counter>,
    /// The backends.
    pub members: Arc<Membership>,
}

impl Overview {
    /// Takes a sample a second until the channel is closed.
    pub fn keep_history(&self, closed: &Receiver<()>) {
        let mut next = Instant::now() + SAMPLE_INTERVAL;
        while closed.recv_deadline(next) == Err(RecvTimeoutError::Timeout) {
            let now = Instant::now();
            self.recorder.gather_recent();
            let snapshot = self.members.snapshot().get();
            self.history.sample(now, self.metrics.totals(), &snapshot.selector.backends);
            next = now.max(next + SAMPLE_INTERVAL);
        }
    }

    fn connections(&self) -> Option<usize> {
        self.connections.as_ref().map(|count| count())
    }

    fn backends(&self, snapshot: &RoutingSnapshot) -> Vec<BackendState> {
        let recent = self.history.recent();
        let state = |backend: &Arc<Backend>| {
            let id = backend.id();
            let rates = recent_rates(recent.backends.get(&id).copied().unwrap_or_default());
            BackendState {
                lately: Some(BackendRates { rates, share: recent.share(id) }),
                ..backend_state(backend)
            }
        };
        snapshot.selector.backends.iter().map(state).collect()
    }

    fn busy(&self, snapshot: &RoutingSnapshot) -> Vec<BusyWorker> {
        let busy_worker = |(worker, activity, time): (usize, WorkerActivity, Duration)| {
            let mut backends = snapshot.selector.backends.iter();
            let backend = backends.find(|backend| Some(backend.id()) == activity.backend);
            BusyWorker {
                worker,
                method: activity.method,
                path: activity.path,
                backend: backend.map(|backend| backend.authority().to_string()),
                phase: activity.phase.word().into(),
                for_seconds: seconds(time),
            }
        };
        self.recorder.activities().map(busy_worker).collect()
    }
}

/// Returns the name of the backend that is next in rotation, or `None` if the strategy has no order or no backend is
/// usable.
fn next(snapshot: &RoutingSnapshot) -> Option<String> {
    let selector = &snapshot.selector;
    let usable = eligible(&selector.backends, &[], selector.options.fail_open, Instant::now());
    let next = selector.strategy.next(usable.len())?;
    Some(selector.backends[usable.get(next)?.index].authority().to_string())
}

fn ended_request(request: RecentRequest) -> EndedRequest {
    EndedRequest {
        number: request.number,
        ago_seconds: seconds(request.ended_at.elapsed()),
        method: request.method,
        path: request.path,
        backend: request.backend,
        status: request.status,
        ended: request.ended.word().into(),
        seconds: request.seconds,
        tries: request.tries,
    }
}

fn recent_rates(rates: Rates) -> RecentRates {
    let Rates { seconds, requests, errors, p50, p99 } = rates;
    RecentRates { seconds, rate: requests, errors, p50_seconds: p50, p99_seconds: p99 }
}

fn sample(second: SecondCounts) -> Sample {
    let SecondCounts { number, requests, errors, p50, p99, backends } = second;
    let backends = backends.into_iter().collect();
    Sample { number, requests, errors, p50_seconds: p50, p99_seconds: p99, backends }
}

/// Rounds to a millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Insight for Overview {
    fn metrics(&self) -> Result<String, prometheus::Error> {
        let snapshot = self.members.snapshot().get();
        self.metrics.text(&Readings {
            backends: &snapshot.selector.backends,
            queue_depth: self.congestion.depth(),
            workers: self.workers,
            workers_busy: self.recorder.busy(),
            connections: self.connections(),
            dropped_lines: self.recorder.dropped_lines(),
        })
    }

    fn state(&self) -> State {
        let snapshot = self.members.snapshot().get();
        let why_not = self.members.ready().err();
        let classes = self.metrics.classes().map(|(class, count)| (class.to_owned(), count));
        State {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: seconds(self.began.elapsed()),
            now: format!("{:.3}", Timestamp::now()),
            ready: why_not.is_none(),
            why_not: why_not.map(str::to_owned),
            edge: self.edge.name().into(),
            listen: self.listen.clone(),
            strategy: snapshot.selector.strategy.name().into(),
            next: next(&snapshot),
            connections: self.connections(),
            queue_depth: self.congestion.depth(),
            queue_capacity: self.queue_capacity,
            workers: self.workers,
            workers_busy: self.recorder.busy(),
            busy: self.busy(&snapshot),
            requests: classes.into(),
            rejected: self.metrics.without_backend(),
            access_log_dropped: self.recorder.dropped_lines(),
            lately: recent_rates(self.history.recent().all),
            recent: self.recorder.recent().into_iter().map(ended_request).collect(),
            demo: self.demo,
            backends: self.backends(&snapshot),
        }
    }

    fn history(&self, after: u64) -> Samples {
        let (newest, seconds) = self.history.after(after);
        Samples { newest, samples: seconds.into_iter().map(sample).collect() }
    }
}

//! The balancer at work, as the admin listener shows it.

use super::control::Insight;
use super::membership_control::shown;
use crate::backend::Backend;
use crate::balance::candidates::eligible;
use crate::cluster::membership::Membership;
use crate::cluster::snapshot::RoutingSnapshot;
use crate::edge::{EdgeKind, lifecycle::Counter};
use crate::observe::Recorder;
use crate::observe::metrics::{History, Metrics, Moment};
use crate::observe::recent::RecentRequest;
use crate::observe::worker_status::Activity;
use crate::queue::CongestionSignal;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often somebody looks at what has happened.
const LOOK: Duration = Duration::from_secs(1);

/// All there is to be seen of a balancer.
pub struct Overview {
    /// When it was started.
    pub began: Instant,
    /// What has been counted.
    pub metrics: Arc<Metrics>,
    /// What has become of that lately.
    pub history: History,
    /// Who knows what workers are at.
    pub recorder: Arc<Recorder>,
    /// How many workers there are.
    pub workers: usize,
    /// The queue in front of them.
    pub congestion: CongestionSignal,
    /// How many requests may wait in it.
    pub queue_capacity: usize,
    /// Which edge takes requests in.
    pub edge: EdgeKind,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Is this the demo?
    pub demo: bool,
    /// Connections of clients, where the edge knows.
    pub connections: Option<Counter>,
    /// The backends.
    pub members: Arc<Membership>,
}

impl Overview {
    /// Looks once a second at what has happened, until the channel is closed.
    pub fn keep_history(&self, closed: &Receiver<()>) {
        let mut next = Instant::now() + LOOK;
        while closed.recv_deadline(next) == Err(RecvTimeoutError::Timeout) {
            let now = Instant::now();
            self.recorder.gather_recent();
            self.history.look(now, &self.metrics, &self.members.snapshot().get().selector.backends);
            next = now.max(next + LOOK);
        }
    }

    fn connections(&self) -> Option<usize> {
        self.connections.as_ref().map(|count| count())
    }

    fn backends(&self, snapshot: &RoutingSnapshot) -> Vec<Value> {
        let lately = self.history.lately();
        let one = |backend: &Arc<Backend>| {
            let mut value = shown(backend);
            let id = backend.id();
            value["lately"] = lately.backends.get(&id).copied().unwrap_or_default().shown();
            value["lately"]["share"] = lately.share(id).into();
            value
        };
        snapshot.selector.backends.iter().map(one).collect()
    }

    fn busy(&self, snapshot: &RoutingSnapshot) -> Vec<Value> {
        let one = |(worker, activity, time): (usize, Activity, Duration)| {
            let mut backends = snapshot.selector.backends.iter();
            let backend = backends.find(|backend| Some(backend.id()) == activity.backend);
            json!({
                "worker": worker,
                "method": activity.method,
                "path": activity.path,
                "backend": backend.map(|backend| backend.authority().as_str()),
                "phase": activity.phase.word(),
                "for_seconds": seconds(time),
            })
        };
        self.recorder.activities().map(one).collect()
    }

    fn requests(&self) -> Value {
        let classes = self.metrics.classes().map(|(class, count)| (class.to_owned(), count.into()));
        Value::Object(classes.into_iter().collect())
    }
}

/// Whose turn it is, where that is settled.
fn next(snapshot: &RoutingSnapshot) -> Option<&str> {
    let selector = &snapshot.selector;
    let usable = eligible(&selector.backends, &[], selector.options.fail_open, Instant::now());
    let next = selector.strategy.next(usable.len())?;
    Some(selector.backends[usable.get(next)?.index].authority().as_str())
}

fn recent(request: &RecentRequest) -> Value {
    json!({
        "number": request.number,
        "ago_seconds": seconds(request.ended_at.elapsed()),
        "method": request.method,
        "path": request.path,
        "backend": request.backend,
        "status": request.status,
        "ended": request.ended.word(),
        "seconds": request.seconds,
        "tries": request.tries,
    })
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Insight for Overview {
    fn metrics(&self) -> Result<String, prometheus::Error> {
        let snapshot = self.members.snapshot().get();
        self.metrics.text(&Moment {
            backends: &snapshot.selector.backends,
            queue_depth: self.congestion.depth(),
            workers: self.workers,
            workers_busy: self.recorder.busy(),
            connections: self.connections(),
            dropped_lines: self.recorder.dropped_lines(),
        })
    }

    fn state(&self) -> Value {
        let snapshot = self.members.snapshot().get();
        let why_not = self.members.ready().err();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": format!("{:.3}", Timestamp::now()),
            "uptime_seconds": seconds(self.began.elapsed()),
            "ready": why_not.is_none(),
            "why_not": why_not,
            "edge": self.edge.name(),
            "listen": self.listen,
            "strategy": snapshot.selector.strategy.name(),
            "next": next(&snapshot),
            "connections": self.connections(),
            "queue_depth": self.congestion.depth(),
            "queue_capacity": self.queue_capacity,
            "workers": self.workers,
            "workers_busy": self.recorder.busy(),
            "busy": self.busy(&snapshot),
            "requests": self.requests(),
            "rejected": self.metrics.unplaced(),
            "access_log_dropped": self.recorder.dropped_lines(),
            "lately": self.history.lately().all.shown(),
            "recent": self.recorder.recent().iter().map(recent).collect::<Vec<_>>(),
            "demo": self.demo,
            "backends": self.backends(&snapshot),
        })
    }

    fn history(&self, after: u64) -> Value {
        self.history.after(after)
    }
}

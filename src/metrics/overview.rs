//! The balancer at work, as the admin listener shows it.

use super::{Metrics, Moment};
use crate::admin::{Control, Insight};
use crate::edge::lifecycle::Counter;
use crate::membership::Membership;
use crate::queue::Pressure;
use crate::record::Recorder;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// All there is to be seen of a balancer.
pub struct Overview {
    /// When it was started.
    pub began: Instant,
    /// What has been counted.
    pub metrics: Arc<Metrics>,
    /// Who knows which workers are at work.
    pub recorder: Arc<Recorder>,
    /// How many workers there are.
    pub workers: usize,
    /// The queue in front of them.
    pub pressure: Pressure,
    /// Connections of clients, where the edge knows.
    pub connections: Option<Counter>,
    /// The backends.
    pub members: Arc<Membership>,
}

impl Overview {
    fn connections(&self) -> Option<usize> {
        self.connections.as_ref().map(|count| count())
    }
}

impl Insight for Overview {
    fn metrics(&self) -> Result<String, prometheus::Error> {
        let plan = self.members.plan().get();
        self.metrics.text(&Moment {
            backends: &plan.chooser.backends,
            queue_depth: self.pressure.depth(),
            workers: self.workers,
            workers_busy: self.recorder.busy(),
            connections: self.connections(),
        })
    }

    fn state(&self) -> Value {
        let requests = self.metrics.classes().map(|(class, count)| (class.to_owned(), Value::from(count)));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            "queue_depth": self.pressure.depth(),
            "workers": self.workers,
            "workers_busy": self.recorder.busy(),
            "connections": self.connections(),
            "requests": Value::Object(requests.into_iter().collect()),
            "backends": self.members.backends(),
        })
    }
}

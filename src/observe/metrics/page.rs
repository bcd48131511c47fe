//! The page that Prometheus reads: what is known at one moment, put beside what has been counted.

use super::times;
use crate::backend::Backend;
use crate::backend::counters::StatusCounts;
use prometheus::core::{Collector, Metric};
use prometheus::{
    Error, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use prometheus::{Histogram, proto::MetricFamily};
use std::sync::Arc;

/// What is read when somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The backends that belong to it.
    pub backends: &'a [Arc<Backend>],
    /// Requests that wait for a worker.
    pub queue_depth: usize,
    /// Workers there are.
    pub workers: usize,
    /// Workers that are at work.
    pub workers_busy: usize,
    /// Connections of clients, where the edge knows.
    pub connections: Option<usize>,
    /// Lines that the access log could not write, or not in time.
    pub dropped_lines: u64,
}

/// What is filled in when somebody asks.
pub struct Page {
    requests: IntCounterVec,
    retries: IntCounterVec,
    /// Empty: where backends get their own from.
    upstream: HistogramVec,
    in_flight: IntGaugeVec,
    up: IntGaugeVec,
    queue_depth: IntGauge,
    workers: IntGauge,
    workers_busy: IntGauge,
    /// Without a label: there is one, or none.
    connections: IntGaugeVec,
    dropped_lines: IntCounter,
}

/// Has the registry show it.
pub fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Page {
    /// A page whose metrics this registry shows, all but the backends' histograms.
    pub fn of(registry: &Registry) -> Result<Self, Error> {
        let counters =
            |name, help, labels| registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let gauges =
            |name, help, labels| registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?);
        let gauge = |name, help| registered(registry, IntGauge::new(name, help)?);
        let requests =
            "Requests that have ended, by the backend that was tried last and the status that was sent.";
        let retries = "Tries that failed at a backend and were repeated at another one.";
        let upstream = "From the beginning of a request's last try to the head of its reply, or its failure.";
        let up = "Whether a backend may be chosen, by checks and by requests that failed: 1, or 0.";
        Ok(Page {
            requests: counters("turnwheel_requests_total", requests, &["backend", "status"])?,
            retries: counters("turnwheel_retries_total", retries, &["backend"])?,
            upstream: HistogramVec::new(
                times("turnwheel_upstream_duration_seconds", upstream),
                &["backend"],
            )?,
            in_flight: gauges("turnwheel_in_flight", "Requests that a backend is serving.", &["backend"])?,
            up: gauges("turnwheel_backend_up", up, &["backend"])?,
            queue_depth: gauge("turnwheel_queue_depth", "Requests that wait for a worker.")?,
            workers: gauge("turnwheel_workers", "Worker threads.")?,
            workers_busy: gauge("turnwheel_workers_busy", "Worker threads that are at work on a request.")?,
            connections: gauges(
                "turnwheel_connections",
                "Connections of clients, idle ones too (parked edge).",
                &[],
            )?,
            dropped_lines: registered(
                registry,
                IntCounter::new(
                    "turnwheel_access_log_dropped_total",
                    "Lines that the access log could not write, or not in time.",
                )?,
            )?,
        })
    }

    /// A histogram for a backend that is called so. It is in nobody's list, so it is gone when the backend drops it, and another
    /// backend of that name gets another one.
    pub fn histogram_of_its_own(&self, backend: &str) -> Histogram {
        let histogram = self.upstream.with_label_values(&[backend]);
        let _ = self.upstream.remove_label_values(&[backend]); // it is there: nobody else gets here meanwhile
        histogram
    }

    /// The whole page.
    pub fn text(
        &self,
        registry: &Registry,
        unplaced: &StatusCounts,
        moment: &Moment<'_>,
    ) -> Result<String, Error> {
        self.fill(unplaced, moment);
        let mut families = registry.gather();
        families.extend(self.upstream(moment.backends));
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }

    fn fill(&self, unplaced: &StatusCounts, moment: &Moment<'_>) {
        self.requests.reset();
        self.retries.reset();
        [&self.in_flight, &self.up, &self.connections].iter().for_each(|gauges| gauges.reset());
        self.count_requests("none", unplaced);
        for backend in moment.backends {
            let name = backend.authority().as_str();
            if let Some(counters) = backend.counters() {
                self.count_requests(name, counters.statuses());
                self.retries.with_label_values(&[name]).inc_by(counters.retries());
            }
            self.in_flight.with_label_values(&[name]).set(number(backend.in_flight()));
            let is_up = backend.health_state().report().state.is_usable();
            self.up.with_label_values(&[name]).set(is_up.into());
        }
        self.queue_depth.set(number(moment.queue_depth));
        self.workers.set(number(moment.workers));
        self.workers_busy.set(number(moment.workers_busy));
        self.dropped_lines.reset();
        self.dropped_lines.inc_by(moment.dropped_lines);
        if let Some(connections) = moment.connections {
            self.connections.with_label_values::<&str>(&[]).set(number(connections));
        }
    }

    fn count_requests(&self, backend: &str, statuses: &StatusCounts) {
        for (status, count) in statuses.counted() {
            self.requests.with_label_values(&[backend, &status.to_string()]).inc_by(count);
        }
    }

    /// What the backends have of [`Self::histogram_of_its_own`], as one family. Nothing if there is none: it could not be written.
    fn upstream(&self, backends: &[Arc<Backend>]) -> Option<MetricFamily> {
        let mut family = self.upstream.collect().pop()?;
        let tallies = backends.iter().filter_map(|backend| backend.counters());
        family.mut_metric().extend(tallies.map(|counters| counters.upstream().metric()));
        (!family.get_metric().is_empty()).then_some(family)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

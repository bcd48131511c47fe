//! The metrics in the Prometheus text format: counters as they stand, and gauges as read for this scrape.

use super::registry::{Metrics, UPSTREAM};
use crate::backend::instance::Backend;
use crate::error::Refusal;
use prometheus::core::{Collector, Metric as _};
use prometheus::proto::MetricType::{self, COUNTER, GAUGE, HISTOGRAM};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily};
use prometheus::{Error, TextEncoder};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The values that are read at the time of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    /// The current backends.
    pub backends: &'a [Arc<Backend>],
    /// Requests that wait for a worker.
    pub queue_depth: usize,
    /// Worker threads.
    pub workers: usize,
    /// Worker threads that serve a request.
    pub workers_busy: usize,
    /// Client connections, or `None` if the edge does not count them.
    pub connections: Option<usize>,
    /// Access log lines that were dropped.
    pub dropped_lines: u64,
}

impl Metrics {
    /// Returns all metrics in the Prometheus text format, sorted by name.
    ///
    /// # Errors
    /// When a family breaks a rule of the format.
    pub fn text(&self, readings: &Readings<'_>) -> Result<String, Error> {
        let mut families = self.balancer_families(readings);
        families.extend(self.backend_families(readings.backends));
        families.retain(|family| !family.get_metric().is_empty()); // the encoder refuses an empty family
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }

    fn balancer_families(&self, readings: &Readings<'_>) -> Vec<MetricFamily> {
        let dropped = "Lines that the access log could not write, or not in time.";
        let connections = "Connections of clients, idle ones too (parked edge).";
        let depth = "Requests that wait for a worker.";
        let rejected = "Answers of the balancer's own, by what was the matter.";
        let busy = "Worker threads that are at work on a request.";
        let by_reason = Refusal::ALL.iter().zip(&self.rejected);
        let by_reason =
            by_reason.map(|(refusal, count)| (vec![label("reason", refusal.reason())], count.load(Relaxed)));
        let single = |value: usize| [(Vec::new(), value as u64)];
        let connected = readings.connections.into_iter().flat_map(single);
        let mut families = vec![
            values(
                COUNTER,
                "turnwheel_access_log_dropped_total",
                dropped,
                [(vec![], readings.dropped_lines)],
            ),
            values(GAUGE, "turnwheel_connections", connections, connected),
            values(GAUGE, "turnwheel_queue_depth", depth, single(readings.queue_depth)),
            values(COUNTER, "turnwheel_rejected_total", rejected, by_reason),
            values(GAUGE, "turnwheel_workers", "Worker threads.", single(readings.workers)),
            values(GAUGE, "turnwheel_workers_busy", busy, single(readings.workers_busy)),
        ];
        families.extend(self.duration.collect());
        families.extend(self.queue_wait.collect());
        families
    }

    fn backend_families(&self, backends: &[Arc<Backend>]) -> Vec<MetricFamily> {
        let up = "Whether a backend may be chosen, by checks and by requests that failed: 1, or 0.";
        let in_flight = "Requests that a backend is serving.";
        let requests =
            "Requests that have ended, by the backend that was tried last and the status that was sent.";
        let retries = "Tries that failed at a backend and were repeated at another one.";
        let labelled = backends.iter().map(|one| (label("backend", one.authority().as_str()), &**one));
        let of_each =
            |value: fn(&Backend) -> u64| labelled.clone().map(move |(label, one)| (vec![label], value(one)));
        let counted = labelled.clone().filter_map(|(label, one)| Some((label, one.counters()?)));
        let statuses = counted.clone().map(|(label, counters)| (label, counters.statuses()));
        let by_status = statuses.chain([(label("backend", "none"), &self.without_backend)]);
        let by_status = by_status.flat_map(|(backend, counts)| {
            let labels = move |status: u16| vec![backend.clone(), label("status", &status.to_string())];
            counts.counted().map(move |(status, count)| (labels(status), count))
        });
        let retried = counted.clone().map(|(label, counters)| (vec![label], counters.retries()));
        let times = counted.map(|(_, counters)| counters.upstream().metric()).collect();
        vec![
            values(
                GAUGE,
                "turnwheel_backend_up",
                up,
                of_each(|one| one.health_state().report().state.is_usable().into()),
            ),
            values(GAUGE, "turnwheel_in_flight", in_flight, of_each(|one| one.in_flight() as u64)),
            values(COUNTER, "turnwheel_requests_total", requests, by_status),
            values(COUNTER, "turnwheel_retries_total", retries, retried),
            family(HISTOGRAM, UPSTREAM.0, UPSTREAM.1, times),
        ]
    }
}

/// The labels of a series, and its value.
type SeriesValue = (Vec<LabelPair>, u64);

/// Returns a family of counters or gauges, in the order of their label values.
fn values(
    kind: MetricType,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = SeriesValue>,
) -> MetricFamily {
    let mut metrics: Vec<_> = samples.into_iter().map(|sample| metric(kind, sample)).collect();
    metrics.sort_by(|one, other| {
        let [one, other] = [one, other].map(|metric| metric.get_label().iter().map(LabelPair::value));
        one.cmp(other)
    });
    family(kind, name, help, metrics)
}

fn metric(kind: MetricType, (labels, value): SeriesValue) -> Metric {
    let mut metric = Metric::from_label(labels);
    if kind == COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        metric.set_gauge(gauge);
    }
    metric
}

fn family(kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::outcome::Outcome;
    use http::StatusCode;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn backend(metrics: &Metrics) -> Arc<Backend> {
        let place = std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let backend = Backend::new(place, 1, false, &Arc::default());
        Arc::new(backend.with_counters(metrics.counters("127.0.0.1:1")))
    }

    fn ended(backend: Option<&Backend>, status: u16, refusal: Option<Refusal>) -> Outcome<'_> {
        let peer = ([127, 0, 0, 1], 2).into();
        let outcome = Outcome::refused(None, peer, Instant::now(), Refusal::BadGateway);
        let status = StatusCode::from_u16(status).unwrap();
        Outcome { status, refusal, backend, upstream: Duration::from_millis(2), ..outcome }
    }

    fn text(metrics: &Metrics, backends: &[Arc<Backend>]) -> String {
        let readings = Readings {
            backends,
            queue_depth: 3,
            workers: 64,
            workers_busy: 5,
            connections: Some(7),
            dropped_lines: 9,
        };
        metrics.text(&readings).unwrap()
    }

    #[track_caller]
    fn assert_line(text: &str, line: &str) {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }

    #[test]
    fn counts_requests_by_backend_and_status() {
        let metrics = Metrics::new().unwrap();
        let backend = backend(&metrics);
        for status in [200, 200, 404, 999, 100] {
            metrics.record(&ended(Some(&backend), status, None));
        }
        metrics.record(&Outcome { queued: Some(Duration::from_secs(1)), ..ended(None, 503, None) });
        let text = text(&metrics, &[backend]);
        for (status, count) in [(200, 2), (404, 1), (999, 1), (100, 1)] {
            let line =
                format!(r#"turnwheel_requests_total{{backend="127.0.0.1:1",status="{status}"}} {count}"#);
            assert_line(&text, &line);
        }
        for line in [
            r#"turnwheel_requests_total{backend="none",status="503"} 1"#,
            r#"turnwheel_upstream_duration_seconds_count{backend="127.0.0.1:1"} 5"#,
            r#"turnwheel_upstream_duration_seconds_bucket{backend="127.0.0.1:1",le="0.001"} 0"#,
            r#"turnwheel_upstream_duration_seconds_bucket{backend="127.0.0.1:1",le="0.0025"} 5"#,
            "turnwheel_request_duration_seconds_count 6",
            "turnwheel_queue_wait_seconds_count 1",
            "turnwheel_queue_wait_seconds_sum 1",
            "turnwheel_queue_depth 3",
            "turnwheel_workers 64",
            "turnwheel_workers_busy 5",
            "turnwheel_connections 7",
            "turnwheel_access_log_dropped_total 9",
        ] {
            assert_line(&text, line);
        }
        let classes = [("2xx", 2), ("3xx", 0), ("4xx", 1), ("5xx", 1), ("other", 2)];
        assert_eq!(metrics.classes(), classes);
    }

    #[test]
    fn counts_each_refusal_under_its_own_reason() {
        let metrics = Metrics::new().unwrap();
        for refusal in Refusal::ALL {
            metrics.record(&ended(None, refusal.status().as_u16(), Some(refusal)));
        }
        metrics.record(&ended(None, 400, Some(Refusal::BadRequest("another detail"))));
        let text = text(&metrics, &[]);
        let lines = text.lines().filter(|line| line.starts_with("turnwheel_rejected_total{"));
        let (twice, once): (Vec<_>, Vec<_>) = lines.partition(|line| line.ends_with(" 2"));
        assert_eq!(twice, [r#"turnwheel_rejected_total{reason="bad_request"} 2"#]);
        assert!(
            once.len() == Refusal::ALL.len() - 1 && once.iter().all(|line| line.ends_with(" 1")),
            "{text}"
        );
    }

    #[test]
    fn balancers_are_counted_apart() {
        let [one, other] = [Metrics::new().unwrap(), Metrics::new().unwrap()];
        let (first, second) = (backend(&one), backend(&other));
        one.record(&ended(Some(&first), 200, None));
        assert_line(
            &text(&one, &[first]),
            r#"turnwheel_requests_total{backend="127.0.0.1:1",status="200"} 1"#,
        );
        assert_line(
            &text(&other, &[second]),
            r#"turnwheel_requests_total{backend="127.0.0.1:1",status="200"} 0"#,
        );
    }

    #[test]
    fn backends_of_the_same_name_are_counted_apart() {
        let metrics = Metrics::new().unwrap();
        let (old, new) = (backend(&metrics), backend(&metrics));
        metrics.record(&ended(Some(&old), 200, None));
        let count = |backend: &Arc<Backend>, count: u32| {
            let text = text(&metrics, std::slice::from_ref(backend));
            assert_line(
                &text,
                &format!(r#"turnwheel_upstream_duration_seconds_count{{backend="127.0.0.1:1"}} {count}"#),
            );
        };
        count(&new, 0);
        count(&old, 1);
        assert!(!text(&metrics, &[]).contains("127.0.0.1:1"), "a backend that has left is exported");
        assert!(text(&metrics, &[]).contains("turnwheel_request_duration_seconds_count 1"));
    }
}

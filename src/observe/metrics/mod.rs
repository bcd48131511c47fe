//! What is counted, and how Prometheus is told.
//!
//! **Counting is cheap.** What a worker counts is found without a lock and without looking for a name: a backend has its numbers
//! with it ([`BackendCounters`]), a status is an index, and a time is some atomic additions to a histogram.
//!
//! **What has happened lately** is kept apart, for those who watch ([`History`]): once a second somebody looks at what has been
//! counted. Times are counted a second time for that, more finely (`latency`).
//!
//! **What can be read is not counted.** How deep the queue is, how much a backend is doing, who is up: that is read when somebody
//! asks ([`Overview`](crate::admin::Overview)), and costs requests nothing.
//!
//! **What belongs to a backend goes with it.** The series of one that has left are not on the next page, and one that comes back
//! begins at nothing, as its other numbers do. Requests that a backend finishes after it has left are in the totals, and in no
//! series of a backend.

pub mod history;
mod page;

use crate::backend::Backend;
use crate::backend::counters::{BackendCounters, StatusCounts, Totals};
use crate::backend::latency::Latency;
use crate::error::Refusal;
use crate::observe::outcome::Outcome;
pub use history::History;
use http::StatusCode;
pub use page::Moment;
use page::{Page, registered};
use prometheus::{Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bounds of histograms, in seconds: from what a backend on the same machine takes to the longest that one is waited for by
/// default. They are fine below a second, where it matters to whoever waits.
const BOUNDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// What requests are counted by where not each status is of interest.
pub const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// Which of them is 5xx.
const FAILED: usize = 3;

/// The metrics of one balancer.
pub struct Metrics {
    registry: Registry,
    /// Requests that no backend was chosen for.
    unplaced: StatusCounts,
    classes: [AtomicU64; CLASSES.len()],
    duration: Histogram,
    latency: Latency,
    queue_wait: Histogram,
    rejected: Vec<(&'static str, IntCounter)>,
    /// Held while it is filled in and read, and while a backend's histogram is made.
    page: Mutex<Page>,
}

impl Metrics {
    /// Nothing has been counted yet.
    ///
    /// # Errors
    /// When a name is one that Prometheus does not allow, or is there twice.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let histogram = |name, help| registered(&registry, Histogram::with_opts(times(name, help))?);
        let duration = histogram(
            "turnwheel_request_duration_seconds",
            "From the moment when a request is ready for a worker to the end of its reply.",
        )?;
        let queue_wait =
            histogram("turnwheel_queue_wait_seconds", "How long requests have waited for a worker.")?;
        let rejected =
            Opts::new("turnwheel_rejected_total", "Answers of the balancer's own, by what was the matter.");
        let rejected = registered(&registry, IntCounterVec::new(rejected, &["reason"])?)?;
        let reasons = Refusal::ALL.iter().map(|refusal| refusal.reason());
        let rejected = reasons.map(|reason| (reason, rejected.with_label_values(&[reason]))).collect();
        let page = Mutex::new(Page::of(&registry)?);
        let (unplaced, classes, latency) = Default::default();
        Ok(Metrics { registry, unplaced, classes, duration, latency, queue_wait, rejected, page })
    }

    /// What is to be counted of a backend that is called so.
    pub fn counters(&self, backend: &str) -> BackendCounters {
        BackendCounters::new(self.lock().histogram_of_its_own(backend))
    }

    /// Counts a request.
    pub fn record(&self, outcome: &Outcome<'_>) {
        match outcome.backend.map(Backend::counters) {
            None => self.unplaced.count(outcome.status),
            Some(Some(counters)) => counters.count(outcome.status, outcome.upstream),
            Some(None) => {} // it was made by somebody who does not count
        }
        self.classes[class(outcome.status)].fetch_add(1, Relaxed);
        self.duration.observe(outcome.total.as_secs_f64());
        self.latency.note(outcome.total);
        if let Some(queued) = outcome.queued {
            self.queue_wait.observe(queued.as_secs_f64());
        }
        if let Some(refusal) = outcome.refusal {
            let reason = refusal.reason();
            let counter = self.rejected.iter().find(|(one, _)| *one == reason);
            counter.iter().for_each(|(_, counter)| counter.inc());
        }
    }

    /// How many requests of each of the [`CLASSES`] have been counted.
    pub fn classes(&self) -> [(&'static str, u64); CLASSES.len()] {
        let mut counts = CLASSES.map(|name| (name, 0));
        counts.iter_mut().zip(&self.classes).for_each(|(count, class)| count.1 = class.load(Relaxed));
        counts
    }

    /// How many of them no backend was chosen for.
    pub fn unplaced(&self) -> u64 {
        self.unplaced.counted().map(|(_, count)| count).sum()
    }

    /// What requests have ended.
    pub fn totals(&self) -> Totals {
        let count = |class: &AtomicU64| class.load(Relaxed);
        let (requests, errors) = (self.classes.iter().map(count).sum(), count(&self.classes[FAILED]));
        Totals { requests, errors, times: self.latency.times() }
    }

    /// All of it, in Prometheus' text format, with what can be read at this moment.
    ///
    /// # Errors
    /// When there is something in it that the format does not allow.
    pub fn text(&self, moment: &Moment<'_>) -> Result<String, Error> {
        self.lock().text(&self.registry, &self.unplaced, moment)
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        // It is filled in anew each time.
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn times(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BOUNDS.to_vec())
}

/// Which of the [`CLASSES`] a status is in.
fn class(status: StatusCode) -> usize {
    match status.as_u16() / 100 {
        hundreds @ 2..=5 => usize::from(hundreds) - 2,
        _ => CLASSES.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let moment = Moment {
            backends,
            queue_depth: 3,
            workers: 64,
            workers_busy: 5,
            connections: Some(7),
            dropped_lines: 9,
        };
        metrics.text(&moment).unwrap()
    }

    #[track_caller]
    fn says(text: &str, line: &str) {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }

    #[test]
    fn requests_are_counted_by_backend_and_status() {
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
            says(&text, &line);
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
            says(&text, line);
        }
        let classes = [("2xx", 2), ("3xx", 0), ("4xx", 1), ("5xx", 1), ("other", 2)];
        assert_eq!(metrics.classes(), classes);
    }

    #[test]
    fn each_refusal_has_a_reason_of_its_own() {
        let metrics = Metrics::new().unwrap();
        for refusal in Refusal::ALL {
            metrics.record(&ended(None, refusal.status().as_u16(), Some(refusal)));
        }
        metrics.record(&ended(None, 400, Some(Refusal::BadRequest("whatever it was"))));
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
    fn two_balancers_count_apart() {
        let [one, other] = [Metrics::new().unwrap(), Metrics::new().unwrap()];
        let (first, second) = (backend(&one), backend(&other));
        one.record(&ended(Some(&first), 200, None));
        says(&text(&one, &[first]), r#"turnwheel_requests_total{backend="127.0.0.1:1",status="200"} 1"#);
        says(&text(&other, &[second]), r#"turnwheel_requests_total{backend="127.0.0.1:1",status="200"} 0"#);
    }

    #[test]
    fn of_two_backends_of_one_name_each_has_its_own() {
        let metrics = Metrics::new().unwrap();
        let (old, new) = (backend(&metrics), backend(&metrics));
        metrics.record(&ended(Some(&old), 200, None));
        let count = |backend: &Arc<Backend>, count: u32| {
            let text = text(&metrics, std::slice::from_ref(backend));
            says(
                &text,
                &format!(r#"turnwheel_upstream_duration_seconds_count{{backend="127.0.0.1:1"}} {count}"#),
            );
        };
        count(&new, 0);
        count(&old, 1);
        assert!(!text(&metrics, &[]).contains("127.0.0.1:1"), "who has left is not on the page");
        assert!(text(&metrics, &[]).contains("turnwheel_request_duration_seconds_count 1"));
    }
}

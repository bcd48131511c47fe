//! The metrics of a running balancer.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, dead_port, eventually, is_tiny};
use crate::config_file::{file_flag, file_with};
use crate::pool::{ask_all, dammed};
use crate::steady_load::SteadyLoad;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

/// The name, type and labels of every metric.
const NAMES: [(&str, &str, &str); 13] = [
    ("turnwheel_access_log_dropped_total", "counter", ""),
    ("turnwheel_backend_up", "gauge", "backend"),
    ("turnwheel_connections", "gauge", ""),
    ("turnwheel_in_flight", "gauge", "backend"),
    ("turnwheel_queue_depth", "gauge", ""),
    ("turnwheel_queue_wait_seconds", "histogram", ""),
    ("turnwheel_rejected_total", "counter", "reason"),
    ("turnwheel_request_duration_seconds", "histogram", ""),
    ("turnwheel_requests_total", "counter", "backend,status"),
    ("turnwheel_retries_total", "counter", "backend"),
    ("turnwheel_upstream_duration_seconds", "histogram", "backend"),
    ("turnwheel_workers", "gauge", ""),
    ("turnwheel_workers_busy", "gauge", ""),
];

/// One answer of `/metrics`.
struct Page {
    text: String,
    /// The value of each series, by its name without the prefix and its labels.
    series: BTreeMap<String, f64>,
}

fn scrape(operator: &AdminClient) -> Page {
    let reply = operator.ask("GET /metrics", "");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text().to_owned();
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let before = series.insert(name.strip_prefix("turnwheel_").unwrap().into(), value.parse().unwrap());
        assert_eq!(before, None, "{name} appears twice");
    }
    Page { text, series }
}

impl Page {
    /// Returns the value of a series, named with its labels.
    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no series {series}:\n{}", self.text))
    }

    /// Returns the value of a series with one label.
    #[track_caller]
    fn of(&self, name: &str, label: &str, value: impl ToString) -> f64 {
        self.get(&format!("{name}{{{label}=\"{}\"}}", value.to_string()))
    }

    /// Returns the value of a series of a backend.
    #[track_caller]
    fn at(&self, name: &str, backend: SocketAddr) -> f64 {
        self.of(name, "backend", backend)
    }

    /// Returns the requests by backend and status, without zeros.
    fn requests(&self) -> Vec<(String, u32)> {
        let series = self.series.iter().filter(|(_, count)| **count > 0.0);
        let found = series.filter_map(|(series, count)| {
            Some((series.strip_prefix("requests_total")?.to_owned(), *count as u32))
        });
        found.collect()
    }

    /// Returns the number of all requests.
    fn all(&self) -> u32 {
        self.requests().iter().map(|(_, count)| count).sum()
    }

    /// Returns the refusals by reason, without zeros.
    fn rejected(&self) -> Vec<(&str, u32)> {
        let series = self.series.iter().filter(|(_, count)| **count > 0.0);
        let found = series.filter_map(|(series, count)| {
            let reason = series.strip_prefix("rejected_total{reason=\"")?.strip_suffix("\"}")?;
            Some((reason, *count as u32))
        });
        found.collect()
    }
}

/// Waits until this many requests have been counted, which happens after their replies, and returns the metrics.
#[track_caller]
fn scrape_after(operator: &AdminClient, requests: u32) -> Page {
    eventually("all requests are counted and no worker is busy", || {
        let page = scrape(operator);
        page.all() == requests && page.get("workers_busy") == 0.0
    });
    scrape(operator)
}

fn serve(backends: &[SocketAddr], flags: &[&str]) -> (Balancer, AdminClient) {
    let balancer = Balancer::serve(backends, &[&[ADMIN], flags].concat());
    let operator = AdminClient::of(&balancer);
    (balancer, operator)
}

fn counted(backend: impl ToString, status: u16, count: u32) -> (String, u32) {
    (format!("{{backend=\"{}\",status=\"{status}\"}}", backend.to_string()), count)
}

fn sorted(mut counts: Vec<(String, u32)>) -> Vec<(String, u32)> {
    counts.sort();
    counts
}

#[test]
fn counts_requests_by_backend_and_status() {
    let one = Recorder::hello("one");
    let two = Recorder::replying("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let (balancer, operator) = serve(&[one.addr, two.addr], &[]);
    for _ in 0..3 {
        assert_eq!(balancer.get("/").status, 200);
        assert_eq!(balancer.get("/").status, 404);
    }
    let bad = balancer.client().request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(bad.status, 400);
    let page = scrape_after(&operator, 7);
    let expected = vec![counted(one.addr, 200, 3), counted(two.addr, 404, 3), counted("none", 400, 1)];
    assert_eq!(page.requests(), sorted(expected));
    assert_eq!(page.rejected(), [("bad_request", 1)]);
    assert_eq!(page.get("request_duration_seconds_count"), 7.0);
    assert_eq!(page.get("queue_wait_seconds_count"), 6.0, "a request that is refused at once does not wait");
    for backend in [one.addr, two.addr] {
        assert_eq!(page.at("upstream_duration_seconds_count", backend), 3.0);
        assert!(page.at("upstream_duration_seconds_sum", backend) > 0.0);
        assert_eq!(page.at("retries_total", backend), 0.0);
        assert_eq!(page.at("in_flight", backend), 0.0);
        assert_eq!(page.at("backend_up", backend), 1.0);
    }
    let buckets = |name: &str| {
        let buckets: Vec<_> = page.series.iter().filter(|(series, _)| series.starts_with(name)).collect();
        buckets.iter().map(|(_, count)| **count).fold(0.0, f64::max)
    };
    assert_eq!(buckets("request_duration_seconds_bucket"), 7.0);
    assert_eq!(buckets("queue_wait_seconds_bucket"), 6.0);
}

#[test]
fn a_retry_counts_at_the_backend_that_failed() {
    let (dead, alive) = (dead_port(), Recorder::hello("alive"));
    let (balancer, operator) = serve(&[dead.addr, alive.addr], &["--max-fails=0", "--health=off"]);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").text(), "alive"));
    let page = scrape_after(&operator, 6);
    assert_eq!(page.requests(), [counted(alive.addr, 200, 6)]);
    assert_eq!([page.at("retries_total", dead.addr), page.at("retries_total", alive.addr)], [3.0, 0.0]);
    assert_eq!(page.at("upstream_duration_seconds_count", dead.addr), 0.0);
    assert_eq!(page.rejected(), []);
}

#[test]
fn a_request_that_fails_everywhere_counts_at_the_last_backend() {
    let (one, two) = (dead_port(), dead_port());
    let (balancer, operator) = serve(&[one.addr, two.addr], &["--max-fails=0", "--health=off"]);
    assert_eq!(balancer.get("/").status, 502);
    let page = scrape_after(&operator, 1);
    assert_eq!(page.requests(), [counted(two.addr, 502, 1)]);
    assert_eq!([page.at("retries_total", one.addr), page.at("retries_total", two.addr)], [1.0, 0.0]);
    assert_eq!(page.rejected(), [("bad_gateway", 1)]);
}

#[test]
fn gauges_show_requests_in_progress() {
    let (backend, dam) = dammed();
    let (balancer, operator) = serve(&[backend.addr], &["--workers=1", "--queue=1"]);
    let busy =
        |page: &Page| [page.at("in_flight", backend.addr), page.get("workers_busy"), page.get("queue_depth")];
    assert_eq!(busy(&scrape(&operator)), [0.0; 3]);
    let mut clients = ask_all(balancer.addr, 1);
    eventually("the worker is busy", || dam.held.load(SeqCst) == 1);
    assert_eq!(busy(&scrape(&operator)), [1.0, 1.0, 0.0]);
    clients.extend(ask_all(balancer.addr, 1));
    eventually("another request waits", || busy(&scrape(&operator)) == [1.0, 1.0, 1.0]);
    assert_eq!(balancer.get("/").status, 503);
    let page = scrape(&operator);
    assert_eq!((page.requests(), page.rejected()), (vec![counted("none", 503, 1)], vec![("queue_full", 1)]));
    assert_eq!(page.get("queue_wait_seconds_count"), 0.0);
    assert_eq!(page.get("workers"), 1.0);
    let state = operator.done("GET /api/state", "");
    let seen = ["workers", "workers_busy", "queue_depth"].map(|key| state[key].as_u64());
    assert_eq!(seen, [Some(1); 3], "{state}");
    if !is_tiny() {
        eventually("two clients are connected", || scrape(&operator).get("connections") == 2.0);
    }
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    let page = scrape_after(&operator, 3);
    assert_eq!(busy(&page), [0.0; 3]);
    assert_eq!(page.get("queue_wait_seconds_count"), 2.0);
    drop(clients);
    if !is_tiny() {
        eventually("no client is connected", || scrape(&operator).get("connections") == 0.0);
    }
}

#[test]
fn a_queue_timeout_is_counted_with_its_wait() {
    let (backend, dam) = dammed();
    let (balancer, operator) = serve(&[backend.addr], &["--workers=1", "--queue-timeout=200ms"]);
    let mut clients = ask_all(balancer.addr, 1);
    eventually("the worker is busy", || dam.held.load(SeqCst) == 1);
    assert_eq!(balancer.get("/").status, 503);
    let page = scrape(&operator);
    assert_eq!(
        (page.requests(), page.rejected()),
        (vec![counted("none", 503, 1)], vec![("queue_timeout", 1)])
    );
    assert_eq!(page.get("queue_wait_seconds_count"), 1.0);
    assert!(page.get("queue_wait_seconds_sum") >= 0.2, "{}", page.text);
    dam.open.store(true, SeqCst);
    assert_eq!(clients[0].read_reply().text(), "ok");
}

#[test]
fn counts_connections_beyond_the_limit() {
    if is_tiny() {
        return eprintln!("skipped: tiny_http has no limit of connections");
    }
    let one = Recorder::hello("one");
    let (balancer, operator) = serve(&[one.addr], &["--max-connections=1"]);
    let mut client = balancer.client();
    assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(Client::connect(balancer.addr).read_reply().status, 503);
    let page = scrape_after(&operator, 2);
    assert_eq!(page.rejected(), [("too_many_connections", 1)]);
    assert_eq!(page.get("connections"), 1.0);
}

#[test]
fn shows_which_backends_are_up() {
    let (dead, alive) = (dead_port(), Recorder::hello("alive"));
    let flags = ["--health-interval=20ms", "--fall=1", "--rise=1"];
    let (_balancer, operator) = serve(&[dead.addr, alive.addr], &flags);
    eventually("the backend is down", || scrape(&operator).at("backend_up", dead.addr) == 0.0);
    assert_eq!(scrape(&operator).at("backend_up", alive.addr), 1.0);
    operator.drain(alive.addr);
    assert_eq!(scrape(&operator).at("backend_up", alive.addr), 1.0, "a draining backend is up");
    let _listener = std::net::TcpListener::bind(dead.addr).unwrap();
    eventually("the backend is up", || scrape(&operator).at("backend_up", dead.addr) == 1.0);
}

#[test]
fn the_series_of_a_backend_end_when_it_leaves() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (balancer, operator) = serve(&[one.addr, two.addr], &[]);
    (0..4).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    let page = scrape_after(&operator, 4);
    assert_eq!(page.requests(), sorted(vec![counted(one.addr, 200, 2), counted(two.addr, 200, 2)]));
    operator.remove(two.addr);
    let page = scrape(&operator);
    assert!(!page.text.contains(&two.addr.to_string()), "{}", page.text);
    assert_eq!(page.requests(), [counted(one.addr, 200, 2)]);
    assert_eq!(page.get("request_duration_seconds_count"), 4.0, "the totals include it");
    assert_eq!(operator.done("GET /api/state", "")["requests"]["2xx"], 4);
    operator.add(two.addr);
    let page = scrape(&operator);
    let name = format!("requests_total{{backend=\"{}\",status=\"200\"}}", two.addr);
    assert_eq!(page.get(&name), 0.0, "a backend that returns starts at zero");
    assert_eq!(page.at("upstream_duration_seconds_count", two.addr), 0.0);
    (0..2).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    let page = scrape_after(&operator, 4);
    assert_eq!(page.requests(), sorted(vec![counted(one.addr, 200, 3), counted(two.addr, 200, 1)]));
    assert_eq!(page.at("upstream_duration_seconds_count", two.addr), 1.0);
}

#[test]
fn scrapes_under_load_lose_no_count() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (balancer, operator) = serve(&[one.addr, two.addr], &[]);
    let crowd = SteadyLoad::of(16, balancer.addr);
    let mut before = 0;
    while crowd.served() < 2000 {
        let page = scrape(&operator);
        assert!(page.all() >= before, "a counter fell");
        before = page.all();
        assert_eq!(crowd.errors(), [""; 0]);
    }
    let served = crowd.finish() as u32;
    let page = scrape_after(&operator, served);
    let count = f64::from(served);
    assert_eq!(page.get("request_duration_seconds_count"), count);
    assert_eq!(page.get("request_duration_seconds_bucket{le=\"+Inf\"}"), count);
    assert_eq!(page.get("queue_wait_seconds_count"), count);
    let upstream = [one.addr, two.addr].map(|backend| page.at("upstream_duration_seconds_count", backend));
    assert_eq!(upstream.iter().sum::<f64>(), count);
    assert_eq!(operator.done("GET /api/state", "")["requests"]["2xx"], served);
}

/// They are there from the start, except for what tiny_http cannot count.
#[test]
fn exports_every_metric_with_help_type_and_labels() {
    let one = Recorder::hello("one");
    let (_balancer, operator) = serve(&[one.addr], &[]);
    let reply = operator.ask("GET /metrics", "");
    assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4"));
    assert_eq!(reply.header("Cache-Control"), Some("no-store"));
    let text = reply.text();
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let names = NAMES.iter().filter(|(name, ..)| !(is_tiny() && *name == "turnwheel_connections"));
    let expected: Vec<_> = names.clone().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    assert_eq!(families, expected, "all of them in order, and no others");
    for (name, kind, labels) in names {
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}: {help:?}");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
        let belongs = |line: &&str| {
            let series = line.split(['{', ' ']).next().unwrap();
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
            series == *name || *kind == "histogram" && stem == Some(name)
        };
        let lines: Vec<_> = text.lines().filter(belongs).collect();
        assert!(!lines.is_empty(), "{name} has no series");
        for line in lines {
            let inside = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let found: BTreeSet<_> =
                inside.split(',').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
            let wanted: BTreeSet<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
            let others: Vec<_> = found.symmetric_difference(&wanted).copied().collect();
            assert!(others.is_empty() || others == ["le"] && line.contains("_bucket{"), "{line}");
        }
    }
    let mut client = Client::connect(operator.addr);
    client.send(format!("HEAD /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", operator.addr));
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(operator.ask("POST /metrics", "").header("Allow"), Some("GET, HEAD"));
}

#[test]
fn metrics_need_the_admin_token() {
    let one = Recorder::hello("one");
    let token = "a-token-of-24-characters";
    let (_folder, path) = file_with(token);
    let (balancer, operator) = serve(&[one.addr], &[&file_flag("admin-token-file", &path)]);
    for path in ["/metrics", "/api/state", "/api/history"] {
        let line = format!("GET {path}");
        let credentials = format!("Authorization: Bearer {token}");
        assert_eq!(operator.ask_with(&line, &[&credentials], "").status, 200);
        assert_eq!(operator.ask_with(&line, &[], "").status, 401);
        let rebound = format!("Host: evil.example:{}", operator.addr.port());
        assert_eq!(operator.ask_with(&line, &[&rebound, &credentials], "").status, 403);
        assert_eq!(balancer.get(path).text(), "one", "the main listener forwards the path");
    }
}

//! A real Prometheus scrapes a balancer with the files in `deploy/` and evaluates the queries of the dashboard, the alerts and
//! `docs/observability.md`.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, DeadPort, dead_port, eventually, get, is_tiny};
use crate::config_file::{file_flag, file_with};
use crate::deploy::{
    Query, alerts, dashboard_queries, dashboard_variables, documented_queries, path_of, text_of,
};
use crate::real::find;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// A balancer with two healthy backends and a dead one.
pub struct Site {
    pub balancer: Balancer,
    pub operator: AdminClient,
    alive: [Recorder; 2],
    dead: DeadPort,
    sent: u32,
}

impl Site {
    /// Starts the balancer with short check intervals.
    pub fn new(flags: &[&str]) -> Self {
        let (alive, dead) = ([backend(true), backend(false)], dead_port());
        let all = [ADMIN, "--health-interval=20ms", "--fall=1", "--max-fails=0", "--all-down=refuse"];
        let addrs = [alive[0].addr, alive[1].addr, dead.addr];
        let balancer = Balancer::serve(&addrs, &[&all, flags].concat());
        let operator = AdminClient::of(&balancer);
        Site { balancer, operator, alive, dead, sent: 0 }
    }

    /// Sends requests of all kinds: some succeed, fail, are retried or are refused.
    pub fn traffic(&mut self) {
        eventually("the dead backend is down", || self.operator.backend(self.dead.addr)["state"] == "down");
        // An odd number, so that each backend gets each target.
        let targets = ["/"; 15].into_iter().chain(["/broken"; 3]).chain(["/moved", "/missing", "/cut"]);
        for target in targets.cycle().take(100) {
            let reply = self.balancer.get(target);
            let expected = match target {
                "/moved" => 301,
                "/missing" => 404,
                "/broken" => 500,
                _ => 200, // a reply that is cut is retried
            };
            assert_eq!(reply.status, expected, "{target}");
        }
        let twice = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(self.balancer.client().request(twice).status, 400);
        self.alive.iter().for_each(|backend| self.operator.drain(backend.addr));
        assert_eq!(self.balancer.get("/").status, 503, "every backend drains");
        self.alive.iter().for_each(|backend| self.operator.resume(backend.addr));
        self.sent += 102;
    }
}

/// Returns a backend whose reply depends on the target. If `cuts`, it closes the connection on `/cut`.
fn backend(cuts: bool) -> Recorder {
    Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let status = match request.target() {
                "/moved" => "301 Moved Permanently",
                "/missing" => "404 Not Found",
                "/broken" => "500 Internal Server Error",
                "/cut" if cuts => return,
                _ => "200 OK",
            };
            conversation.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    })
}

/// A Prometheus process with its own folder. Dropping it kills the process and waits for it.
struct Prometheus {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts it with the files in `deploy/`, shorter intervals and this target.
    fn start(program: PathBuf, target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config(target)).unwrap();
        fs::copy(path_of("deploy/prometheus/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        // The port stays reserved until Prometheus has bound it, so that no other process gets it.
        let reserved = dead_port();
        let child = Command::new(program)
            .arg(file_flag("config.file", &file))
            .arg(file_flag("storage.tsdb.path", &folder.path().join("data")))
            .arg(format!("--web.listen-address={}", reserved.addr))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus { child, addr: reserved.addr, folder };
        eventually("Prometheus listens", || {
            let ended = prometheus.child.try_wait().unwrap();
            assert!(ended.is_none(), "Prometheus ended: {ended:?}");
            std::net::TcpStream::connect(prometheus.addr).is_ok()
        });
        eventually("Prometheus is ready", || get(prometheus.addr, "/-/ready").status == 200);
        prometheus
    }

    /// Returns the data of an API call, which must succeed.
    #[track_caller]
    fn api(&self, path: &str) -> Value {
        let reply = get(self.addr, &format!("/api/v1/{path}"));
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer:#}");
        answer["data"].clone()
    }

    /// Returns the result of an expression: labels and a number for each series.
    #[track_caller]
    fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let data = self.api(&format!("query?query={}", escaped(expr)));
        let number = |one: &Value| one["value"][1].as_str().unwrap().parse().unwrap();
        data["result"].as_array().unwrap().iter().map(|one| (one["metric"].clone(), number(one))).collect()
    }

    /// Returns the first number of a result, or `None` if it is empty.
    fn number(&self, expr: &str) -> Option<f64> {
        self.query(expr).first().map(|(_, number)| *number)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if the process has ended
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of Prometheus:\n{}", self.log());
        }
    }
}

/// Returns `deploy/prometheus/prometheus.yml` with the target and the short intervals of a test.
fn config(target: SocketAddr) -> String {
    let text = text_of("deploy/prometheus/prometheus.yml");
    assert_eq!((text.matches("_interval: 5s").count(), text.matches("\"127.0.0.1:8090\"").count()), (2, 1));
    text.replace("_interval: 5s", "_interval: 200ms").replace("127.0.0.1:8090", &target.to_string())
}

/// Returns the same file with the line for a token uncommented.
fn config_with_token(target: SocketAddr, token: &Path) -> String {
    let (mark, file) = ("# authorization:", "/etc/prometheus/turnwheel-token");
    let text = config(target);
    assert_eq!((text.matches(mark).count(), text.matches(file).count()), (1, 1), "{text}");
    text.replace(mark, "authorization:").replace(file, &token.display().to_string())
}

/// Escapes a text for a URL.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}

/// Substitutes the variables of the dashboard so that they select all series.
fn substituted(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "1m");
    ["$job", "$instance", "$backend"].iter().fold(expr, |expr, variable| expr.replace(variable, ".*"))
}

/// Asserts that each query has numbers as its result, except for the times of the dead backend.
#[track_caller]
fn assert_answered(prometheus: &Prometheus, site: &Site, queries: &[Query]) {
    let dead = site.dead.addr.to_string();
    for Query { place, expr, .. } in queries {
        let result = prometheus.query(&substituted(expr));
        if is_tiny() && expr.contains("turnwheel_connections") {
            continue; // tiny_http does not count them
        }
        let is_number = |(labels, number): &(Value, f64)| !number.is_nan() || labels["backend"] == dead;
        assert!(!result.is_empty() && result.iter().all(is_number), "{place}: {expr}: {result:#?}");
        assert!(result.iter().any(|(_, number)| !number.is_nan()), "{place}: {expr}: {result:#?}");
    }
}

/// Returns the names of the alerts whose condition holds.
fn active_alerts(prometheus: &Prometheus) -> Vec<String> {
    let rules = prometheus.api("rules")["groups"][0]["rules"].take();
    let rules = rules.as_array().unwrap();
    assert_eq!(rules.len(), alerts().len());
    assert!(rules.iter().all(|rule| rule["lastError"].as_str().unwrap_or_default().is_empty()), "{rules:#?}");
    let holds = rules.iter().filter(|rule| rule["state"] != "inactive");
    holds.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn evaluates_the_queries_of_the_dashboard_the_alerts_and_the_documentation() {
    let Some(program) = find("prometheus") else { return };
    let mut site = Site::new(&[]);
    let prometheus = Prometheus::start(program, site.operator.addr);
    eventually("Prometheus scrapes the balancer", || prometheus.number("up{job=\"turnwheel\"}") == Some(1.0));
    // rate() misses the step with which a series begins, so there is a second round.
    for _ in 0..2 {
        site.traffic();
        eventually("Prometheus has all requests", || {
            prometheus.number("sum(turnwheel_requests_total)") == Some(site.sent.into())
        });
    }
    assert_answered(&prometheus, &site, &dashboard_queries());
    assert_answered(&prometheus, &site, &documented_queries());
    for Query { place, expr, shown } in dashboard_variables() {
        let label = shown.first().unwrap();
        let found = prometheus.api(&format!("label/{label}/values?match[]={}", escaped(&substituted(&expr))));
        assert!(!found.as_array().unwrap().is_empty(), "{place}: {expr}");
    }
    let conditions = alerts();
    conditions.iter().for_each(|alert| _ = prometheus.query(&alert.expr));
    let expected = ["TurnwheelBackendDown", "TurnwheelErrors", "TurnwheelRefusing"];
    eventually("the alerts are active", || {
        let active = active_alerts(&prometheus);
        expected.iter().all(|name| active.iter().any(|one| one == name))
    });
    let active = active_alerts(&prometheus);
    let never = ["TurnwheelGone", "TurnwheelNoBackendUp", "TurnwheelWorkersBusy"];
    assert!(!active.iter().any(|one| never.contains(&one.as_str())), "{active:?}");
    let page = site.operator.ask("GET /metrics", "");
    let backends = prometheus.number("count(turnwheel_backend_up)");
    assert_eq!(backends, Some(3.0), "{}", page.text());
}

#[test]
fn scrapes_with_a_token() {
    let Some(program) = find("prometheus") else { return };
    let (_folder, token) = file_with("a-token-of-24-characters\n");
    let site = Site::new(&[&file_flag("admin-token-file", &token)]);
    let prometheus = Prometheus::start(program, site.operator.addr);
    eventually("the scrape is refused", || prometheus.number("up{job=\"turnwheel\"}") == Some(0.0));
    let target = prometheus.api("targets")["activeTargets"][0].take();
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target:#}");
    let file = prometheus.folder.path().join("prometheus.yml");
    fs::write(file, config_with_token(site.operator.addr, &token)).unwrap();
    // SAFETY: `kill` takes any numbers, and the child has not been waited for: the number is its own.
    unsafe { libc::kill(prometheus.child.id() as i32, libc::SIGHUP) }; // Prometheus reloads the file
    eventually("the scrape succeeds", || prometheus.number("up{job=\"turnwheel\"}") == Some(1.0));
    assert_eq!(prometheus.number("count(turnwheel_backend_up)"), Some(3.0));
}

/// Runs promtool, which must succeed, and returns its output.
fn promtool(program: &Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(path_of("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "promtool {args:?}: {text}\n{input}");
    text
}

#[test]
fn promtool_accepts_the_files() {
    let Some(program) = find("promtool") else { return };
    for args in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = promtool(&program, &args, "");
        assert!(output.contains("SUCCESS") && !output.contains("FAILED"), "promtool {args:?}: {output}");
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    let Some(program) = find("promtool") else { return };
    let mut site = Site::new(&[]);
    let check = |what: &str, site: &Site| {
        let reply = site.operator.ask("GET /metrics", "");
        assert_eq!(promtool(&program, &["check", "metrics"], reply.text()), "", "{what}:\n{}", reply.text());
        reply.text().to_owned()
    };
    check("at the start", &site);
    site.traffic();
    let mut page = String::new();
    eventually("a refusal is counted", || {
        page = check("after requests of all kinds", &site);
        page.contains("status=\"503\"} 1")
    });
    let no_retry = format!("turnwheel_retries_total{{backend=\"{}\"}} 0", site.alive[0].addr);
    assert!(!page.contains(&no_retry), "nothing was retried:\n{page}");
    site.operator.remove(site.alive[1].addr);
    let page = check("after a backend has left", &site);
    assert!(!page.contains(&site.alive[1].addr.to_string()), "{page}");
}

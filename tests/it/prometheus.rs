//! A real Prometheus reads a real balancer, by the files in `deploy/`, and answers what the dashboard, the alerts and `docs/observability.md` ask.

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

/// A balancer with two backends that are well and one that is dead.
pub struct Site {
    pub balancer: Balancer,
    pub operator: AdminClient,
    alive: [Recorder; 2],
    dead: DeadPort,
    sent: u32,
}

impl Site {
    /// Checks find out soon who is dead.
    pub fn new(flags: &[&str]) -> Self {
        let (alive, dead) = ([backend(true), backend(false)], dead_port());
        let all = [ADMIN, "--health-interval=20ms", "--fall=1", "--max-fails=0", "--all-down=refuse"];
        let addrs = [alive[0].addr, alive[1].addr, dead.addr];
        let balancer = Balancer::serve(&addrs, &[&all, flags].concat());
        let operator = AdminClient::of(&balancer);
        Site { balancer, operator, alive, dead, sent: 0 }
    }

    /// Requests of all kinds: some succeed, some fail, some are repeated, some are refused.
    pub fn traffic(&mut self) {
        eventually("the dead backend is down", || self.operator.backend(self.dead.addr)["state"] == "down");
        // An odd number, so that each backend is asked for each of them.
        let targets = ["/"; 15].into_iter().chain(["/broken"; 3]).chain(["/moved", "/missing", "/cut"]);
        for target in targets.cycle().take(100) {
            let reply = self.balancer.get(target);
            let expected = match target {
                "/moved" => 301,
                "/missing" => 404,
                "/broken" => 500,
                _ => 200, // what is cut is repeated
            };
            assert_eq!(reply.status, expected, "{target}");
        }
        let twice = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(self.balancer.client().request(twice).status, 400);
        self.alive.iter().for_each(|backend| self.operator.drain(backend.addr));
        assert_eq!(self.balancer.get("/").status, 503, "nobody is left");
        self.alive.iter().for_each(|backend| self.operator.resume(backend.addr));
        self.sent += 102;
    }
}

/// One that replies by the target, and may break off where it is asked to.
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

/// Prometheus with a folder of its own. It is killed and waited for on drop.
struct Prometheus {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// By the files in `deploy/`, but quicker, and with this target.
    fn start(program: PathBuf, target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config(target)).unwrap();
        fs::copy(path_of("deploy/prometheus/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        // The port stays reserved until it has been bound: nobody else is given it meanwhile.
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
            assert!(ended.is_none(), "it ended: {ended:?}");
            std::net::TcpStream::connect(prometheus.addr).is_ok()
        });
        eventually("Prometheus is ready", || get(prometheus.addr, "/-/ready").status == 200);
        prometheus
    }

    /// What the API says, which has to be a success.
    #[track_caller]
    fn api(&self, path: &str) -> Value {
        let reply = get(self.addr, &format!("/api/v1/{path}"));
        let said: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(said["status"], "success", "{path}: {said:#}");
        said["data"].clone()
    }

    /// The result of an expression: labels, and a number.
    #[track_caller]
    fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let data = self.api(&format!("query?query={}", escaped(expr)));
        let number = |one: &Value| one["value"][1].as_str().unwrap().parse().unwrap();
        data["result"].as_array().unwrap().iter().map(|one| (one["metric"].clone(), number(one))).collect()
    }

    /// The number that an expression comes to, if it does.
    fn number(&self, expr: &str) -> Option<f64> {
        self.query(expr).first().map(|(_, number)| *number)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if it has ended already
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("what Prometheus logged:\n{}", self.log());
        }
    }
}

/// `deploy/prometheus/prometheus.yml` for a test: its target, and no time to lose.
fn config(target: SocketAddr) -> String {
    let text = text_of("deploy/prometheus/prometheus.yml");
    assert_eq!((text.matches("_interval: 5s").count(), text.matches("\"127.0.0.1:8090\"").count()), (2, 1));
    text.replace("_interval: 5s", "_interval: 200ms").replace("127.0.0.1:8090", &target.to_string())
}

/// The same, with the line for a token put in.
fn config_with_token(target: SocketAddr, token: &Path) -> String {
    let (mark, file) = ("# authorization:", "/etc/prometheus/turnwheel-token");
    let text = config(target);
    assert_eq!((text.matches(mark).count(), text.matches(file).count()), (1, 1), "{text}");
    text.replace(mark, "authorization:").replace(file, &token.display().to_string())
}

/// As a part of a URL.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}

/// What Grafana makes of an expression: all that there is.
fn filled_in(expr: &str) -> String {
    let filled = expr.replace("$__rate_interval", "1m");
    ["$job", "$instance", "$backend"].iter().fold(filled, |expr, variable| expr.replace(variable, ".*"))
}

/// Every one of these has an answer, in numbers. Of the dead backend there are no times.
#[track_caller]
fn answered(prometheus: &Prometheus, site: &Site, queries: &[Query]) {
    let dead = site.dead.addr.to_string();
    for Query { place, expr, .. } in queries {
        let result = prometheus.query(&filled_in(expr));
        if is_tiny() && expr.contains("turnwheel_connections") {
            continue; // it does not know
        }
        let is_number = |(labels, number): &(Value, f64)| !number.is_nan() || labels["backend"] == dead;
        assert!(!result.is_empty() && result.iter().all(is_number), "{place}: {expr}: {result:#?}");
        assert!(result.iter().any(|(_, number)| !number.is_nan()), "{place}: {expr}: {result:#?}");
    }
}

/// What the rules have come to: the names of alerts whose condition holds.
fn alerted(prometheus: &Prometheus) -> Vec<String> {
    let rules = prometheus.api("rules")["groups"][0]["rules"].take();
    let rules = rules.as_array().unwrap();
    assert_eq!(rules.len(), alerts().len());
    assert!(rules.iter().all(|rule| rule["lastError"].as_str().unwrap_or_default().is_empty()), "{rules:#?}");
    let holds = rules.iter().filter(|rule| rule["state"] != "inactive");
    holds.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn it_answers_what_the_dashboard_the_alerts_and_the_readme_ask() {
    let Some(program) = find("prometheus") else { return };
    let mut site = Site::new(&[]);
    let prometheus = Prometheus::start(program, site.operator.addr);
    eventually("it reads the balancer", || prometheus.number("up{job=\"turnwheel\"}") == Some(1.0));
    // A series that begins with an error does not show its first step, so each has a second one.
    for _ in 0..2 {
        site.traffic();
        eventually("it knows of all requests", || {
            prometheus.number("sum(turnwheel_requests_total)") == Some(site.sent.into())
        });
    }
    answered(&prometheus, &site, &dashboard_queries());
    answered(&prometheus, &site, &documented_queries());
    for Query { place, expr, shown } in dashboard_variables() {
        let label = shown.first().unwrap();
        let found = prometheus.api(&format!("label/{label}/values?match[]={}", escaped(&filled_in(&expr))));
        assert!(!found.as_array().unwrap().is_empty(), "{place}: {expr}");
    }
    let conditions = alerts();
    conditions.iter().for_each(|alert| _ = prometheus.query(&alert.expr));
    let expected = ["TurnwheelBackendDown", "TurnwheelErrors", "TurnwheelRefusing"];
    eventually("it sees what is the matter", || {
        let alerted = alerted(&prometheus);
        expected.iter().all(|name| alerted.iter().any(|one| one == name))
    });
    let alerted = alerted(&prometheus);
    let never = ["TurnwheelGone", "TurnwheelNoBackendUp", "TurnwheelWorkersBusy"];
    assert!(!alerted.iter().any(|one| never.contains(&one.as_str())), "{alerted:?}");
    let page = site.operator.ask("GET /metrics", "");
    let backends = prometheus.number("count(turnwheel_backend_up)");
    assert_eq!(backends, Some(3.0), "{}", page.text());
}

#[test]
fn with_a_token_it_is_let_in() {
    let Some(program) = find("prometheus") else { return };
    let (_folder, token) = file_with("a-token-of-24-characters\n");
    let site = Site::new(&[&file_flag("admin-token-file", &token)]);
    let prometheus = Prometheus::start(program, site.operator.addr);
    eventually("it is kept out", || prometheus.number("up{job=\"turnwheel\"}") == Some(0.0));
    let target = prometheus.api("targets")["activeTargets"][0].take();
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target:#}");
    let file = prometheus.folder.path().join("prometheus.yml");
    fs::write(file, config_with_token(site.operator.addr, &token)).unwrap();
    // SAFETY: `kill` takes any numbers, and the child has not been waited for: the number is its own.
    unsafe { libc::kill(prometheus.child.id() as i32, libc::SIGHUP) }; // it reads the file again
    eventually("it is let in", || prometheus.number("up{job=\"turnwheel\"}") == Some(1.0));
    assert_eq!(prometheus.number("count(turnwheel_backend_up)"), Some(3.0));
}

/// Its word on what it is given, which is nothing where all is well.
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
    let said = child.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(said.status.success(), "promtool {args:?}: {text}\n{input}");
    text
}

#[test]
fn promtool_finds_nothing_to_complain_about_in_the_files() {
    let Some(program) = find("promtool") else { return };
    for args in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let said = promtool(&program, &args, "");
        assert!(said.contains("SUCCESS") && !said.contains("FAILED"), "promtool {args:?}: {said}");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about_on_a_page() {
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
    let repeated = format!("turnwheel_retries_total{{backend=\"{}\"}} 0", site.alive[0].addr);
    assert!(!page.contains(&repeated), "nothing was repeated:\n{page}");
    site.operator.remove(site.alive[1].addr);
    let page = check("after one has left", &site);
    assert!(!page.contains(&site.alive[1].addr.to_string()), "{page}");
}

//! The admin listener of a running balancer: its changes of the backends, its probes, and which requests it serves.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, dead_port, eventually, get, program};
use crate::config_file::{file_flag, file_with};
use crate::pool::{ask_all, dammed};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const TOKEN: &str = "a-token-of-24-characters";

fn two() -> [Recorder; 2] {
    [Recorder::hello("one"), Recorder::hello("two")]
}

fn serve(backends: &[&Recorder], flags: &[&str]) -> (Balancer, AdminClient) {
    let addrs: Vec<_> = backends.iter().map(|backend| backend.addr).collect();
    let balancer = Balancer::serve(&addrs, &[&[ADMIN], flags].concat());
    let operator = AdminClient::of(&balancer);
    (balancer, operator)
}

#[test]
fn lists_every_field_of_each_backend() {
    let [one, two] = two();
    let (balancer, operator) = serve(&[&one, &two], &["--max-in-flight=7"]);
    (0..3).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    eventually("both are idle", || operator.list().iter().all(|backend| backend["idle"] == true));
    let list = operator.list();
    let keys = "addresses backup errors failures for_seconds idle in_flight max_in_flight name requests since state tries weight why";
    for (backend, (addr, tries)) in list.iter().zip([(one.addr, 2), (two.addr, 1)]) {
        let found: Vec<_> = backend.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), keys);
        assert_eq!(backend["name"], addr.to_string());
        assert_eq!(backend["addresses"], json!([addr.to_string()]));
        assert_eq!(backend["tries"], tries);
        for (key, value) in [
            ("backup", json!(false)),
            ("failures", json!(0)),
            ("in_flight", json!(0)),
            ("max_in_flight", json!(7)),
            ("weight", json!(1)),
        ] {
            assert_eq!(backend[key], value, "{key}");
        }
        let since = backend["since"].as_str().unwrap();
        assert!(since.len() == 24 && since.starts_with("20") && since.ends_with('Z'), "{since}");
    }
    assert_eq!(list.len(), 2);
}

#[test]
fn counts_failures_of_a_backend() {
    let (dead, alive) = (dead_port(), Recorder::hello("alive"));
    let flags = [ADMIN, "--max-fails=0", "--health=off"];
    let balancer = Balancer::serve(&[dead.addr, alive.addr], &flags);
    (0..4).for_each(|_| assert_eq!(balancer.get("/").text(), "alive"));
    let operator = AdminClient::of(&balancer);
    let seen = operator.backend(dead.addr);
    assert!(seen["failures"].as_u64() >= Some(2) && seen["failures"] == seen["tries"], "{seen}");
    assert_eq!(operator.backend(alive.addr)["failures"], 0);
}

#[test]
fn sends_requests_to_an_added_backend_in_its_turn() {
    let [one, two] = two();
    let (balancer, operator) = serve(&[&one], &[]);
    let added = operator.done("POST /api/backends", &format!("{{\"url\":\"http://{}\"}}", two.addr));
    assert_eq!(added["backends"][0]["name"], two.addr.to_string());
    assert_eq!(operator.names(), [one.addr.to_string(), two.addr.to_string()]);
    let mut said: Vec<_> = (0..2).map(|_| balancer.get("/").text().to_owned()).collect();
    said.sort();
    assert_eq!(said, ["one", "two"]);
}

#[test]
fn refuses_a_backend_that_cannot_be_added_and_changes_nothing() {
    let [one, _] = two();
    let (_balancer, operator) = serve(&[&one], &[]);
    let before = operator.names();
    let port = one.addr.port();
    let add = "POST /api/backends";
    for (body, status, words) in [
        (format!("{{\"url\":\"http://{}\"}}", one.addr), 409, "exists already"),
        (format!("{{\"url\":\"http://{}/\"}}", one.addr), 409, "exists already"),
        (format!("{{\"url\":\"https://127.0.0.1:{port}\"}}"), 422, "TLS"),
        (format!("{{\"url\":\"http://127.0.0.1:{port}/x\"}}"), 422, "it has a path"),
        ("{\"url\":\"http://no-such-host.invalid:1\"}".into(), 422, "cannot find the address"),
        (
            "{\"url\":\"http://127.0.0.1:1\",\"weight\":2}".into(),
            422,
            "round-robin gives each backend the same share",
        ),
        ("{\"url\":\"http://127.0.0.1:1\",\"weight\":0}".into(), 422, "it must be from 1 to 1000"),
        ("{\"url\":\"http://127.0.0.1:1\",\"weight\":1001}".into(), 422, "it must be from 1 to 1000"),
        ("{\"url\":\"http://127.0.0.1:1,weight=2\"}".into(), 422, "is not a backend URL"),
        ("{\"uri\":\"http://127.0.0.1:1\"}".into(), 400, "is not a field of this request"),
        ("{\"url\":".into(), 400, "cannot be read as JSON"),
    ] {
        operator.refused(add, &body, status, words);
    }
    assert_eq!(operator.names(), before);
}

#[test]
fn recognises_a_backend_in_another_spelling() {
    let six = std::net::TcpListener::bind("[::1]:0");
    let Ok(six) = six else { return eprintln!("skipped: this machine has no IPv6") };
    let port = six.local_addr().unwrap().port();
    let url = format!("--backend=http://[::1]:{port}");
    let localhost = format!("--backend=http://localhost:{port}");
    let balancer = Balancer::start(&["serve", "--listen=127.0.0.1:0", ADMIN, &url, &localhost]);
    let operator = AdminClient::of(&balancer);
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::0001]", "LocalHost"] {
        let body = format!("{{\"url\":\"http://{host}:{port}\"}}");
        operator.refused("POST /api/backends", &body, 409, "exists already");
    }
    assert_eq!(operator.names(), [format!("[::1]:{port}"), format!("localhost:{port}")]);
    operator.done(&format!("POST /api/backends/%5B::1%5D:{port}/drain"), "");
    operator.done(&format!("DELETE /api/backends/[::1]:{port}"), "");
    assert_eq!(operator.names(), [format!("localhost:{port}")]);
}

/// Two members can stand for one backend: a name and its address, two names, one address in two spellings.
#[test]
fn keeps_a_backend_while_one_of_its_two_members_remains() {
    let Ok(six) = std::net::TcpListener::bind("[::1]:0") else {
        return eprintln!("skipped: this machine has no IPv6");
    };
    let six = Recorder::hello_on(six, "six");
    let port = six.addr.port();
    let urls = ["[::1]", "[0:0:0:0:0:0:0:1]"].map(|host| format!("--backend=http://{host}:{port}"));
    let balancer = Balancer::start(&["serve", "--listen=127.0.0.1:0", ADMIN, &urls[0], &urls[1]]);
    let operator = AdminClient::of(&balancer);
    assert_eq!(operator.names(), [six.addr.to_string()]);
    operator.remove(six.addr);
    assert_eq!(operator.names(), [six.addr.to_string()], "the other one is still there");
    assert_eq!(balancer.get("/").text(), "six");
    operator.refused(&format!("DELETE /api/backends/{}", six.addr), "", 422, "add another one first");
    assert_eq!(balancer.get("/").text(), "six");
}

#[test]
fn sends_nothing_to_a_removed_backend_and_keeps_the_last_one() {
    let [one, two] = two();
    let (balancer, operator) = serve(&[&one, &two], &[]);
    (0..2).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    operator.refused("DELETE /api/backends/127.0.0.1:1", "", 404, "there is no backend 127.0.0.1:1");
    operator.remove(two.addr);
    assert_eq!(operator.names(), [one.addr.to_string()]);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").text(), "one"));
    operator.refused(&format!("DELETE /api/backends/{}", two.addr), "", 404, "there is no backend");
    operator.refused(&format!("DELETE /api/backends/{}", one.addr), "", 422, "add another one first");
    assert_eq!(balancer.get("/").text(), "one");
    for verb in ["drain", "resume", "weight"] {
        let line = format!("POST /api/backends/{}/{verb}", two.addr);
        let body = if verb == "weight" { "{\"weight\":1}" } else { "" };
        operator.refused(&line, body, 404, "there is no backend");
    }
    operator.add(two.addr);
    assert_eq!(operator.backend(two.addr)["tries"], 0, "a backend that comes back counts from 0");
}

#[test]
fn shares_requests_by_a_weight_that_was_set() {
    let [one, two] = two();
    let (balancer, operator) = serve(&[&one, &two], &["--strategy=weighted-round-robin"]);
    let line = format!("POST /api/backends/{}/weight", two.addr);
    assert_eq!(operator.done(&line, "{\"weight\":3}")["weight"], 3);
    assert_eq!(operator.backend(two.addr)["weight"], 3);
    let before = [one.requests().len(), two.requests().len()];
    (0..40).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    assert_eq!([one.requests().len() - before[0], two.requests().len() - before[1]], [10, 30]);
    for weight in ["0", "1001"] {
        operator.refused(&line, &format!("{{\"weight\":{weight}}}"), 422, "it must be from 1 to 1000");
    }
    assert_eq!(operator.backend(two.addr)["weight"], 3);
}

#[test]
fn refuses_a_weight_with_round_robin() {
    let [one, two] = two();
    let (_balancer, operator) = serve(&[&one, &two], &[]);
    let line = format!("PUT /api/backends/{}/weight", two.addr);
    operator.refused(&line, "{\"weight\":3}", 422, "choose weighted-round-robin");
    assert_eq!(operator.backend(two.addr)["weight"], 1);
}

#[test]
fn answers_while_all_workers_are_busy_and_the_queue_is_full() {
    let (backend, dam) = dammed();
    let (balancer, operator) = serve(&[&backend], &["--workers=2", "--queue=1"]);
    let mut clients = Vec::new();
    for busy in 1..=2 {
        clients.extend(ask_all(balancer.addr, 1));
        eventually("another worker is busy", || dam.held.load(SeqCst) == busy);
    }
    let mut waiting = ask_all(balancer.addr, 1);
    let seen = operator.backend(backend.addr);
    assert_eq!((&seen["in_flight"], &seen["idle"]), (&json!(2), &json!(false)));
    assert_eq!(get(operator.addr, "/healthz").status, 200);
    assert_eq!(get(operator.addr, "/readyz").status, 200);
    operator.drain(backend.addr);
    operator.resume(backend.addr);
    dam.open.store(true, SeqCst);
    for client in clients.iter_mut().chain(&mut waiting) {
        assert_eq!(client.read_reply().text(), "ok");
    }
}

#[test]
fn serves_only_requests_with_its_own_host_and_as_json() {
    let [one, _] = two();
    let (_balancer, operator) = serve(&[&one], &[]);
    let port = operator.addr.port();
    let json = "Content-Type: application/json";
    let drain = format!("POST /api/backends/{}/drain", one.addr);
    let [local, evil] = ["localhost", "evil.example"].map(|name| format!("Host: {name}:{port}"));
    for (headers, status) in [
        (&[&*local, json][..], 200),
        (&[&evil, json], 403),
        (&[&format!("Host: 127.0.0.1:{}", port ^ 1), json], 403),
        (&["Host: 127.0.0.1", json], 403),
        (&["Content-Type: text/plain"], 415),
        (&["Content-Type: application/x-www-form-urlencoded"], 415),
        (&[], 415),
    ] {
        assert_eq!(operator.ask_with(&drain, headers, "").status, status, "{headers:?}");
        let state = operator.backend(one.addr)["state"].clone();
        assert_eq!(state == "draining", status == 200, "{headers:?}: {state}");
        operator.resume(one.addr);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(operator.ask_with(&format!("GET {path}"), &[&*evil], "").status, 200, "{path}");
    }
    assert_eq!(operator.ask_with("GET /api/backends", &[&*evil], "").status, 403);
}

#[test]
fn keeps_traffic_and_admin_requests_apart() {
    let backend = Recorder::echoing();
    let (balancer, operator) = serve(&[&backend], &[]);
    assert_eq!(balancer.get("/api/backends").text(), "/api/backends", "the backend serves it");
    assert_eq!(balancer.get("/readyz").text(), "/readyz");
    assert_eq!(balancer.get("/").text(), "/");
    assert!(operator.ask("GET /", "").text().starts_with("<!doctype html>"), "the live page");
    assert_eq!(operator.ask("GET /any/other", "").status, 404);
}

#[test]
fn serves_only_requests_with_the_token_from_the_file() {
    let [one, _] = two();
    let (_folder, path) = file_with(&format!("{TOKEN}\n"));
    let (_balancer, operator) = serve(&[&one], &[&file_flag("admin-token-file", &path)]);
    let list = |credentials: &str| operator.ask_with("GET /api/backends", &[credentials], "").status;
    assert_eq!(list(&format!("Authorization: Bearer {TOKEN}")), 200);
    assert_eq!(list(&format!("Authorization: Bearer {TOKEN}x")), 401);
    assert_eq!(list("X: y"), 401);
    assert_eq!(get(operator.addr, "/healthz").status, 200);
    let admin = format!("--admin={}", operator.addr);
    let refused = program().args(["reload", &admin]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("requires a token"), "{said}");
    let token = file_flag("admin-token-file", &path);
    let heard = program().args(["reload", &admin, &token]).output().unwrap();
    let said = String::from_utf8(heard.stderr).unwrap();
    assert!(said.contains("this balancer was started without a configuration file"), "{said}");
}

#[test]
fn starts_beyond_loopback_only_with_a_token() {
    let [one, _] = two();
    let (_folder, path) = file_with(TOKEN);
    let url = format!("--backend=http://{}", one.addr);
    let args = ["serve", &url, "--listen=127.0.0.1:0", "--admin=0.0.0.0:0"];
    let refused = program().args(args).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(
        said.starts_with("turnwheel: ") && said.contains("set admin_token_file or listen on 127.0.0.1"),
        "{said}"
    );
    let balancer = Balancer::start(&[&args[..], &[&file_flag("admin-token-file", &path)]].concat());
    let operator = AdminClient { addr: ([127, 0, 0, 1], AdminClient::of(&balancer).addr.port()).into() };
    assert_eq!(operator.ask("GET /api/backends", "").status, 401);
    let credentials = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(operator.ask_with("GET /api/backends", &[&credentials], "").status, 200);
}

#[test]
fn is_ready_while_a_backend_is_usable() {
    let [one, two] = two();
    let (balancer, operator) = serve(&[&one, &two], &[]);
    let ready = || get(operator.addr, "/readyz");
    assert_eq!((ready().status, ready().text()), (200, "{\"status\":\"ready\"}\n"));
    operator.drain(one.addr);
    assert_eq!(ready().status, 200);
    operator.drain(two.addr);
    let unready = ready();
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains("no backend is usable"), "{}", unready.text());
    assert_eq!(get(operator.addr, "/healthz").status, 200, "it is alive");
    let refused = balancer.get("/");
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    operator.resume(two.addr);
    assert_eq!((ready().status, balancer.get("/").text()), (200, "two"));
}

#[test]
fn is_not_ready_while_every_check_fails() {
    let dead = dead_port();
    let flags = [ADMIN, "--health-interval=20ms", "--fall=1", "--rise=1"];
    let balancer = Balancer::serve(&[dead.addr], &flags);
    let operator = AdminClient::of(&balancer);
    let ready = || get(operator.addr, "/readyz").status;
    eventually("the check has failed", || ready() == 503);
    let alive = Recorder::hello("alive");
    operator.add(alive.addr);
    assert_eq!(ready(), 200, "a new backend is used before its first check");
    operator.remove(alive.addr);
    assert_eq!(ready(), 503);
    let _listener = std::net::TcpListener::bind(dead.addr).unwrap();
    eventually("it is up", || ready() == 200);
}

#[test]
fn is_not_ready_but_still_answers_while_stopping() {
    let [one, _] = two();
    let (mut balancer, operator) = serve(&[&one], &["--drain-delay=1s"]);
    assert_eq!(get(operator.addr, "/readyz").status, 200);
    balancer.signal(libc::SIGTERM);
    eventually("it says that it stops", || {
        let said = get(operator.addr, "/readyz");
        said.status == 503 && said.text().contains("stopping")
    });
    assert_eq!(get(operator.addr, "/healthz").status, 200);
    assert_eq!(operator.list().len(), 1);
    assert_eq!(balancer.get("/").text(), "one", "for as long as the delay lasts");
    assert_eq!(balancer.wait_exit(Duration::from_secs(10)), 0);
}

const DEMO: [&str; 4] = ["demo", "--listen=127.0.0.1:0", "--backend-port=0", "--backend-port=0"];

/// Demos of other tests compete for the one port.
#[test]
fn gives_a_demo_an_admin_listener_unless_the_port_is_in_use() {
    let operator = AdminClient { addr: "127.0.0.1:8090".parse().unwrap() };
    let mut first = None;
    eventually("a demo gets the port", || {
        let demo = Balancer::start(&DEMO);
        eventually("it says whether it has an admin listener", || demo.stderr().contains("127.0.0.1:8090"));
        let has_it = demo.stderr().contains("watch it at http://127.0.0.1:8090/");
        first = has_it.then_some(demo);
        first.is_some()
    });
    let first = first.unwrap();
    let said = first.stdout();
    let ports = said.lines().filter_map(|line| line.strip_prefix("Backend is listening on :"));
    let names: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    eventually("it answers", || std::net::TcpStream::connect(operator.addr).is_ok());
    assert_eq!(operator.names(), names);
    let second = Balancer::start(&DEMO);
    eventually("it says that there is none", || {
        second
            .stderr()
            .contains("the demo runs without an admin listener, because 127.0.0.1:8090 cannot be bound")
    });
    assert!(second.stderr().contains("choose another address with --admin"), "{}", second.stderr());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let own = Balancer::start(&[&DEMO[..], &[ADMIN]].concat());
    eventually("it says where it is", || own.stdout().contains("Admin is listening on :"));
    let none = Balancer::start(&[&DEMO[..], &["--admin=off"]].concat());
    assert_eq!(none.get("/").status, 200);
    assert!(!none.stderr().contains("admin") && !none.stdout().contains("Admin"), "{}", none.stderr());
}

#[test]
fn starts_several_demos_at_the_same_moment() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert_eq!(Balancer::start(&DEMO).get("/").status, 200);
                }
            });
        }
    });
}

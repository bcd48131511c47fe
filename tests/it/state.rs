//! The admin API's `/api/state` and `/api/history`, as docs/admin-api.md describes them.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, dead_port, edge, eventually, is_tiny};
use crate::pool::{ask_all, dammed};
use crate::steady_load::SteadyLoad;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

fn serve(backends: &[SocketAddr], flags: &[&str]) -> (Balancer, AdminClient) {
    let balancer = Balancer::serve(backends, &[&[ADMIN], flags].concat());
    let operator = AdminClient::of(&balancer);
    (balancer, operator)
}

fn state(operator: &AdminClient) -> Value {
    operator.done("GET /api/state", "")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Returns the requests that ended last, once there are this many.
#[track_caller]
fn recent(operator: &AdminClient, count: usize) -> Vec<Value> {
    let recent = || state(operator)["recent"].as_array().unwrap().clone();
    eventually("that many requests have ended", || recent().len() == count);
    recent()
}

#[test]
fn describes_the_balancer_and_its_settings() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (balancer, operator) = serve(&[one.addr, two.addr], &["--workers=3", "--queue=9"]);
    let found = state(&operator);
    for (key, expected) in [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("ready", json!(true)),
        ("why_not", Value::Null),
        ("edge", json!(edge())),
        ("listen", json!([balancer.addr.to_string()])),
        ("strategy", json!("round-robin")),
        ("next", json!(one.addr.to_string())),
        ("queue_depth", json!(0)),
        ("queue_capacity", json!(9)),
        ("workers", json!(3)),
        ("workers_busy", json!(0)),
        ("busy", json!([])),
        ("recent", json!([])),
        ("rejected", json!(0)),
        ("access_log_dropped", json!(0)),
        ("requests", json!({ "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, "other": 0 })),
    ] {
        assert_eq!(found[key], expected, "{key}: {found}");
    }
    assert_eq!(found["connections"].is_null(), is_tiny(), "{found}");
    let uptime = found["uptime_seconds"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&uptime), "{uptime}");
    let now = found["now"].as_str().unwrap();
    assert!(now.len() == 24 && now.ends_with('Z'), "{now}");
    let names: Vec<_> = found["backends"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, [one.addr, two.addr].map(|addr| json!(addr.to_string())));
    assert_eq!(
        keys(&found["backends"][0]["lately"]),
        ["errors", "p50_seconds", "p99_seconds", "rate", "seconds", "share"]
    );
}

#[test]
fn shows_each_request_and_which_backend_is_next() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (balancer, operator) = serve(&[one.addr, two.addr], &[]);
    let names = [one.addr, two.addr].map(|addr| addr.to_string());
    for turn in 0..4 {
        assert_eq!(state(&operator)["next"], names[turn % 2]);
        assert_eq!(balancer.get(&format!("/{turn}?secret=1")).status, 200);
        let seen = recent(&operator, turn + 1).remove(turn);
        for (key, expected) in [
            ("number", json!(turn + 1)),
            ("method", json!("GET")),
            ("path", json!(format!("/{turn}"))),
            ("backend", json!(names[turn % 2])),
            ("status", json!(200)),
            ("ended", json!("ok")),
            ("tries", json!(1)),
        ] {
            assert_eq!(seen[key], expected, "{key}: {seen}");
        }
        assert!(seen["seconds"].as_f64().unwrap() > 0.0 && seen["ago_seconds"].as_f64().unwrap() < 60.0);
    }
    let found = state(&operator);
    let counts: Vec<_> = found["backends"].as_array().unwrap().iter().map(|one| &one["requests"]).collect();
    assert_eq!(counts, [2, 2]);
}

#[test]
fn shows_a_busy_worker_and_its_request() {
    let (backend, dam) = dammed();
    let (balancer, operator) = serve(&[backend.addr], &["--workers=2", "--queue=5"]);
    let mut client = balancer.client();
    client.send("DELETE /slow/thing?token=secret HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the worker waits", || state(&operator)["busy"][0]["phase"] == "waiting");
    let first = state(&operator)["busy"][0].clone();
    assert_eq!((&first["method"], &first["path"]), (&json!("DELETE"), &json!("/slow/thing")));
    assert_eq!(first["backend"], backend.addr.to_string());
    assert!(first["worker"].as_u64().unwrap() < 2);
    let seconds = |busy: &Value| busy["for_seconds"].as_f64().unwrap();
    eventually("time goes on", || seconds(&state(&operator)["busy"][0]) > seconds(&first));
    let mut others = ask_all(balancer.addr, 3);
    eventually("both are busy and two wait", || {
        let now = state(&operator);
        (&now["workers_busy"], now["busy"].as_array().unwrap().len(), &now["queue_depth"])
            == (&json!(2), 2, &json!(2))
    });
    dam.open.store(true, SeqCst);
    assert_eq!(client.read_reply().status, 200);
    others.iter_mut().for_each(|client| assert_eq!(client.read_reply().status, 200));
    eventually("all are idle", || state(&operator)["busy"] == json!([]));
}

#[test]
fn shows_requests_that_failed() {
    let dead = dead_port();
    let (balancer, operator) = serve(&[dead.addr], &[]);
    assert_eq!(balancer.get("/").status, 502);
    assert_eq!(balancer.client().request("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
    let mut seen = recent(&operator, 2);
    seen.sort_by_key(|one| one["status"].as_u64());
    let facts = |one: &Value| ["ended", "backend", "status"].map(|key| one[key].clone());
    assert_eq!(facts(&seen[0]), [json!("rejected"), Value::Null, json!(405)]);
    assert_eq!(facts(&seen[1]), [json!("backend_failed"), json!(dead.addr.to_string()), json!(502)]);
    let found = state(&operator);
    assert_eq!((&found["rejected"], &found["backends"][0]["errors"]), (&json!(1), &json!(1)));
    assert_eq!(found["requests"]["4xx"], 1);
}

#[test]
fn shows_a_malformed_request_without_method_and_path() {
    let hello = Recorder::hello("one");
    let (balancer, operator) = serve(&[hello.addr], &[]);
    assert_eq!(balancer.client().request("GET /<b> HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
    let seen = recent(&operator, 1).remove(0);
    let facts = ["method", "path", "backend", "status"].map(|key| seen[key].clone());
    assert_eq!(facts, [Value::Null, Value::Null, Value::Null, json!(400)]);
}

#[test]
fn names_the_next_backend_with_round_robin_only() {
    let one = Recorder::hello("one");
    for strategy in ["weighted-round-robin", "least-connections", "power-of-two", "client-hash"] {
        let (_balancer, operator) = serve(&[one.addr], &[&format!("--strategy={strategy}")]);
        let found = state(&operator);
        assert_eq!((&found["strategy"], &found["next"]), (&json!(strategy), &Value::Null));
    }
}

#[test]
fn skips_draining_backends_as_next_and_names_none_if_all_drain() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (_balancer, operator) = serve(&[one.addr, two.addr], &[]);
    operator.drain(one.addr);
    assert_eq!(state(&operator)["next"], two.addr.to_string());
    operator.drain(two.addr);
    let found = state(&operator);
    assert_eq!(found["next"], Value::Null);
    assert_eq!((&found["ready"], &found["why_not"]), (&json!(false), &json!("no backend is usable")));
}

#[test]
fn sums_up_the_last_seconds_and_keeps_each_one() {
    let [one, two] = ["one", "two"].map(Recorder::hello);
    let (balancer, operator) = serve(&[one.addr, two.addr], &[]);
    let crowd = SteadyLoad::of(2, balancer.addr);
    eventually("two seconds are known", || {
        operator.done("GET /api/history", "")["samples"].as_array().unwrap().len() >= 2
    });
    assert_eq!(crowd.errors(), [""; 0]);
    let found = state(&operator);
    let lately = &found["lately"];
    assert!(lately["seconds"].as_f64().unwrap() > 0.9 && lately["rate"].as_f64().unwrap() > 1.0, "{lately}");
    let times = ["p50_seconds", "p99_seconds"].map(|key| lately[key].as_f64().unwrap());
    assert!(0.0 < times[0] && times[0] <= times[1], "{lately}");
    for backend in found["backends"].as_array().unwrap() {
        let lately = &backend["lately"];
        let share = lately["share"].as_f64().unwrap();
        assert!((share - 0.5).abs() < 0.05, "{found}");
        assert!(lately["p99_seconds"].as_f64().unwrap() > 0.0, "{found}");
    }
    let served = crowd.finish() as u64;
    let history = || operator.done("GET /api/history", "");
    let sum = || -> u64 {
        let history = history();
        history["samples"].as_array().unwrap().iter().map(|one| one["requests"].as_u64().unwrap()).sum()
    };
    eventually("the seconds have all requests", || sum() == served);
    let history = history();
    let mut by_backend: BTreeMap<String, u64> = BTreeMap::new();
    for sample in history["samples"].as_array().unwrap() {
        assert_eq!(keys(sample), ["backends", "errors", "number", "p50_seconds", "p99_seconds", "requests"]);
        for (name, count) in sample["backends"].as_object().unwrap() {
            *by_backend.entry(name.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    assert_eq!(by_backend.len(), 2);
    assert_eq!(by_backend.values().sum::<u64>(), served);
    let newest = history["newest"].as_u64().unwrap();
    let later = operator.done(&format!("GET /api/history?after={newest}"), "");
    let numbers: Vec<_> =
        later["samples"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().all(|number| *number > newest) && numbers.len() < 10, "{newest}: {later}");
    operator.refused("GET /api/history?after=yesterday", "", 400, "after=NUMBER");
}

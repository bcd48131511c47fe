//! Active health checks.

use super::view::View;
use super::{demo_at, statuses_of};
use crate::backend::Recorder;
use crate::bed::{Balancer, dead_port, eventually};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const INTERVAL: Duration = Duration::from_millis(100);
/// The delay that a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

/// A backend that replies to `/health?deep=1` with a status that can be changed, and echoes other targets.
fn with_health() -> (Recorder, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(204));
    let own = Arc::clone(&status);
    let recorder = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            conversation.send(match request.target() {
                "/health?deep=1" if own.load(SeqCst) == 204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                "/health?deep=1" => format!("HTTP/1.1 {} Set\r\nContent-Length: 0\r\n\r\n", own.load(SeqCst)),
                _ => request.echo(),
            });
        }
    });
    (recorder, status)
}

fn checks_and_others(backend: &Recorder) -> (usize, usize) {
    let requests = backend.requests();
    let checks = requests.iter().filter(|request| request.target() == "/health?deep=1").count();
    (checks, requests.len() - checks)
}

#[test]
fn a_dead_backend_is_down_after_three_checks_and_up_after_two() {
    let (port, good) = (dead_port(), Recorder::hello("good"));
    // Failed requests do not count here.
    let flags = ["--health-interval=100ms", "--max-fails=0"];
    let began = Instant::now();
    let view = View::of(&[port.addr, good.addr], &flags);
    let ready = Instant::now();
    assert_eq!(view.report(port.addr)["state"], "checking");
    assert_eq!(statuses_of(&view.balancer, 4, GET), [200; 4], "no request waits for a check");
    view.until(port.addr, "down");
    assert!(began.elapsed() >= INTERVAL.mul_f64(0.9 * 3.0), "not before the third check");
    assert!(ready.elapsed() < INTERVAL.mul_f64(1.1 * 3.0) + SLACK, "{:?}", ready.elapsed());
    let shown = view.report(port.addr);
    assert_eq!((&shown["why"], &shown["state"]), (&json!("connection refused"), &json!("down")));
    let seconds = shown["for_seconds"].as_f64().unwrap();
    assert!((0.0..3.0).contains(&seconds), "{shown}");
    let since: jiff::Timestamp = shown["since"].as_str().unwrap().parse().unwrap();
    let ago = jiff::Timestamp::now().duration_since(since).as_secs_f64();
    assert!((seconds - 0.1..seconds + 1.5).contains(&ago), "{ago} {shown}");
    let tries = view.tries(port.addr);
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    assert_eq!(view.tries(port.addr), tries, "it gets no further request");

    let _alive = demo_at(&port, "alive");
    let alive = Instant::now();
    view.until(port.addr, "up");
    assert!(alive.elapsed() < INTERVAL.mul_f64(1.1 * 2.0) + SLACK, "{:?}", alive.elapsed());
    assert_eq!(view.why(port.addr), "connected");
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    assert_eq!(view.tries(port.addr), tries + 5, "it gets its share");
    view.assert_logged(port.addr, "is down: connection refused", 1);
    view.assert_logged(port.addr, "is up: connected", 1);
}

#[test]
fn a_wrong_status_takes_a_backend_down_until_it_is_right_again() {
    let ((backend, status), (good, _)) = (with_health(), with_health());
    let flags = ["--health-interval=20ms", "--health-path=/health?deep=1", "--health-status=200,204-206"];
    let view = View::of(&[backend.addr, good.addr], &[&flags[..], &["--fall=4", "--rise=5"]].concat());
    view.until(backend.addr, "up");
    assert_eq!(view.why(backend.addr), "status 204");
    let seen = backend.last_request();
    assert_eq!(seen.request_line(), "GET /health?deep=1 HTTP/1.1");
    assert_eq!(seen.header("Host").unwrap(), backend.addr.to_string());
    assert_eq!(seen.header("User-Agent").unwrap(), "turnwheel-health");
    assert_eq!(seen.header("Connection").unwrap(), "close");
    for (now, why) in [(302, "status 302, expected 200,204-206"), (500, "status 500, expected 200,204-206")] {
        status.store(now, SeqCst);
        let (checks, _) = checks_and_others(&backend);
        view.until(backend.addr, "down");
        let needed = checks_and_others(&backend).0 - checks;
        assert!(needed >= 4 - 1, "{needed} checks, of which the first may have been under way");
        assert_eq!(view.why(backend.addr), why);
        let (_, others) = checks_and_others(&backend);
        assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
        assert_eq!(checks_and_others(&backend).1, others, "it gets no request");
        status.store(200, SeqCst);
        let (checks, _) = checks_and_others(&backend);
        view.until(backend.addr, "up");
        assert!(checks_and_others(&backend).0 - checks >= 5 - 1);
        assert_eq!(view.why(backend.addr), "status 200");
        assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
        assert_eq!(checks_and_others(&backend).1, others + 5);
    }
}

#[test]
fn a_backend_that_stalls_does_not_delay_the_checks_of_others() {
    let (silent, (good, _)) = (Recorder::silent(), with_health());
    let flags = ["--health-interval=20ms", "--health-timeout=60s", "--health-path=/health?deep=1"];
    let view = View::of(&[silent.addr, good.addr], &flags);
    eventually("the other one is still checked", || checks_and_others(&good).0 >= 20);
    assert_eq!(view.state(good.addr), "up");
    assert_eq!((silent.connections(), silent.requests().len()), (1, 1), "one check at a time");
    assert_eq!(view.state(silent.addr), "checking");
}

#[test]
fn a_check_may_take_longer_than_the_interval() {
    let (silent, good) = (Recorder::silent(), Recorder::hello("good"));
    let flags = ["--health-interval=10ms", "--health-timeout=150ms", "--health-path=/", "--fall=2"];
    let began = Instant::now();
    let view = View::of(&[silent.addr, good.addr], &flags);
    view.until(silent.addr, "down");
    assert!(began.elapsed() >= Duration::from_millis(300), "two checks, one after the other");
    assert!(silent.connections() <= 6 && silent.open_connections() <= 1, "{}", silent.connections());
    assert_eq!(view.why(silent.addr), "no reply within 150ms");
}

#[test]
fn a_balancer_that_stops_ends_its_checks_without_a_result() {
    let silent = Recorder::silent();
    let flags = ["--health-interval=20ms", "--health-timeout=60s", "--health-path=/", "--fall=1"];
    let mut balancer = Balancer::serve(&[silent.addr], &flags);
    eventually("it is checked", || silent.requests().len() == 1);
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(Duration::from_secs(2)), 0);
    eventually("the check is over", || silent.open_connections() == 0);
    let log = balancer.stderr();
    assert!(!log.contains("WARN") && !log.contains("is down"), "{log}");
}

#[test]
fn a_removed_backend_is_no_longer_checked() {
    let (silent, good) = (Recorder::silent(), Recorder::hello("good"));
    let flags = ["--health-interval=20ms", "--health-timeout=60s", "--health-path=/", "--fall=1"];
    let view = View::of(&[silent.addr, good.addr], &flags);
    eventually("it is checked", || silent.requests().len() == 1);
    view.ask("DELETE", &format!("/api/backends/{}", silent.addr));
    eventually("that check is ended", || silent.open_connections() == 0);
    let before = good.connections();
    eventually("the other one is still checked", || good.connections() >= before + 10);
    assert_eq!(silent.connections(), 1);
    assert!(!view.balancer.stderr().contains("is down"), "{}", view.balancer.stderr());
}

#[test]
fn the_first_request_does_not_wait_for_a_check() {
    let good = Recorder::hello("good");
    let view = View::of(&[good.addr], &["--health-interval=60s"]);
    assert_eq!(view.balancer.get("/").text(), "good");
    let shown = view.report(good.addr);
    assert_eq!((&shown["state"], &shown["why"]), (&json!("checking"), &json!("not checked yet")));
}

#[test]
fn health_off_opens_no_connection_and_forgets_earlier_results() {
    let (backend, other, folder) =
        (Recorder::hello("good"), Recorder::hello("ok"), tempfile::tempdir().unwrap());
    let (file, dead) = (folder.path().join("t.toml"), dead_port());
    let lists = format!("backend = ['http://{}', 'http://{}']\n", backend.addr, dead.addr);
    std::fs::write(&file, format!("{lists}health_interval = '20ms'\n")).unwrap();
    let config = format!("--config={}", file.display());
    let edge = format!("--edge={}", crate::bed::edge());
    let args = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", &config, &edge];
    let view = View::started(Balancer::start(&args));
    view.until(backend.addr, "up");
    view.until(dead.addr, "down");
    std::fs::write(&file, format!("{lists}health = 'off'\n")).unwrap();
    view.ask("POST", "/api/reload");
    for addr in [backend.addr, dead.addr] {
        eventually("earlier results are forgotten", || view.state(addr) == "checking");
        assert_eq!(view.why(addr), "not checked yet");
    }
    eventually("the last check is over", || backend.open_connections() == 0);
    let before = backend.connections();
    let _clock = Balancer::serve(&[other.addr], &["--health-interval=20ms"]);
    eventually("another balancer has made ten checks meanwhile", || other.connections() >= 10);
    assert_eq!(backend.connections(), before);
    assert_eq!(statuses_of(&view.balancer, 4, GET), [200; 4]);
}

#[test]
fn fifty_backends_are_all_checked_in_time() {
    let backends: Vec<_> = (0..50).map(|_| dead_port()).collect();
    let good = Recorder::hello("good");
    let mut addrs: Vec<_> = backends.iter().map(|port| port.addr).collect();
    addrs.push(good.addr);
    let view = View::of(&addrs, &["--health-interval=100ms"]);
    let began = Instant::now();
    eventually("all fifty are down", || view.all().iter().filter(|one| one["state"] == "down").count() == 50);
    assert!(began.elapsed() < INTERVAL.mul_f64(1.1 * 3.0) + SLACK, "{:?}", began.elapsed());
    assert_eq!(view.state(good.addr), "up");
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    assert_eq!(view.tries(good.addr), 10);
}

/// With all backends down, one balancer tries them all the same, and another refuses requests.
#[test]
fn with_all_backends_down_all_are_tried_or_requests_are_refused() {
    let ports = [dead_port(), dead_port()];
    let addrs = ports.each_ref().map(|port| port.addr);
    let flags = ["--health-interval=20ms", "--max-fails=0"];
    let open = View::of(&addrs, &flags);
    let shut = View::of(&addrs, &[&flags[..], &["--all-down=refuse"]].concat());
    for addr in addrs {
        open.until(addr, "down");
        shut.until(addr, "down");
    }
    assert_eq!(statuses_of(&open.balancer, 5, GET), [502; 5]);
    assert_eq!(addrs.map(|addr| open.tries(addr)), [5, 5], "each request has tried both");
    let reply = shut.balancer.get("/");
    assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")));
    assert_eq!(addrs.map(|addr| shut.tries(addr)), [0, 0]);

    // A backend that returns serves at once where all are tried, and after its checks where they are not.
    let _back = demo_at(&ports[1], "back");
    assert!(open.balancer.get("/").text().ends_with("back\n"));
    eventually("it serves", || shut.balancer.get("/").status == 200);
    assert_eq!(shut.state(addrs[1]), "up");
}

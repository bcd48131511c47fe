//! Chaos around the balancer itself.

use super::{CROWD, Crowd, FLAGS, GET, SLACK};
use crate::backend::Recorder;
use crate::bed::{dead_port, eventually};
use crate::health::demo_at;
use crate::health::view::View;
use crate::watch::is_stopped;
use std::thread;
use std::time::{Duration, Instant};

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn when_all_backends_die_clients_get_an_error_at_once_and_are_served_after_their_return() {
    let ports = [dead_port(), dead_port(), dead_port()];
    let start_all = || [0, 1, 2].map(|at| demo_at(&ports[at], ["a", "b", "c"][at]));
    let mut processes = Some(start_all());
    let addrs = ports.each_ref().map(|port| port.addr);
    let view = View::of(&addrs, &FLAGS);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.until_all_served(&["a", "b", "c"]);
    drop(processes.take());
    let dead = Instant::now();
    for addr in addrs {
        view.until(addr, "down");
    }
    crowd.until("clients are refused", 500, dead, |one| one.status == 502);
    let before = Instant::now();
    processes = Some(start_all());
    let back = Instant::now();
    crowd.until_served_by(&["a", "b", "c"], 1, back);
    crowd.until("all serve", 500, Instant::now(), |one| one.status == 200);
    let (outcomes, late) = crowd.stop_and_collect();
    let failed = outcomes.iter().filter(|one| one.status != 200);
    let last = failed.clone().map(|one| one.ended()).max().unwrap();
    let slowest = failed.clone().map(|one| one.took).max().unwrap();
    println!("refused for {:?} after their return, in {slowest:?} at most; late {late:?}", last - back);
    assert!(failed.clone().all(|one| one.status == 502));
    let mut meanwhile = outcomes.iter().filter(|one| one.began >= dead && one.ended() < before);
    assert!(meanwhile.all(|one| one.status == 502));
    assert!(slowest < SLACK + late, "no client waits for a dead backend: {slowest:?}");
    // They are tried although they are down, so no client waits for a check.
    assert!(last < back + SLACK + late, "all serve again: {:?}", last - back);
    for addr in addrs {
        eventually("it is up", || view.state(addr) == "up");
        assert!(view.logged(addr, "is down") <= 1, "{}", view.balancer.stderr());
    }
    drop(processes);
}

/// A backend that replies after half a second.
fn slow(name: &'static str) -> Recorder {
    Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            thread::sleep(Duration::from_millis(500));
            conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
        }
    })
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_suspended_balancer_loses_no_request() {
    let backends = [slow("a"), slow("b")];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let view = View::of(&addrs, &["--health-interval=20ms"]);
    for addr in addrs {
        view.until(addr, "up");
    }
    let post = |number: usize| format!("POST /{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let statuses: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let view = &view;
                scope.spawn(move || view.balancer.client().request(post(number)).status)
            })
            .collect();
        let under_way = || backends.iter().map(|backend| backend.requests().len()).sum::<usize>();
        eventually("all of them are under way", || under_way() == 8);
        view.balancer.signal(libc::SIGSTOP);
        is_stopped(view.balancer.pid());
        view.balancer.signal(libc::SIGCONT);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 8], "{}", view.balancer.stderr());
    let seen: usize = backends.iter().map(|backend| backend.requests().len()).sum();
    assert_eq!(seen, 8, "each has arrived once");
    assert!(!view.balancer.stderr().contains("WARN"), "{}", view.balancer.stderr());
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_long_suspended_balancer_does_not_fail_its_checks() {
    let backends = [slow("a"), slow("b"), slow("c")];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    // A check is nearly always under way, and has timed out when the balancer continues.
    let flags = ["--health-interval=10ms", "--health-timeout=1s", "--health-path=/health"];
    let view = View::of(&addrs, &flags);
    for addr in addrs {
        view.until(addr, "up");
    }
    for _ in 0..2 {
        let before = backends[0].connections();
        eventually("another check is under way", || backends[0].connections() > before);
        view.balancer.signal(libc::SIGSTOP);
        is_stopped(view.balancer.pid());
        thread::sleep(Duration::from_millis(1100)); // longer than the timeout of a check
        view.balancer.signal(libc::SIGCONT);
        let before = backends[0].connections();
        eventually("checks go on", || backends[0].connections() > before + 1);
    }
    assert_eq!(addrs.map(|addr| view.state(addr)), ["up", "up", "up"]);
    assert!(!view.balancer.stderr().contains("WARN"), "{}", view.balancer.stderr());
    assert_eq!(view.balancer.client().request(GET).status, 200);
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_flapping_backend_fails_no_get() {
    let (port, steady) = (dead_port(), Recorder::hello("steady"));
    let flags = ["--health-interval=20ms", "--rise=1", "--fall=1", "--longest-ejection=50ms"];
    let view = View::of(&[port.addr, steady.addr], &flags);
    let crowd = Crowd::of(view.balancer.addr, 16);
    for life in 0..6 {
        let alive = demo_at(&port, "flapping");
        crowd.until_served_by(&["flapping"], 1 + life, Instant::now());
        drop(alive);
        crowd.until("the other one serves", 20, Instant::now(), |one| one.is_served_by("steady"));
    }
    let (outcomes, _) = crowd.stop_and_collect();
    super::assert_all_ok(&outcomes);
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn reloads_under_load_fail_no_request() {
    let ports = [dead_port(), dead_port(), dead_port()];
    let _lives = [0, 1].map(|at| demo_at(&ports[at], ["a", "b"][at]));
    let mut c = Some(demo_at(&ports[2], "c"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    let write = |interval: usize, health: &str| {
        let list: Vec<_> = ports.iter().map(|port| format!("'http://{}'", port.addr)).collect();
        let rest = if health == "on" {
            format!("health_interval = '{interval}ms'\nhealth_timeout = '200ms'\n")
        } else {
            "health = 'off'\n".into()
        };
        let text = format!(
            "backend = [{}]\nreply_head_timeout = '1s'\nfail_timeout = '300ms'\n{rest}",
            list.join(",")
        );
        std::fs::write(&file, text).unwrap();
    };
    write(50, "on");
    let (config, edge) = (format!("--config={}", file.display()), format!("--edge={}", crate::bed::edge()));
    let args = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", &config, &edge];
    let view = View::started(crate::bed::Balancer::start(&args));
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    for round in 0..12 {
        if round % 3 == 1 {
            drop(c.take());
        } else if c.is_none() {
            c = Some(demo_at(&ports[2], "c"));
        }
        write(30 + round, if round % 4 == 3 { "off" } else { "on" });
        view.ask("POST", "/api/reload");
        crowd.until("some are served", 60, Instant::now(), |one| one.status == 200);
    }
    if c.is_none() {
        c = Some(demo_at(&ports[2], "c"));
    }
    write(50, "on");
    view.ask("POST", "/api/reload");
    crowd.until_served_by(&["a", "b", "c"], 20, Instant::now());
    let (outcomes, _) = crowd.stop_and_collect();
    super::assert_all_ok(&outcomes);
    drop(c);
}

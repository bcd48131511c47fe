//! Chaos that takes longer.

use super::once::assert_no_post_arrives_twice;
use super::{CROWD, Crowd, FLAGS, SLACK};
use crate::bed::{Balancer, DeadPort, dead_port};
use crate::health::demo_at;
use crate::health::view::View;
use crate::watch::is_stopped;
use std::thread;
use std::time::{Duration, Instant};

#[test]
#[ignore = "heavy: a backend dies forty times"]
fn no_post_arrives_twice_when_a_backend_dies_forty_times() {
    // Short ejections, although the backends die often.
    assert_no_post_arrives_twice(
        40,
        &["--health-interval=50ms", "--fail-timeout=200ms", "--longest-ejection=200ms"],
    );
}

#[test]
#[ignore = "heavy: five hundred clients"]
fn five_hundred_clients_do_not_notice_that_a_backend_is_killed() {
    let ports = [dead_port(), dead_port(), dead_port()];
    let [_a, b, _c] = [0, 1, 2].map(|at| demo_at(&ports[at], ["a", "b", "c"][at]));
    let view = View::of(&ports.each_ref().map(|port| port.addr), &FLAGS);
    let crowd = Crowd::of(view.balancer.addr, 500);
    crowd.until_served_by(&["a", "b", "c"], 1000, Instant::now());
    drop(b);
    crowd.until_served_by(&["a", "c"], 2000, Instant::now());
    let _b = demo_at(&ports[1], "b");
    crowd.until_served_by(&["a", "b", "c"], 1000, Instant::now());
    super::assert_all_ok(&crowd.stop_and_collect().0);
}

/// Six demo backends, each of which may be dead or frozen.
struct Fleet {
    ports: [DeadPort; 6],
    processes: [Option<Balancer>; 6],
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Fleet {
    fn new() -> Self {
        let ports = [0; 6].map(|_| dead_port());
        let processes = [0, 1, 2, 3, 4, 5].map(|at| Some(demo_at(&ports[at], NAMES[at])));
        Fleet { ports, processes }
    }

    /// Changes one of them: two are never touched, two die and return, two freeze and continue.
    fn disturb(&mut self, step: usize) {
        let at = 2 + step % 4;
        match (&self.processes[at], at, step / 4 % 2) {
            (Some(_), 2 | 3, _) => self.processes[at] = None,
            (None, ..) => self.processes[at] = Some(demo_at(&self.ports[at], NAMES[at])),
            (Some(process), _, 0) => {
                process.signal(libc::SIGSTOP);
                is_stopped(process.pid());
            }
            (Some(process), ..) => process.signal(libc::SIGCONT),
        }
    }
}

#[test]
#[ignore = "heavy: half a minute of everything at once"]
fn two_of_six_serve_whatever_happens_to_the_others() {
    let mut fleet = Fleet::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    let addrs = fleet.ports.each_ref().map(|port| port.addr);
    let write = |step: usize| {
        let urls: Vec<_> = addrs.iter().map(|addr| format!("'http://{addr}'")).collect();
        let times = format!("health_interval = '{}ms'\nhealth_timeout = '200ms'", 50 + step);
        let timeouts = "reply_head_timeout = '1s'\nfail_timeout = '1s'\nlongest_ejection = '2s'";
        let text = format!("backend = [{}]\n{times}\n{timeouts}\n", urls.join(","));
        std::fs::write(&file, text).unwrap();
    };
    write(0);
    let flags = [format!("--config={}", file.display()), format!("--edge={}", crate::bed::edge())];
    let args = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", &flags[0], &flags[1]];
    let view = View::started(Balancer::start(&args));
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.until_served_by(&NAMES, 20, Instant::now());
    let steady = |after| crowd.until_served_by(&NAMES[..2], 1, after);
    for step in 0..60 {
        fleet.disturb(step);
        if step % 5 == 0 {
            write(step);
            view.ask("POST", "/api/reload");
        }
        thread::sleep(Duration::from_millis(500)); // the length of the test, not a wait
        steady(Instant::now());
    }
    for (at, process) in fleet.processes.iter_mut().enumerate() {
        match process {
            Some(process) => process.signal(libc::SIGCONT), // harmless if it is not frozen
            None => *process = Some(demo_at(&fleet.ports[at], NAMES[at])),
        }
    }
    crowd.until_served_by(&NAMES, 20, Instant::now());
    let (outcomes, late) = crowd.stop_and_collect();
    let failed: Vec<_> = outcomes.iter().filter(|one| one.status != 200).collect();
    let worst = outcomes.iter().map(|one| one.took).max().unwrap();
    println!("{} served, {} failed; {worst:?} at most; late {late:?}", outcomes.len(), failed.len());
    // Only requests to a frozen backend fail.
    assert!(
        failed.iter().all(|one| one.status == 504 && one.took >= Duration::from_millis(900)),
        "{failed:?}"
    );
    assert!(worst < Duration::from_secs(1) + SLACK + late, "a client waited for {worst:?}");
}

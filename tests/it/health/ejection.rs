//! Ejection of backends that fail requests, and their return.

use super::view::View;
use super::{Mood, demo_at, moody, statuses_of};
use crate::backend::Recorder;
use crate::bed::{dead_port, eventually, get};
use crate::chaos::Crowd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";

/// No check is made within the time of a test.
const UNCHECKED: [&str; 2] = ["--health-interval=60s", "--fail-timeout=60s"];

/// Returns the number of tries that a bad backend gets of twenty requests, beside a good one.
fn tries_before_ejection(bad: &Recorder, flags: &[&str]) -> usize {
    let good = Recorder::hello("ok");
    let view = View::of(&[bad.addr, good.addr], &[&UNCHECKED, flags].concat());
    let mut client = view.balancer.client();
    (0..20).for_each(|_| _ = client.request(GET));
    let tries = usize::try_from(view.tries(bad.addr)).unwrap();
    let is_out = view.state(bad.addr) == "down";
    assert_eq!(is_out, tries < 10, "{}", view.report(bad.addr));
    view.assert_logged(bad.addr, "is taken out for 60.0 s", usize::from(is_out));
    if is_out {
        let why = view.why(bad.addr);
        assert!(why.starts_with("taken out: "), "{why}");
        assert_eq!(view.report(bad.addr)["failures"], tries);
    }
    assert_eq!(view.state(good.addr), "checking", "it has not been checked");
    tries
}

fn replying(status: &str) -> Recorder {
    Recorder::replying(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn three_consecutive_failures_of_any_kind_eject_a_backend() {
    for (what, bad) in [
        ("replies 502", replying("502 Bad Gateway")),
        ("replies 504", replying("504 Gateway Timeout")),
        ("closes without a reply", Recorder::new(|conversation| drop(conversation.read_request()))),
        ("does not reply", Recorder::silent()),
        ("replies nonsense", Recorder::replying("SSH-2.0-OpenSSH\r\n\r\n")),
    ] {
        let flags = ["--reply-head-timeout=300ms"];
        assert_eq!(tries_before_ejection(&bad, &flags), 3, "{what}");
    }
}

#[test]
fn a_refused_connection_counts_as_a_failure() {
    let (dead, good) = (dead_port(), Recorder::hello("ok"));
    for (flags, tries) in [(vec![], 3), (vec!["--max-fails=1"], 1), (vec!["--max-fails=0"], 10)] {
        let view = View::of(&[dead.addr, good.addr], &[&UNCHECKED[..], &flags].concat());
        assert!(
            statuses_of(&view.balancer, 20, GET).iter().all(|status| *status == 200),
            "another one serves"
        );
        assert_eq!(view.tries(dead.addr), tries, "{flags:?}");
    }
}

#[test]
fn error_replies_of_its_own_do_not_eject_a_backend() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "404 Not Found", "501 No"] {
        assert_eq!(tries_before_ejection(&replying(status), &["--max-fails=1"]), 10, "{status}");
    }
}

#[test]
fn a_success_restarts_the_count() {
    let asked = AtomicUsize::new(0);
    let bad = Recorder::new(move |conversation| {
        // Two failures, a success, two failures: over one connection each.
        while conversation.read_request().is_some() {
            if asked.fetch_add(1, SeqCst) % 3 < 2 {
                return;
            }
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    assert_eq!(tries_before_ejection(&bad, &[]), 10);
}

#[test]
fn simultaneous_failures_eject_a_backend_once() {
    const CROWD: usize = 64;
    for _ in 0..10 {
        let (good, gate) = (Recorder::hello("ok"), Arc::new(Barrier::new(CROWD)));
        let bad = Recorder::new(move |conversation| {
            conversation.read_request();
            gate.wait(); // all have arrived, and all fail
        });
        // Round robin: of twice as many requests, half go to each.
        let view = View::of(&[bad.addr, good.addr], &["--health=off", "--fail-timeout=60s", "--workers=128"]);
        thread::scope(|scope| {
            (0..2 * CROWD).for_each(|_| _ = scope.spawn(|| view.balancer.client().request(POST)));
        });
        assert_eq!(bad.requests().len(), CROWD);
        view.assert_logged(bad.addr, "is taken out", 1);
        view.assert_logged(bad.addr, "is taken out for 60.0 s", 1);
    }
}

#[test]
fn the_last_usable_backend_is_never_ejected() {
    let closing = || Recorder::new(|conversation| drop(conversation.read_request()));
    let (one, other) = (closing(), closing());
    for backends in [&[&one][..], &[&one, &other]] {
        let addrs: Vec<_> = backends.iter().map(|backend| backend.addr).collect();
        let view = View::of(&addrs, &UNCHECKED);
        assert_eq!(statuses_of(&view.balancer, 10, GET), [502; 10]);
        let out = addrs.iter().filter(|addr| view.state(**addr) == "down").count();
        assert_eq!(out, addrs.len() - 1);
        let tries: Vec<_> = addrs.iter().map(|addr| view.tries(*addr)).collect();
        assert_eq!(tries, vec![10; addrs.len()], "each request has tried all backends");
    }
}

#[test]
fn without_checks_it_returns_on_trial_and_is_ejected_for_longer_each_time() {
    let (bad, mood) = moody("bad");
    let good = Recorder::hello("good");
    let flags = ["--health=off", "--fail-timeout=200ms", "--reply-head-timeout=100ms"];
    let view = View::of(&[bad.addr, good.addr], &flags);
    mood.set(Mood::Mute);
    let crowd = Crowd::of(view.balancer.addr, 16);
    view.until_logged(bad.addr, "is taken out for 0.2 s");
    eventually("the requests under way have failed", || {
        mood.waiting() == 0 || view.logged(bad.addr, "is") > 1
    });
    mood.forget_most();
    view.until_logged(bad.addr, "is taken out for 0.4 s");
    view.until_logged(bad.addr, "is taken out for 0.8 s");
    assert_eq!(mood.most_waiting(), 1, "one at a time");
    mood.set(Mood::Fine);
    view.until_logged(bad.addr, "answers again");
    crowd.stop();
    assert_ne!(view.state(bad.addr), "down");
    view.assert_logged(bad.addr, "is taken out", 3);
}

#[test]
fn with_checks_a_backend_that_hung_returns_when_it_replies() {
    let (bad, mood) = moody("bad");
    let good = Recorder::hello("good");
    let flags = [
        "--health-interval=20ms",
        "--health-timeout=50ms",
        "--reply-head-timeout=300ms",
        "--fail-timeout=1s",
    ];
    // Its checks never take it down: it still accepts connections.
    let view = View::of(&[bad.addr, good.addr], &[&flags[..], &["--fall=1000"]].concat());
    view.until(bad.addr, "up");
    mood.set(Mood::Mute);
    let _ = statuses_of(&view.balancer, 10, GET);
    view.until_logged(bad.addr, "is taken out for");
    let asked =
        || bad.requests().iter().filter(|request| request.request_line() == "HEAD / HTTP/1.1").count();
    eventually("checks ask for a reply, again and again", || asked() >= 22); // 50 ms each: more than a second
    assert_eq!(view.state(bad.addr), "down", "its time has long been over, but it does not reply");
    let before = view.tries(bad.addr);
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    assert_eq!(view.tries(bad.addr), before);
    mood.set(Mood::Fine);
    view.until_logged(bad.addr, "is back in rotation: status 200");
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    assert_eq!(view.tries(bad.addr), before + 5, "it gets its share");
}

#[test]
fn with_checks_an_unreachable_backend_returns_when_it_accepts_connections() {
    let (port, good) = (dead_port(), Recorder::hello("good"));
    let flags = ["--health-interval=50ms", "--fail-timeout=60s", "--fall=1000"];
    let view = View::of(&[port.addr, good.addr], &flags);
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    view.assert_logged(port.addr, "is taken out for 60.0 s", 1);
    let _alive = demo_at(&port, "back");
    view.until_logged(port.addr, "is");
    eventually("it returns a minute early", || view.state(port.addr) == "up");
    let served = || view.balancer.get("/").text().contains("back");
    assert!(served() || served(), "it gets its turn");
}

#[test]
fn a_backup_serves_while_the_only_other_backend_is_on_trial() {
    let (bad, mood) = moody("bad");
    let spare = Recorder::hello("spare");
    let flags = ["--health=off", "--fail-timeout=1s", "--reply-head-timeout=250ms"];
    let view = View::with_roles(&[(bad.addr, ""), (spare.addr, ",backup")], &flags);
    mood.set(Mood::Mute);
    assert_eq!(statuses_of(&view.balancer, 4, GET), [504, 504, 504, 200]);
    mood.forget_most();
    thread::scope(|scope| {
        let asked = || {
            let mut client = view.balancer.client();
            // Until the trial has failed.
            while view.logged(bad.addr, "is taken out") < 2 {
                client.request(GET);
            }
        };
        (0..8).for_each(|_| _ = scope.spawn(asked));
    });
    assert_eq!(mood.most_waiting(), 1, "one request at a time tried it, the others went to the backup");
}

#[test]
fn requests_sent_before_an_ejection_do_not_count_after_it() {
    let (bad, mood) = moody("bad");
    let good = Recorder::hello("good");
    let flags = ["--health-interval=20ms", "--rise=1", "--reply-head-timeout=1500ms", "--fail-timeout=60s"];
    let view = View::of(&[bad.addr, good.addr], &flags);
    mood.set(Mood::Lost); // requests that arrive now never get a reply
    let six = || {
        [(); 6].map(|()| {
            thread::spawn({
                let addr = view.balancer.addr;
                move || get(addr, "/").status
            })
        })
    };
    let first = six();
    eventually("half of them wait", || mood.waiting() == 3);
    thread::sleep(Duration::from_millis(600)); // the others come later and time out later
    let second = six();
    eventually("half of those wait as well", || mood.waiting() == 6);
    view.until_logged(bad.addr, "is taken out");
    mood.set(Mood::Fine);
    view.until_logged(bad.addr, "is back");
    let all = first.into_iter().chain(second);
    let mut statuses: Vec<_> = all.map(|client| client.join().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 6], [504; 6]].concat());
    view.assert_logged(bad.addr, "is taken out", 1);
}

#[test]
fn a_single_client_gets_a_hanging_backend_ejected() {
    let (silent, good) = (Recorder::silent(), Recorder::hello("good"));
    // As with the defaults, the reply timeout exceeds the fail timeout.
    let flags = ["--health-interval=60s", "--reply-head-timeout=300ms", "--fail-timeout=100ms"];
    let view = View::of(&[silent.addr, good.addr], &flags);
    let _ = statuses_of(&view.balancer, 20, GET);
    view.assert_logged(silent.addr, "is taken out", 1);
}

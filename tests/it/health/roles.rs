//! Backups, and slow start.

use super::view::View;
use super::{demo_at, statuses_of};
use crate::backend::Recorder;
use crate::bed::{dead_port, eventually};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn backups_serve_while_no_other_backend_is_usable() {
    let (port, spare) = (dead_port(), Recorder::hello("spare"));
    let mut main = Some(demo_at(&port, "main"));
    let flags = ["--health-interval=30ms"];
    let view = View::with_roles(&[(port.addr, ""), (spare.addr, ",backup")], &flags);
    let served_by = || view.balancer.get("/").text().trim_end().to_owned();
    for round in 0..2 {
        assert!((0..10).all(|_| served_by().ends_with("main")), "round {round}");
        drop(main.take());
        assert!((0..10).all(|_| served_by() == "spare"), "no request fails, checked or not");
        view.until(port.addr, "down");
        let tries = view.tries(port.addr);
        assert!((0..10).all(|_| served_by() == "spare"));
        assert_eq!(view.tries(port.addr), tries, "it gets no request");
        main = Some(demo_at(&port, "main"));
        view.until(port.addr, "up");
    }
    assert!((0..10).all(|_| served_by().ends_with("main")));
    assert_eq!(view.report(spare.addr)["backup"], true);
    assert_eq!(view.report(spare.addr)["failures"], 0);
}

#[test]
fn two_backups_share_the_requests() {
    let (port, spares) = (dead_port(), [Recorder::hello("one"), Recorder::hello("other")]);
    let backends = [(port.addr, ""), (spares[0].addr, ",backup"), (spares[1].addr, ",backup")];
    let view = View::with_roles(&backends, &["--health-interval=20ms", "--max-fails=0"]);
    view.until(port.addr, "down");
    let before = spares.each_ref().map(|spare| spare.requests().len());
    assert_eq!(statuses_of(&view.balancer, 10, GET), [200; 10]);
    let after = spares.each_ref().map(|spare| spare.requests().len());
    assert_eq!([after[0] - before[0], after[1] - before[1]], [5, 5]);
}

#[test]
fn a_backend_that_returns_regains_its_share_slowly() {
    const RAMP: Duration = Duration::from_secs(3);
    let (port, steady) = (dead_port(), Recorder::hello("steady"));
    let flags = ["--strategy=weighted-round-robin", "--slow-start=3s", "--health-interval=30ms"];
    let view = View::of(&[port.addr, steady.addr], &flags);
    view.until(port.addr, "down");
    let _back = demo_at(&port, "back");
    let mut client = view.balancer.client();
    let mut ask = || client.request(GET).text().ends_with("back\n");
    eventually("it gets requests again", &mut ask);
    let (began, mut replies) = (Instant::now(), Vec::new());
    while began.elapsed() < RAMP + RAMP / 2 {
        replies.push((began.elapsed(), ask()));
        std::thread::sleep(Duration::from_millis(1)); // no need to use up the machine
    }
    let share = |from: Duration, to: Duration| {
        let within = replies.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, back)| *back);
        let (all, own) = within.fold((0_u32, 0_u32), |(all, own), back| (all + 1, own + u32::from(back)));
        assert!(all >= 25, "the machine stood still: {all} requests from {from:?} to {to:?}");
        f64::from(own) / f64::from(all)
    };
    // A weight from 0.1 to 1 beside one of 1.
    let [first, second, third] = [0, 1, 2].map(|part| share(RAMP * part / 3, RAMP * (part + 1) / 3));
    let afterwards = share(RAMP, RAMP * 2);
    let all = format!("{first:.2}, {second:.2}, {third:.2}, then {afterwards:.2}");
    assert!(first < second && second < third && third < afterwards + 0.02, "{all}");
    assert!((0.05..0.28).contains(&first) && (0.47..0.53).contains(&afterwards), "{all}");
}

#[test]
fn a_backend_present_from_the_start_has_no_slow_start() {
    let (one, other) = (Recorder::hello("one"), Recorder::hello("other"));
    let flags = ["--strategy=weighted-round-robin", "--slow-start=1h", "--health-interval=20ms"];
    let view = View::with_roles(&[(one.addr, ",weight=3"), (other.addr, "")], &flags);
    let get = |count| statuses_of(&view.balancer, count, GET).iter().all(|status| *status == 200);
    assert!(get(20));
    view.until(one.addr, "up");
    view.until(other.addr, "up");
    assert!(get(20));
    assert_eq!([one.addr, other.addr].map(|addr| view.tries(addr)), [30, 10]);
}

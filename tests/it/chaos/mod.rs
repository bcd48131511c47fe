//! Backends die, freeze, hang and come back under load.

mod heavy;
mod hostile;
mod once;

use crate::bed::{Client, DeadPort, Reply, dead_port, eventually};
use crate::health::view::View;
use crate::health::{Mood, demo_at, moody};
use crate::watch::{is_stopped, mind_the_clock};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const CROWD: usize = 64;

/// The pause of a client between requests, so that the clients do not use all of the processor time.
const THOUGHT: Duration = Duration::from_millis(20);

const FLAGS: [&str; 4] =
    ["--health-interval=100ms", "--health-timeout=200ms", "--reply-head-timeout=1s", "--fail-timeout=1s"];

/// The longest time until two checks have succeeded, with an interval of 100 ms, give or take a tenth.
const RISE: Duration = Duration::from_millis(220);

/// The delay that a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);

/// The outcome of one request.
#[derive(Clone, Debug)]
struct Outcome {
    /// The number of the client.
    client: usize,
    began: Instant,
    took: Duration,
    /// 0 if there was no reply.
    status: u16,
    body: String,
}

impl Outcome {
    fn is_served_by(&self, name: &str) -> bool {
        self.status == 200 && self.body.split_whitespace().last() == Some(name)
    }

    fn ended(&self) -> Instant {
        self.began + self.took
    }
}

/// Clients that send requests repeatedly, each over one connection.
pub struct Crowd {
    began: Instant,
    leaving: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    clients: Vec<JoinHandle<()>>,
    clock: Option<JoinHandle<Duration>>,
}

impl Crowd {
    pub fn of(addr: SocketAddr, size: usize) -> Self {
        let (leaving, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let began = Instant::now();
        let client = |number| {
            let (leaving, outcomes) = (Arc::clone(&leaving), Arc::clone(&outcomes));
            thread::spawn(move || send_requests(addr, number, &leaving, &outcomes))
        };
        let clients = (0..size).map(client).collect();
        let own = Arc::clone(&leaving);
        let clock = Some(thread::spawn(move || mind_the_clock(&own)));
        Crowd { began, leaving, outcomes, clients, clock }
    }

    /// Returns the outcomes so far, in the order of the replies.
    fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().clone()
    }

    /// Waits for this number of matching outcomes of requests sent after that time.
    #[track_caller]
    fn until(&self, what: &str, count: usize, after: Instant, matches: impl Fn(&Outcome) -> bool) {
        let outcomes = || {
            let all = self.outcomes.lock().unwrap();
            all.iter().filter(|one| one.began >= after && matches(one)).count()
        };
        eventually(what, || outcomes() >= count);
    }

    /// Waits until each of these has served this number of the requests sent after that time.
    #[track_caller]
    fn until_served_by(&self, names: &[&str], count: usize, after: Instant) {
        for name in names {
            self.until(&format!("{name} serves"), count, after, |one| one.is_served_by(name));
        }
    }

    /// Waits until each client has been served several times and each of these backends serves.
    #[track_caller]
    fn until_all_served(&self, names: &[&str]) {
        for number in 0..self.clients.len() {
            self.until("every client is served", 5, self.began, |one| {
                one.client == number && one.status == 200
            });
        }
        self.until_served_by(names, 50, Instant::now());
    }

    /// Stops the clients. Returns all outcomes, and the longest time for which the machine stood still.
    fn stop_and_collect(mut self) -> (Vec<Outcome>, Duration) {
        self.leaving.store(true, SeqCst);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        let late = self.clock.take().unwrap().join().unwrap();
        (self.outcomes(), late)
    }

    /// Stops the clients.
    pub fn stop(self) {
        self.stop_and_collect();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.leaving.store(true, SeqCst);
        self.clients.drain(..).for_each(|client| _ = client.join()); // a failed client has already failed the test
    }
}

fn send_requests(addr: SocketAddr, number: usize, leaving: &AtomicBool, outcomes: &Mutex<Vec<Outcome>>) {
    let mut client = Client::connect(addr);
    while !leaving.load(SeqCst) {
        let began = Instant::now();
        client.send(GET);
        let reply = client.try_read_reply();
        let took = began.elapsed();
        let reply = reply.unwrap_or_else(|error| {
            client = Client::connect(addr);
            Reply { body: error.to_string().into(), ..Reply::default() }
        });
        let body = String::from_utf8(reply.body).unwrap();
        outcomes.lock().unwrap().push(Outcome { client: number, began, took, status: reply.status, body });
        thread::sleep(THOUGHT);
    }
}

/// Asserts that no request has failed.
#[track_caller]
fn assert_all_ok(outcomes: &[Outcome]) {
    let failed: Vec<_> = outcomes.iter().filter(|one| one.status != 200).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), outcomes.len(), failed[0]);
}

/// Returns the share of the requests sent within this time that it has served.
fn share(outcomes: &[Outcome], name: &str, within: Range<Instant>) -> f64 {
    let served = outcomes.iter().filter(|one| one.status == 200 && within.contains(&one.began));
    let (all, own) =
        served.fold((0_u32, 0_u32), |(all, own), one| (all + 1, own + u32::from(one.is_served_by(name))));
    f64::from(own) / f64::from(all)
}

/// Waits until one of three backends, which returned at that time, serves its third again. Returns how long it served no
/// request.
#[track_caller]
fn returns(crowd: &Crowd, name: &str, since: Instant) -> Duration {
    crowd.until_served_by(&[name], 1, since);
    let first = crowd.outcomes().into_iter().filter(|one| one.began >= since && one.is_served_by(name));
    let back = first.map(|one| one.ended()).min().unwrap();
    crowd.until("several hundred more are served", 600, back, |one| one.status == 200);
    let share = share(&crowd.outcomes(), name, back..Instant::now());
    assert!((0.28..0.39).contains(&share), "its third of the requests, not {share:.3}");
    back - since
}

fn three() -> [DeadPort; 3] {
    [dead_port(), dead_port(), dead_port()]
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn no_client_notices_that_a_backend_is_killed_and_returns() {
    let ports = three();
    let [_a, mut b, _c] = [0, 1, 2].map(|at| Some(demo_at(&ports[at], ["a", "b", "c"][at])));
    let view = View::of(&ports.each_ref().map(|port| port.addr), &FLAGS);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.until_all_served(&["a", "b", "c"]);
    drop(b.take()); // SIGKILL
    let killed = Instant::now();
    view.until(ports[1].addr, "down");
    let found = killed.elapsed();
    crowd.until("the others serve", 500, Instant::now(), |one| !one.is_served_by("b"));
    b = Some(demo_at(&ports[1], "b"));
    let back = returns(&crowd, "b", Instant::now());
    let (outcomes, late) = crowd.stop_and_collect();
    println!("{} served; down after {found:?}, back after {back:?}; late {late:?}", outcomes.len());
    assert_all_ok(&outcomes);
    assert!(back < RISE + SLACK + late, "it was out for {back:?} more");
    view.assert_logged(ports[1].addr, "is taken out", 1);
    drop(b);
}

/// Makes backend b, one of three, hang and recover.
fn hang_and_recover(addrs: [SocketAddr; 3], flags: &[&str], silence: impl Fn(), recover: impl Fn()) {
    let view = View::of(&addrs, flags);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.until_all_served(&["a", "b", "c"]);
    let began = Instant::now();
    silence();
    view.until_logged(addrs[1], "is taken out");
    let out = Instant::now();
    crowd.until("the others serve", 1000, out, |one| one.status == 200);
    let recovered = Instant::now();
    recover();
    let back = returns(&crowd, "b", recovered);
    let (outcomes, late) = crowd.stop_and_collect();
    let failed: Vec<_> = outcomes.iter().filter(|one| one.status != 200).collect();
    let others = outcomes.iter().filter(|one| one.is_served_by("a") || one.is_served_by("c"));
    let during = others.filter(|one| one.ended() > began && one.began < recovered);
    let worst_of_others = during.map(|one| one.took).max().unwrap();
    let worst = outcomes.iter().map(|one| one.took).max().unwrap();
    println!(
        "{} served, {} failed; the others took {worst_of_others:?} at most, all {worst:?}; out after {:?}, back \
         after {back:?}; late {late:?}",
        outcomes.len(),
        failed.len(),
        out - began
    );
    assert!(failed.iter().all(|one| one.status == 504), "{failed:?}");
    assert!(
        failed.iter().all(|one| one.began < out),
        "no request is sent there after its ejection: {failed:?}"
    );
    assert!(failed.len() <= CROWD, "{failed:?}");
    assert!(worst < Duration::from_secs(1) + SLACK + late, "a client waited for {worst:?}");
    assert!(worst_of_others < SLACK + late, "others wait as well: {worst_of_others:?}");
    assert!(back < RISE + SLACK + late, "it was out for {back:?} more");
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_frozen_backend_delays_only_its_own_requests() {
    let ports = three();
    let processes = [0, 1, 2].map(|at| demo_at(&ports[at], ["a", "b", "c"][at]));
    let freeze = || {
        processes[1].signal(libc::SIGSTOP);
        is_stopped(processes[1].pid());
    };
    hang_and_recover(ports.each_ref().map(|port| port.addr), &FLAGS, freeze, || {
        processes[1].signal(libc::SIGCONT)
    });
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_hanging_backend_delays_only_its_own_requests() {
    let [(a, _), (b, mood), (c, _)] = ["a", "b", "c"].map(moody);
    // Its checks do not help: they succeed.
    let silence = || mood.set(Mood::Mute);
    hang_and_recover([a.addr, b.addr, c.addr], &FLAGS, silence, || mood.set(Mood::Fine));
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_backend_that_fails_its_check_gets_no_request() {
    let [(a, _), (b, mood), (c, _)] = ["a", "b", "c"].map(moody);
    let view = View::of(&[a.addr, b.addr, c.addr], &["--health-interval=100ms", "--health-path=/health"]);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.until_all_served(&["a", "b", "c"]);
    mood.set(Mood::Sick);
    let sick = Instant::now();
    view.until(b.addr, "down");
    let down = Instant::now();
    crowd.until("the others serve", 500, down, |one| one.status == 200);
    mood.set(Mood::Fine);
    let back = returns(&crowd, "b", Instant::now());
    let (outcomes, late) = crowd.stop_and_collect();
    println!("down after {:?}, back after {back:?}; late {late:?}", down - sick);
    let mut failed = outcomes.iter().filter(|one| one.status != 200);
    assert!(failed.all(|one| one.status == 500 && one.began < down), "none after it is down");
    assert!(outcomes.iter().any(|one| one.status == 500), "no request failed at all");
    assert!(back < RISE + SLACK + late, "it was out for {back:?} more");
    assert_eq!(view.logged(b.addr, "is taken out"), 0, "its replies are no failures");
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_backend_that_replies_500_and_passes_its_check_stays() {
    let [(a, _), (b, mood), (c, _)] = ["a", "b", "c"].map(moody);
    let view = View::of(&[a.addr, b.addr, c.addr], &FLAGS);
    view.until(b.addr, "up");
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    mood.set(Mood::Sick);
    let sick = Instant::now();
    crowd.until("its replies are passed on", 300, sick, |one| one.status == 500);
    assert_eq!(view.state(b.addr), "up");
    let (outcomes, _) = crowd.stop_and_collect();
    let outcomes: Vec<_> = outcomes.iter().filter(|one| one.began >= sick).collect();
    let passed_on = outcomes.iter().filter(|one| one.status == 500).count();
    let share = passed_on as f64 / outcomes.len() as f64;
    assert!((0.28..0.39).contains(&share), "a third, as before, not {share:.3}");
    view.assert_logged(b.addr, "is", 1);
}

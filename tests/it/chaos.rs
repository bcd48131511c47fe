//! Backends die, freeze, fall silent and come back while a crowd is being served.

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

/// How long one of a crowd thinks before it asks again: it is to be a crowd, not to use up the machine.
const THOUGHT: Duration = Duration::from_millis(20);

const FLAGS: [&str; 4] =
    ["--health-interval=100ms", "--health-timeout=200ms", "--reply-head-timeout=1s", "--fail-timeout=1s"];

/// Until two checks have gone well, with an interval of 100 ms, give or take a tenth: the first may be a whole
/// interval away.
const RISE: Duration = Duration::from_millis(220);

/// What a busy machine may add to anything.
const SLACK: Duration = Duration::from_secs(1);

/// What one request has met.
#[derive(Clone, Debug)]
struct Heard {
    /// Whose request it was.
    client: usize,
    began: Instant,
    took: Duration,
    /// 0 if there was no reply.
    status: u16,
    body: String,
}

impl Heard {
    fn is_by(&self, name: &str) -> bool {
        self.status == 200 && self.body.split_whitespace().last() == Some(name)
    }

    fn ended(&self) -> Instant {
        self.began + self.took
    }
}

/// Clients that ask again and again, each over one connection.
pub struct Crowd {
    began: Instant,
    leaving: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
    clients: Vec<JoinHandle<()>>,
    clock: Option<JoinHandle<Duration>>,
}

impl Crowd {
    pub fn of(addr: SocketAddr, size: usize) -> Self {
        let (leaving, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let began = Instant::now();
        let client = |number| {
            let (leaving, heard) = (Arc::clone(&leaving), Arc::clone(&heard));
            thread::spawn(move || ask_on(addr, number, &leaving, &heard))
        };
        let clients = (0..size).map(client).collect();
        let own = Arc::clone(&leaving);
        let clock = Some(thread::spawn(move || mind_the_clock(&own)));
        Crowd { began, leaving, heard, clients, clock }
    }

    /// What has been heard so far, in the order of the replies.
    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this has been heard so often, by those who began to ask after that moment.
    #[track_caller]
    fn until(&self, what: &str, count: usize, after: Instant, is_it: impl Fn(&Heard) -> bool) {
        let heard = || {
            let all = self.heard.lock().unwrap();
            all.iter().filter(|one| one.began >= after && is_it(one)).count()
        };
        eventually(what, || heard() >= count);
    }

    /// Waits until each of these has served so many of those who began to ask after that moment.
    #[track_caller]
    fn until_served_by(&self, names: &[&str], count: usize, after: Instant) {
        for name in names {
            self.until(&format!("{name} serves"), count, after, |one| one.is_by(name));
        }
    }

    /// Waits until everybody is connected, which takes its time, and each of these serves.
    #[track_caller]
    fn settles(&self, names: &[&str]) {
        for number in 0..self.clients.len() {
            self.until("everybody is served", 5, self.began, |one| one.client == number && one.status == 200);
        }
        self.until_served_by(names, 50, Instant::now());
    }

    /// It asks no more. Says all that was heard, and for how long the machine stood still at most.
    fn gone(mut self) -> (Vec<Heard>, Duration) {
        self.leaving.store(true, SeqCst);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        let late = self.clock.take().unwrap().join().unwrap();
        (self.heard(), late)
    }

    /// It asks no more.
    pub fn leave(self) {
        self.gone();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.leaving.store(true, SeqCst);
        self.clients.drain(..).for_each(|client| _ = client.join()); // how it fared does not matter any more
    }
}

fn ask_on(addr: SocketAddr, number: usize, leaving: &AtomicBool, heard: &Mutex<Vec<Heard>>) {
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
        heard.lock().unwrap().push(Heard { client: number, began, took, status: reply.status, body });
        thread::sleep(THOUGHT);
    }
}

/// Asserts that none has failed.
#[track_caller]
fn all_went_well(heard: &[Heard]) {
    let failed: Vec<_> = heard.iter().filter(|one| one.status != 200).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), heard.len(), failed[0]);
}

/// The part of those who began within this time whom it has served.
fn share(heard: &[Heard], name: &str, within: Range<Instant>) -> f64 {
    let served = heard.iter().filter(|one| one.status == 200 && within.contains(&one.began));
    let (all, own) =
        served.fold((0_u32, 0_u32), |(all, own), one| (all + 1, own + u32::from(one.is_by(name))));
    f64::from(own) / f64::from(all)
}

/// One of three is back since then: waits until it has its third again, and says how long it was not heard of.
#[track_caller]
fn returns(crowd: &Crowd, name: &str, since: Instant) -> Duration {
    crowd.until_served_by(&[name], 1, since);
    let first = crowd.heard().into_iter().filter(|one| one.began >= since && one.is_by(name));
    let back = first.map(|one| one.ended()).min().unwrap();
    crowd.until("some hundred more are served", 600, back, |one| one.status == 200);
    let share = share(&crowd.heard(), name, back..Instant::now());
    assert!((0.28..0.39).contains(&share), "its third of the requests, not {share:.3}");
    back - since
}

fn three() -> [DeadPort; 3] {
    [dead_port(), dead_port(), dead_port()]
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn nobody_notices_that_a_backend_is_killed_and_comes_back() {
    let ports = three();
    let [_a, mut b, _c] = [0, 1, 2].map(|at| Some(demo_at(&ports[at], ["a", "b", "c"][at])));
    let view = View::of(&ports.each_ref().map(|port| port.addr), &FLAGS);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.settles(&["a", "b", "c"]);
    drop(b.take()); // SIGKILL
    let killed = Instant::now();
    view.until(ports[1].addr, "down");
    let found = killed.elapsed();
    crowd.until("the others serve", 500, Instant::now(), |one| !one.is_by("b"));
    b = Some(demo_at(&ports[1], "b"));
    let back = returns(&crowd, "b", Instant::now());
    let (heard, late) = crowd.gone();
    println!("{} served; down after {found:?}, back after {back:?}; late {late:?}", heard.len());
    all_went_well(&heard);
    assert!(back < RISE + SLACK + late, "it was away for {back:?} more");
    view.has_told(ports[1].addr, "is taken out", 1);
    drop(b);
}

/// One of three, called b, falls silent and recovers.
fn goes_silent(addrs: [SocketAddr; 3], flags: &[&str], silence: impl Fn(), recover: impl Fn()) {
    let view = View::of(&addrs, flags);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.settles(&["a", "b", "c"]);
    let began = Instant::now();
    silence();
    view.until_told(addrs[1], "is taken out");
    let out = Instant::now();
    crowd.until("the others serve", 1000, out, |one| one.status == 200);
    let recovered = Instant::now();
    recover();
    let back = returns(&crowd, "b", recovered);
    let (heard, late) = crowd.gone();
    let failed: Vec<_> = heard.iter().filter(|one| one.status != 200).collect();
    let others = heard.iter().filter(|one| one.is_by("a") || one.is_by("c"));
    let during = others.filter(|one| one.ended() > began && one.began < recovered);
    let worst_of_others = during.map(|one| one.took).max().unwrap();
    let worst = heard.iter().map(|one| one.took).max().unwrap();
    println!(
        "{} served, {} failed; the others took {worst_of_others:?} at most, anybody {worst:?}; out after {:?}, back \
         after {back:?}; late {late:?}",
        heard.len(),
        failed.len(),
        out - began
    );
    assert!(failed.iter().all(|one| one.status == 504), "{failed:?}");
    assert!(failed.iter().all(|one| one.began < out), "none is sent there once it is out: {failed:?}");
    assert!(failed.len() <= CROWD, "{failed:?}");
    assert!(worst < Duration::from_secs(1) + SLACK + late, "somebody has waited for {worst:?}");
    assert!(worst_of_others < SLACK + late, "others wait, too: {worst_of_others:?}");
    assert!(back < RISE + SLACK + late, "it was away for {back:?} more");
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_frozen_backend_holds_up_nobody_but_those_it_has() {
    let ports = three();
    let lives = [0, 1, 2].map(|at| demo_at(&ports[at], ["a", "b", "c"][at]));
    let freeze = || {
        lives[1].signal(libc::SIGSTOP);
        is_stopped(lives[1].pid());
    };
    goes_silent(ports.each_ref().map(|port| port.addr), &FLAGS, freeze, || lives[1].signal(libc::SIGCONT));
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_mute_backend_holds_up_nobody_but_those_it_has() {
    let [(a, _), (b, mood), (c, _)] = ["a", "b", "c"].map(moody);
    // Checks could be of no help: they are told that all is well.
    let silence = || mood.set(Mood::Mute);
    goes_silent([a.addr, b.addr, c.addr], &FLAGS, silence, || mood.set(Mood::Fine));
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn a_backend_that_fails_its_check_serves_nobody() {
    let [(a, _), (b, mood), (c, _)] = ["a", "b", "c"].map(moody);
    let view = View::of(&[a.addr, b.addr, c.addr], &["--health-interval=100ms", "--health-path=/health"]);
    let crowd = Crowd::of(view.balancer.addr, CROWD);
    crowd.settles(&["a", "b", "c"]);
    mood.set(Mood::Sick);
    let sick = Instant::now();
    view.until(b.addr, "down");
    let down = Instant::now();
    crowd.until("the others serve", 500, down, |one| one.status == 200);
    mood.set(Mood::Fine);
    let back = returns(&crowd, "b", Instant::now());
    let (heard, late) = crowd.gone();
    println!("down after {:?}, back after {back:?}; late {late:?}", down - sick);
    let mut failed = heard.iter().filter(|one| one.status != 200);
    assert!(failed.all(|one| one.status == 500 && one.began < down), "none once it is down");
    assert!(heard.iter().any(|one| one.status == 500), "it was in earnest");
    assert!(back < RISE + SLACK + late, "it was away for {back:?} more");
    assert_eq!(view.told(b.addr, "is taken out"), 0, "what it says is a reply");
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
    let (heard, _) = crowd.gone();
    let heard: Vec<_> = heard.iter().filter(|one| one.began >= sick).collect();
    let passed_on = heard.iter().filter(|one| one.status == 500).count();
    let share = passed_on as f64 / heard.len() as f64;
    assert!((0.28..0.39).contains(&share), "a third, as before, not {share:.3}");
    view.has_told(b.addr, "is", 1);
}

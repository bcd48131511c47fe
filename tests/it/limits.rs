//! The limit on requests in flight to one backend, what happens when all backends are at it, and the retry budget.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, dead_port, eventually};
use crate::pool::{ask_all, dammed};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend with a short delay for each request, and the highest number of requests that it has had at a time.
fn counting() -> (Recorder, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            highest.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::sleep(Duration::from_millis(3));
            now.fetch_sub(1, SeqCst);
            conversation.send(OK);
        }
    });
    (backend, most)
}

/// Requests of each client.
const REQUESTS: usize = 4;

fn many_ask(clients: usize, requests: usize, addr: SocketAddr) {
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(addr);
                (0..requests).for_each(|_| assert_eq!(client.request(GET).status, 200));
            });
        }
    });
}

#[test]
fn serves_all_requests_without_exceeding_a_backends_limit() {
    for strategy in ["round-robin", "least-connections", "client-hash"] {
        let backends = [counting(), counting()];
        let addrs = backends.each_ref().map(|(backend, _)| backend.addr);
        let flags = ["--max-in-flight=3", "--queue-timeout=60s", &format!("--strategy={strategy}")];
        let balancer = Balancer::serve(&addrs, &flags);
        many_ask(64, REQUESTS, balancer.addr);
        let most = backends.each_ref().map(|(_, most)| most.load(SeqCst));
        assert_eq!(most, [3, 3], "{strategy}: neither more nor less");
        let requests = backends.each_ref().map(|(backend, _)| backend.requests().len());
        assert_eq!(requests.iter().sum::<usize>(), 64 * REQUESTS, "{strategy}");
    }
}

#[test]
fn limits_a_hanging_backend_to_three_quarters_of_the_workers() {
    let ((frozen, dam), fine) = (dammed(), Recorder::hello("fine"));
    let flags = [ADMIN, "--workers=8", "--health=off"];
    let balancer = Balancer::serve(&[frozen.addr, fine.addr], &flags);
    let mut stuck = Vec::new();
    eventually("the frozen backend is at its limit", || {
        stuck.extend(ask_all(balancer.addr, 1));
        dam.held.load(SeqCst) == 6
    });
    let began = Instant::now();
    let mut client = balancer.client();
    for _ in 0..40 {
        assert_eq!(client.request(GET).text(), "fine");
    }
    let took = began.elapsed();
    println!("40 requests beside one that hangs: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(dam.most.load(SeqCst), 6);
    assert_eq!(AdminClient::of(&balancer).backend(frozen.addr)["max_in_flight"], 6);
    dam.open.store(true, SeqCst);
    stuck.iter_mut().for_each(|client| assert_eq!(client.read_reply().status, 200));
}

#[test]
fn gives_the_only_backend_all_workers_until_another_joins() {
    let ((only, dam), other) = (dammed(), Recorder::hello("other"));
    let balancer = Balancer::serve(&[only.addr], &[ADMIN, "--workers=8"]);
    let mut clients = ask_all(balancer.addr, 8);
    eventually("the backend has all requests", || dam.held.load(SeqCst) == 8);
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    let operator = AdminClient::of(&balancer);
    let most = || operator.backend(only.addr)["max_in_flight"].clone();
    assert_eq!(most(), 8);
    operator.add(other.addr);
    assert_eq!(most(), 6);
    operator.remove(other.addr);
    assert_eq!(most(), 8);
}

/// Returns whether all threads of a process sleep, and how often they have gone to sleep altogether.
fn threads(pid: u32) -> Option<(bool, u64)> {
    let (mut asleep, mut switches) = (true, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        asleep &= value("State:")?.starts_with('S');
        for key in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            switches += value(key)?.parse::<u64>().unwrap();
        }
    }
    Some((asleep, switches))
}

/// Waits until the process is idle, so that what was sent is fully processed: all threads sleep at two checks in a
/// row, and none has run between them.
pub fn wait_until_at_rest(balancer: &Balancer) {
    let mut last = None;
    eventually("the process is idle", || {
        let now = threads(balancer.pid()).filter(|(asleep, _)| *asleep);
        let same = now.is_some() && now == last;
        last = now;
        same
    });
}

#[test]
fn serves_waiting_requests_in_order_when_all_backends_are_full() {
    let (frozen, dam) = dammed();
    let flags = ["--workers=8", "--max-in-flight=1", "--queue-timeout=60s", "--health=off"];
    let balancer = Balancer::serve(&[frozen.addr], &flags);
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut client = balancer.client();
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
        wait_until_at_rest(&balancer);
        clients.push(client);
    }
    assert_eq!(frozen.only_request().target(), "/0");
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    let order: Vec<_> = frozen.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    assert_eq!(dam.most.load(SeqCst), 1);
}

#[test]
fn refuses_a_request_that_waits_too_long_for_a_backend() {
    let backends = [dammed(), dammed()];
    let addrs = backends.each_ref().map(|(backend, _)| backend.addr);
    let balancer = Balancer::serve(&addrs, &["--max-in-flight=1", "--queue-timeout=300ms"]);
    let mut stuck = ask_all(balancer.addr, 2);
    eventually("both are full", || backends.iter().all(|(_, dam)| dam.held.load(SeqCst) == 1));
    let began = Instant::now();
    let refused = balancer.get("/");
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    assert!(refused.text().contains("every server is busy"), "{}", refused.text());
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    for (backend, dam) in &backends {
        assert_eq!(backend.requests().len(), 1, "the refused request has reached no backend");
        dam.open.store(true, SeqCst);
    }
    stuck.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    assert_eq!(balancer.get("/").text(), "ok");
}

/// Returns how many tries `requests` requests cause with `backends` backends that break every connection.
fn tries_of(requests: usize, backends: usize, flags: &[&str]) -> usize {
    let breaking = |_| Recorder::new(|conversation| _ = conversation.read_request());
    let backends: Vec<_> = (0..backends).map(breaking).collect();
    let addrs: Vec<_> = backends.iter().map(|backend| backend.addr).collect();
    let balancer = Balancer::serve(&addrs, &[&["--max-fails=0", "--health=off"], flags].concat());
    let mut client = balancer.client();
    for _ in 0..requests {
        assert_eq!(client.request(GET).status, 502);
    }
    backends.iter().map(|backend| backend.requests().len()).sum()
}

#[test]
fn keeps_retries_within_their_budget() {
    assert_eq!(tries_of(100, 3, &["--retry-budget=0", "--retry-floor=0"]), 100, "no retry");
    assert_eq!(tries_of(100, 3, &["--retry-budget=1000"]), 300, "every possible retry");
    let began = Instant::now();
    let tries = tries_of(300, 3, &["--retry-budget=10", "--retry-floor=1"]);
    // Each window of ten seconds has a budget of its own; a fast machine needs one window.
    let windows = 1 + began.elapsed().as_secs() as usize / 10;
    println!("300 requests, {tries} tries");
    assert!((330..=300 + 30 * windows).contains(&tries), "{tries} in {windows}");
}

/// At a low rate the budget's floor applies: 100 retries within ten seconds.
#[test]
fn spends_no_budget_on_a_retry_that_is_not_made() {
    assert_eq!(tries_of(50, 3, &[]), 150, "all 100 retries are used");
    assert_eq!(tries_of(50, 3, &["--retries=1"]), 100);
    assert_eq!(tries_of(90, 2, &[]), 180, "no backend is left after two");
    assert_eq!(tries_of(120, 1, &[]), 120);
}

#[test]
fn spends_no_budget_on_a_refused_connection() {
    let (dead, alive) = ([dead_port(), dead_port()], Recorder::hello("alive"));
    let flags = ["--retry-budget=0", "--retry-floor=0", "--max-fails=0", "--health=off"];
    let balancer = Balancer::serve(&[dead[0].addr, dead[1].addr, alive.addr], &flags);
    let mut client = balancer.client();
    for _ in 0..30 {
        assert_eq!(client.request(GET).text(), "alive");
    }
}

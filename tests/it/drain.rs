//! Draining a backend: it finishes its requests and gets no new ones.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, eventually};
use crate::limits::wait_until_at_rest;
use crate::pool::{Dam, ask_all, dammed};
use crate::steady_load::SteadyLoad;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

fn serve(addrs: &[SocketAddr], flags: &[&str]) -> (Balancer, AdminClient) {
    let balancer = Balancer::serve(addrs, &[&[ADMIN], flags].concat());
    let operator = AdminClient::of(&balancer);
    (balancer, operator)
}

#[test]
fn draining_under_load_fails_no_request_and_the_drained_backend_stays_idle() {
    let backends = [Recorder::hello("0"), Recorder::hello("1"), Recorder::hello("2")];
    let (balancer, operator) = serve(&backends.each_ref().map(|backend| backend.addr), &[]);
    let crowd = SteadyLoad::of(64, balancer.addr);
    for backend in &backends {
        crowd.go_on_for(200);
        operator.drain(backend.addr);
        assert_eq!(operator.backend(backend.addr)["state"], "draining");
        eventually("the drained backend is idle", || operator.backend(backend.addr)["idle"] == true);
        let before = backend.requests().len();
        crowd.go_on_for(500);
        assert_eq!(backend.requests().len(), before, "the drained backend got a request");
        assert_eq!(operator.backend(backend.addr)["idle"], true);
        operator.resume(backend.addr);
        eventually("the resumed backend gets requests", || backend.requests().len() > before + 10);
    }
    let served = crowd.finish();
    assert_eq!(backends.iter().map(|backend| backend.requests().len()).sum::<usize>(), served);
}

#[test]
fn every_strategy_skips_a_draining_backend() {
    for strategy in ["weighted-round-robin", "least-connections", "power-of-two", "client-hash"] {
        let backends = [Recorder::hello("0"), Recorder::hello("1")];
        let flag = format!("--strategy={strategy}");
        let (balancer, operator) = serve(&backends.each_ref().map(|backend| backend.addr), &[&flag]);
        for (at, other) in [(0, "1"), (1, "0")] {
            operator.drain(backends[at].addr);
            (0..10).for_each(|_| assert_eq!(balancer.get("/").text(), other, "{strategy}"));
            operator.resume(backends[at].addr);
        }
    }
}

#[test]
fn a_draining_backend_is_idle_only_after_its_last_request() {
    let (backend, dam) = dammed();
    let (balancer, operator) = serve(&[backend.addr], &[]);
    let mut clients = ask_all(balancer.addr, 2);
    eventually("the backend holds both requests", || dam.held.load(SeqCst) == 2);
    for _ in 0..2 {
        operator.drain(backend.addr); // draining twice has no further effect
        let seen = operator.backend(backend.addr);
        assert_eq!((&seen["in_flight"], &seen["idle"]), (&json!(2), &json!(false)), "{seen}");
    }
    assert_eq!(balancer.get("/").status, 503, "a request without a usable backend");
    assert_eq!(operator.backend(backend.addr)["idle"], false);
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    eventually("the backend is idle", || operator.backend(backend.addr)["idle"] == true);
    eventually("the balancer logs it", || balancer.stderr().contains("is drained: no request is in flight"));
    assert_eq!(operator.backend(backend.addr)["state"], "draining");
    operator.resume(backend.addr);
    assert_ne!(operator.backend(backend.addr)["state"], "draining");
    assert_eq!(balancer.get("/").text(), "ok");
}

#[test]
fn a_backend_is_not_idle_while_a_reply_is_incomplete() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
            while !gate.load(SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
            conversation.send("lf");
        }
    });
    let (balancer, operator) = serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.take(2).unwrap(), b"ha");
    operator.drain(backend.addr);
    (0..20).for_each(|_| assert_eq!(operator.backend(backend.addr)["idle"], false));
    open.store(true, SeqCst);
    assert_eq!(client.take(2).unwrap(), b"lf");
    eventually("the backend is idle", || operator.backend(backend.addr)["idle"] == true);
}

type Dammed = (Recorder, Arc<Dam>);

/// Starts two backends at their limit of one request each, and sends a third request, which waits.
fn one_waits() -> (Balancer, AdminClient, [Dammed; 2], Vec<Client>) {
    let backends = [dammed(), dammed()];
    let addrs = backends.each_ref().map(|(backend, _)| backend.addr);
    let (balancer, operator) =
        serve(&addrs, &["--max-in-flight=1", "--queue-timeout=60s", "--health=off", "--workers=4"]);
    let mut clients = ask_all(balancer.addr, 2);
    eventually("both backends are at their limit", || {
        backends.iter().all(|(_, dam)| dam.held.load(SeqCst) == 1)
    });
    clients.extend(ask_all(balancer.addr, 1));
    wait_until_at_rest(&balancer);
    (balancer, operator, backends, clients)
}

#[test]
fn a_request_that_waits_for_a_draining_backend_gets_another() {
    let (_balancer, operator, backends, mut clients) = one_waits();
    let [(first, first_dam), (second, second_dam)] = &backends;
    operator.drain(first.addr);
    first_dam.open.store(true, SeqCst);
    eventually("the first backend is idle", || operator.backend(first.addr)["idle"] == true);
    second_dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
    assert_eq!([first.requests().len(), second.requests().len()], [1, 2]);
}

#[test]
fn a_waiting_request_is_refused_at_once_when_the_last_backend_drains() {
    let (_balancer, operator, backends, mut clients) = one_waits();
    backends.iter().for_each(|(backend, _)| operator.drain(backend.addr));
    let refused = clients.pop().unwrap().read_reply();
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    backends.iter().for_each(|(_, dam)| dam.open.store(true, SeqCst));
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "ok"));
}

#[test]
fn a_request_that_waits_for_a_draining_backend_gets_one_added_later() {
    let ((full, dam), fresh) = (dammed(), Recorder::hello("fresh"));
    let flags = ["--max-in-flight=1", "--queue-timeout=60s", "--health=off", "--workers=4"];
    let (balancer, operator) = serve(&[full.addr], &flags);
    let mut held = ask_all(balancer.addr, 1);
    eventually("the first backend is at its limit", || dam.held.load(SeqCst) == 1);
    let mut waiting = ask_all(balancer.addr, 3);
    wait_until_at_rest(&balancer);
    operator.add(fresh.addr);
    operator.drain(full.addr);
    waiting.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "fresh"));
    dam.open.store(true, SeqCst);
    assert_eq!(held[0].read_reply().text(), "ok");
}

//! Concurrent and hostile use of the admin listener, under traffic: operators whose changes conflict, and floods.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, eventually};
use crate::config_file::{ConfigFile, backends_line};
use crate::steady_load::SteadyLoad;
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// Returns whether the status is right for the request `line` when other operators make changes at the same time.
fn is_expected(line: &str, status: u16) -> bool {
    match line.split(' ').next().unwrap() {
        "DELETE" => [200, 404].contains(&status),
        "POST" if line.ends_with("/backends") => [201, 409].contains(&status),
        "POST" if line.ends_with("/reload") => status == 200,
        _ => [200, 404].contains(&status),
    }
}

#[test]
fn conflicting_changes_disturb_no_client_and_a_reload_restores_the_file() {
    let backends = ["0", "1", "2", "3"].map(Recorder::hello);
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let texts = [backends_line(&addrs[..2]), backends_line(&addrs[..3])];
    let file = ConfigFile::new(&texts[0]);
    let (balancer, operator) = file.serve(&["--strategy=weighted-round-robin", "--max-in-flight=8"]);
    let crowd = SteadyLoad::of(32, balancer.addr);
    thread::scope(|scope| {
        for hand in 0..8 {
            scope.spawn(move || {
                let dice = rolls(hand);
                for roll in dice.take(60) {
                    // The first backend is not changed, so that one is always usable.
                    let addr = addrs[1 + roll % 3];
                    let (line, body) = match roll / 3 % 6 {
                        0 => (
                            "POST /api/backends".to_owned(),
                            format!("{{\"url\":\"http://{addr}\",\"weight\":2}}"),
                        ),
                        1 => (format!("DELETE /api/backends/{addr}"), String::new()),
                        2 => (format!("POST /api/backends/{addr}/drain"), String::new()),
                        3 => (format!("POST /api/backends/{addr}/resume"), String::new()),
                        4 => (format!("PUT /api/backends/{addr}/weight"), "{\"weight\":7}".to_owned()),
                        _ => ("POST /api/reload".to_owned(), String::new()),
                    };
                    let (status, said) = operator.tell(&line, &body);
                    assert!(is_expected(&line, status), "{line}: {status} {said}");
                }
            });
        }
        for turn in 0..30 {
            file.write(&texts[turn % 2]);
            assert_eq!(operator.reload().0, 200);
        }
    });
    crowd.go_on_for(100);
    assert_eq!(operator.reload().0, 200);
    assert_eq!(operator.names(), addrs[..3].iter().map(ToString::to_string).collect::<Vec<_>>());
    addrs[..3].iter().for_each(|addr| operator.resume(*addr));
    let before = backends.each_ref().map(|backend| backend.requests().len());
    crowd.go_on_for(300);
    crowd.finish();
    for (backend, before) in backends[..3].iter().zip(before) {
        assert!(backend.requests().len() > before + 50, "each backend gets its share again");
        let seen = operator.backend(backend.addr);
        assert_eq!((&seen["weight"], &seen["max_in_flight"]), (&json!(1), &json!(8)), "{seen}");
    }
    eventually("no request is in progress", || operator.list().iter().all(|backend| backend["idle"] == true));
}

/// Returns pseudo-random numbers, the same for each run.
fn rolls(seed: usize) -> impl Iterator<Item = usize> {
    let mut state = seed as u64 * 2 + 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    })
}

/// Adds the new backend, drains the old one and removes it: a request that is being routed meanwhile finds one.
#[test]
fn the_only_backend_can_be_replaced_under_load() {
    let backends = ["0", "1"].map(Recorder::hello);
    let [one, other] = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&[one], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    let crowd = SteadyLoad::of(32, balancer.addr);
    let (mut here, mut there) = (one, other);
    for _ in 0..100 {
        operator.add(there);
        operator.drain(here);
        operator.remove(here);
        (here, there) = (there, here);
    }
    crowd.go_on_for(100);
    crowd.finish();
    assert_eq!(operator.names(), [one.to_string()]);
}

#[test]
fn concurrent_removals_leave_the_last_backend() {
    let backends = ["0", "1", "2", "3"].map(Recorder::hello);
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&addrs, &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    for _ in 0..10 {
        let statuses: Vec<_> = thread::scope(|scope| {
            let remove = |addr: SocketAddr| operator.ask(&format!("DELETE /api/backends/{addr}"), "").status;
            let threads: Vec<_> = addrs.iter().map(|addr| scope.spawn(move || remove(*addr))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 1, "{statuses:?}");
        let left = operator.names();
        assert_eq!((left.len(), balancer.get("/").status), (1, 200));
        let gone = addrs.iter().filter(|addr| !left.contains(&addr.to_string()));
        gone.for_each(|addr| operator.add(*addr));
    }
}

#[test]
fn concurrent_additions_add_a_backend_once() {
    let backends = ["0", "1"].map(Recorder::hello);
    let balancer = Balancer::serve(&[backends[0].addr], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    let body = format!("{{\"url\":\"http://{}\"}}", backends[1].addr);
    let add = || operator.ask("POST /api/backends", &body).status;
    let mut statuses: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(add)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 15][..]));
    assert_eq!(operator.names().len(), 2);
}

#[test]
fn works_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return eprintln!("skipped: this machine has no IPv6");
    };
    let (six, four) = (Recorder::hello_on(listener, "six"), Recorder::hello("four"));
    let url = format!("--backend=http://{}", six.addr);
    let args = ["serve", "--listen=[::1]:0", "--admin=[::1]:0", "--sticky=wheel", &url];
    let balancer = Balancer::start(&args);
    let operator = AdminClient::of(&balancer);
    assert!(balancer.addr.is_ipv6() && operator.addr.is_ipv6());
    assert_eq!(balancer.get("/").text(), "six");
    operator.add(four.addr);
    assert_eq!(operator.names(), [six.addr.to_string(), four.addr.to_string()]);
    let encoded = six.addr.to_string().replace('[', "%5B").replace(']', "%5D").replace(':', "%3a");
    operator.done(&format!("POST /api/backends/{encoded}/drain"), "");
    (0..3).for_each(|_| assert_eq!(balancer.get("/").text(), "four"));
    operator.resume(six.addr);
    let asked_by = six.last_request().header("X-Forwarded-For");
    assert_eq!(asked_by.as_deref(), Some("::1"));
    let port = operator.addr.port();
    for (host, status) in [
        (format!("[0:0:0:0:0:0:0:1]:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 403),
        (format!("::1:{port}"), 403),
    ] {
        let reply = operator.ask_with("GET /api/backends", &[&format!("Host: {host}")], "");
        // A malformed host is refused before the guard.
        let expected = if host.starts_with("::") { [403, 400] } else { [status; 2] };
        assert!(expected.contains(&reply.status), "{host}: {}", reply.status);
    }
    operator.remove(six.addr);
    assert_eq!(operator.names(), [four.addr.to_string()]);
}

#[test]
fn the_admin_listener_survives_a_flood_of_connections() {
    let backend = Recorder::hello("0");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    // Some clients send nothing, and some announce a body that they never send.
    let mut lazy: Vec<_> = (0..70).map(|_| Client::connect(operator.addr)).collect();
    let promise = format!(
        "POST /api/backends HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        operator.addr
    );
    for client in lazy.iter_mut().take(20) {
        let _ = std::io::Write::write_all(&mut client.stream, promise.as_bytes()); // it may be refused
    }
    assert_eq!(balancer.get("/").status, 200, "traffic has its own listener");
    drop(lazy);
    eventually("the admin listener answers again", || operator.ask("GET /healthz", "").status == 200);
    assert_eq!(operator.names(), [backend.addr.to_string()]);
    let deep = "[".repeat(60_000);
    assert_eq!(operator.ask("POST /api/backends", &deep).status, 400);
    let long = format!("DELETE /api/backends/{}", "a".repeat(9000));
    assert_eq!(operator.ask(&long, "").status, 404);
}

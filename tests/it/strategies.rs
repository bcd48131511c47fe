//! Who is chosen, and what that does to a backend that is slower than the others.

use crate::backend::Recorder;
use crate::bed::{Balancer, program};
use crate::parked::connect_from;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn taking(time: Duration) -> Recorder {
    Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            thread::sleep(time);
            conversation.send(OK);
        }
    })
}

/// What a backend gets, and what one that is ten times slower gets, of 320 requests from eight clients.
fn shares(strategy: &str) -> [usize; 2] {
    let backends = [taking(Duration::from_millis(4)), taking(Duration::from_millis(40))];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&addrs, &[&format!("--strategy={strategy}")]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = balancer.client();
                for _ in 0..40 {
                    assert_eq!(client.request(GET).status, 200);
                }
            });
        }
    });
    backends.each_ref().map(|backend| backend.requests().len())
}

#[test]
fn round_robin_gives_a_slow_backend_as_much_as_a_fast_one() {
    assert_eq!(shares("round-robin"), [160, 160]);
}

#[test]
fn least_connections_and_power_of_two_give_a_slow_backend_less() {
    for strategy in ["least-connections", "power-of-two"] {
        let [fast, slow] = shares(strategy);
        assert_eq!(fast + slow, 320);
        assert!(slow * 3 < fast, "{strategy}: {slow} of 320");
        assert!(slow > 0, "{strategy}: it is not forgotten");
    }
}

#[test]
fn client_hash_sends_a_client_to_the_same_backend_every_time() {
    let backends = [Recorder::hello("0"), Recorder::hello("1"), Recorder::hello("2")];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&addrs, &["--strategy=client-hash"]);
    let mut seen = [0; 3];
    for number in 1..=60 {
        let asked = || connect_from([127, 0, 1, number], balancer.addr).request(GET).text().to_owned();
        let first = asked();
        assert!((0..3).all(|_| asked() == first), "client {number}");
        seen[first.parse::<usize>().unwrap()] += 1;
    }
    assert!(seen.iter().all(|clients| *clients >= 5), "a third each, more or less: {seen:?}");
}

#[test]
fn where_the_chosen_backend_is_dead_another_one_serves() {
    for strategy in ["least-connections", "power-of-two", "client-hash"] {
        let (dead, alive) = (crate::bed::dead_port(), Recorder::hello("alive"));
        let balancer = Balancer::serve(&[dead.addr, alive.addr], &[&format!("--strategy={strategy}")]);
        for _ in 0..20 {
            assert_eq!(balancer.get("/").text(), "alive", "{strategy}");
        }
    }
}

#[test]
fn a_strategy_that_is_not_known_is_refused_with_those_that_are() {
    let output =
        program().args(["serve", "--backend=http://127.0.0.1:1", "--strategy=best"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for name in ["round-robin", "least-connections", "power-of-two", "client-hash"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

//! Fair rotation: each backend gets its share, also while others are down.

use crate::backend::Recorder;
use crate::bed::{Balancer, DeadPort, dead_port};
use std::net::SocketAddr;
use std::thread;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

fn hello(backends: usize) -> Vec<Recorder> {
    (0..backends).map(|number| Recorder::hello(&number.to_string())).collect()
}

fn addrs(backends: &[Recorder]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.addr).collect()
}

fn shares(backends: &[Recorder]) -> Vec<usize> {
    backends.iter().map(|backend| backend.requests().len()).collect()
}

#[test]
fn backends_take_turns_in_the_order_of_the_command_line() {
    let backends = hello(3);
    let balancer = Balancer::serve(&addrs(&backends), &[]);
    let order: String = (0..9).map(|_| balancer.get("/").text().to_string()).collect();
    assert_eq!(order, "012012012");
}

#[test]
fn each_backend_gets_exactly_its_share_of_requests_in_sequence() {
    for count in 2..=5 {
        let backends = hello(count);
        let balancer = Balancer::serve(&addrs(&backends), &[]);
        let mut client = balancer.client();
        for _ in 0..count * 30 {
            assert_eq!(client.request(GET).status, 200);
        }
        assert_eq!(shares(&backends), vec![30; count]);
    }
}

#[test]
fn each_backend_gets_exactly_its_share_from_many_clients_at_once() {
    let backends = hello(2);
    let balancer = Balancer::serve(&addrs(&backends), &[]);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = balancer.client();
                for _ in 0..10 {
                    assert_eq!(client.request(GET).status, 200);
                }
            });
        }
    });
    assert_eq!(shares(&backends), [320, 320]);
}

/// A dead backend stays in rotation, and any request may be tried on it.
const NO_EJECTION: &str = "--max-fails=0";

/// Sends `requests` to `count` backends of which these are dead, and returns the shares of the live ones.
fn living_shares(count: usize, dead: &[usize], requests: usize, flags: &[&str]) -> Vec<usize> {
    let ports: Vec<DeadPort> = dead.iter().map(|_| dead_port()).collect();
    let living = hello(count - dead.len());
    let (mut ports, mut alive) = (ports.iter(), living.iter());
    let addrs: Vec<_> = (0..count)
        .map(|n| if dead.contains(&n) { ports.next().unwrap().addr } else { alive.next().unwrap().addr })
        .collect();
    let balancer = Balancer::serve(&addrs, flags);
    let mut client = balancer.client();
    for _ in 0..requests {
        assert_eq!(client.request(GET).status, 200);
    }
    shares(&living)
}

/// Asserts that the shares differ by at most one for each set of dead backends that a request may have tried.
#[track_caller]
fn assert_equal_shares(shares: &[usize], dead: &[usize], requests: usize) {
    assert_eq!(shares.iter().sum::<usize>(), requests);
    let spread = shares.iter().max().unwrap() - shares.iter().min().unwrap();
    assert!(spread <= 1 << dead.len(), "{dead:?} are dead, the others got {shares:?}");
}

#[test]
fn the_living_share_equally_when_one_is_dead() {
    for count in 2..=5 {
        for dead in 0..count {
            let shares = living_shares(count, &[dead], 120, &[NO_EJECTION]);
            assert_equal_shares(&shares, &[dead], 120);
        }
    }
}

#[test]
fn the_living_share_equally_when_two_are_dead() {
    for count in 3..=5 {
        for one in 0..count {
            for other in one + 1..count {
                let shares = living_shares(count, &[one, other], 120, &[NO_EJECTION]);
                assert_equal_shares(&shares, &[one, other], 120);
            }
        }
    }
}

#[test]
fn the_living_share_equally_under_many_clients_when_one_is_dead() {
    let (dead, living) = (dead_port(), hello(2));
    let balancer = Balancer::serve(&[living[0].addr, dead.addr, living[1].addr], &[NO_EJECTION]);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut client = balancer.client();
                for _ in 0..10 {
                    assert_eq!(client.request(GET).status, 200);
                }
            });
        }
    });
    assert_equal_shares(&shares(&living), &[1], 320);
}

#[test]
fn the_living_share_equally_after_the_dead_are_ejected() {
    for (count, dead) in [(2, &[0][..]), (3, &[1]), (5, &[3]), (5, &[1, 2])] {
        let mut shares = living_shares(count, dead, 200, &[]);
        assert_eq!(shares.iter().sum::<usize>(), 200);
        shares.sort();
        // Each dead backend is tried three times before the list changes. The unevenness of that change occurs once.
        let spread = shares[shares.len() - 1] - shares[0];
        assert!(spread <= 3 * dead.len(), "{dead:?} of {count} are dead, the others got {shares:?}");
    }
}

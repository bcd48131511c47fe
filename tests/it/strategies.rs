//! The strategies, and their effect on a backend that is slower than the others.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, dead_port, eventually, program};
use crate::config_file::ConfigFile;
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

/// Returns how many of 320 requests from eight clients a backend gets, and one that is ten times slower.
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
        println!("{strategy}: one that is ten times slower gets {slow} of 320, the other {fast}");
        assert_eq!(fast + slow, 320);
        assert!(slow * 3 < fast, "{strategy}: {slow} of 320");
        assert!(slow > 0, "{strategy}: it gets some requests");
    }
}

#[test]
fn client_hash_sends_a_client_to_the_same_backend_every_time() {
    let backends = [Recorder::hello("0"), Recorder::hello("1"), Recorder::hello("2")];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&addrs, &["--strategy=client-hash"]);
    let mut seen = [0; 3];
    for number in 1..=60 {
        let served_by = || connect_from([127, 0, 1, number], balancer.addr).request(GET).text().to_owned();
        let first = served_by();
        assert!((0..3).all(|_| served_by() == first), "client {number}");
        seen[first.parse::<usize>().unwrap()] += 1;
    }
    assert!(seen.iter().all(|clients| *clients >= 5), "a third each, more or less: {seen:?}");
}

#[test]
fn a_backend_that_leaves_moves_only_its_own_clients() {
    let backends = ["0", "1", "2", "3"].map(Recorder::hello);
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let balancer = Balancer::serve(&addrs, &["--strategy=client-hash", ADMIN]);
    let operator = AdminClient::of(&balancer);
    let assignment = || {
        let ask = |number| connect_from([127, 0, 2, number], balancer.addr).request(GET).text().to_owned();
        (1..=60).map(ask).collect::<Vec<_>>()
    };
    let before = assignment();
    type Change = fn(&AdminClient, std::net::SocketAddr);
    let changes: [(Change, Change); 2] = [
        (|it, addr| it.drain(addr), |it, addr| it.resume(addr)),
        (|it, addr| it.remove(addr), |it, addr| it.add(addr)),
    ];
    for (remove, restore) in changes {
        remove(&operator, addrs[1]);
        let mut moved = 0;
        for (old, new) in before.iter().zip(assignment()) {
            assert!(new != "1" && (*old == "1" || *old == new), "from {old} to {new}");
            moved += usize::from(*old != new);
        }
        println!("client-hash: {moved} of 60 clients have moved, all of them from the one of four that left");
        assert!(moved >= 5, "{moved}");
        restore(&operator, addrs[1]);
        assert_eq!(assignment(), before, "they return with it");
    }
}

/// Returns the backend of each of this number of requests, sent one after the other.
fn order(balancer: &Balancer, requests: usize) -> Vec<usize> {
    let mut client = balancer.client();
    (0..requests).map(|_| client.request(GET).text().parse().unwrap()).collect()
}

fn counts(order: &[usize]) -> [usize; 3] {
    [0, 1, 2].map(|number| order.iter().filter(|it| **it == number).count())
}

fn assert_smooth_weights(balancer: &Balancer) {
    let order = order(balancer, 70);
    assert_eq!(counts(&order), [50, 10, 10]);
    for (at, window) in order.windows(7).enumerate() {
        assert_eq!(counts(window), [5, 1, 1], "any seven in a row, from {at}: {order:?}");
    }
    // The others split the five turns of a round; where two rounds meet, runs join.
    let longest = order.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap();
    assert!(longest <= 4, "{longest} in a row: {order:?}");
}

const WEIGHTED: &str = "--strategy=weighted-round-robin";

#[test]
fn weights_by_flag_are_exact_and_make_no_bursts() {
    let backends = ["0", "1", "2"].map(Recorder::hello);
    let [a, b, c] = backends.each_ref().map(|backend| format!("--backend=http://{}", backend.addr));
    let balancer = Balancer::serve(&[], &[&format!("{a},weight=5"), &b, &format!("{c},weight=1"), WEIGHTED]);
    assert_smooth_weights(&balancer);
}

#[test]
fn weights_in_a_file_are_exact_before_and_after_a_reload() {
    let backends = ["0", "1", "2"].map(Recorder::hello);
    let [a, b, c] = backends.each_ref().map(|backend| format!("http://{}", backend.addr));
    let table = |url: &str, rest: &str| format!("[[backend]]\nurl = '{url}'\n{rest}\n");
    let text = |weight: u32| {
        "strategy = 'weighted-round-robin'\n".to_owned()
            + &table(&a, &format!("weight = {weight}"))
            + &table(&b, "")
            + &table(&c, "weight = 1\nbackup = false")
    };
    let file = ConfigFile::new(&text(5));
    let (balancer, operator) = file.serve(&[]);
    assert_smooth_weights(&balancer);
    file.write(&text(2));
    assert_eq!(operator.reload().0, 200);
    assert_eq!(counts(&order(&balancer, 40)), [20, 10, 10]);
}

#[test]
fn weights_are_exact_with_many_simultaneous_clients() {
    let backends = ["0", "1", "2"].map(Recorder::hello);
    let [a, b, c] = backends.each_ref().map(|backend| format!("--backend=http://{}", backend.addr));
    let balancer = Balancer::serve(&[], &[&format!("{a},weight=5"), &b, &c, WEIGHTED]);
    thread::scope(|scope| {
        (0..8).for_each(|_| _ = scope.spawn(|| order(&balancer, 35)));
    });
    assert_eq!(backends.each_ref().map(|backend| backend.requests().len()), [200, 40, 40]);
}

#[test]
fn the_share_of_a_dead_backend_goes_to_the_others_by_weight() {
    let (backends, dead) = (["0", "1"].map(Recorder::hello), dead_port());
    let [a, b] = backends.each_ref().map(|backend| format!("--backend=http://{}", backend.addr));
    let dead = format!("--backend=http://{},weight=4", dead.addr);
    let flags = [&format!("{a},weight=5"), &dead, &*b, WEIGHTED, "--max-fails=1", "--fail-timeout=1h"];
    let balancer = Balancer::serve(&[], &[&flags[..], &["--longest-ejection=1h"]].concat());
    eventually("it is ejected", || {
        assert_eq!(balancer.get("/").status, 200, "another one serves");
        balancer.stderr().contains("is taken out")
    });
    assert_eq!(counts(&order(&balancer, 60)), [50, 10, 0]);
}

#[test]
fn a_backup_serves_when_no_other_backend_does() {
    let (main, backup) = (Recorder::hello("main"), Recorder::hello("backup"));
    let urls =
        [format!("--backend=http://{}", main.addr), format!("--backend=http://{},backup", backup.addr)];
    let balancer = Balancer::serve(&[], &[&urls[0], &urls[1], ADMIN]);
    let operator = AdminClient::of(&balancer);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").text(), "main"));
    assert_eq!(operator.backend(backup.addr)["backup"], true);
    operator.drain(main.addr);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").text(), "backup"));
    operator.resume(main.addr);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").text(), "main"));
}

#[test]
fn another_backend_serves_when_the_selected_one_is_dead() {
    for strategy in ["least-connections", "power-of-two", "client-hash"] {
        let (dead, alive) = (dead_port(), Recorder::hello("alive"));
        let balancer = Balancer::serve(&[dead.addr, alive.addr], &[&format!("--strategy={strategy}")]);
        for _ in 0..20 {
            assert_eq!(balancer.get("/").text(), "alive", "{strategy}");
        }
    }
}

#[test]
fn an_unknown_strategy_is_refused_with_a_list_of_the_known_ones() {
    let output =
        program().args(["serve", "--backend=http://127.0.0.1:1", "--strategy=best"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for name in ["round-robin", "least-connections", "power-of-two", "client-hash"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

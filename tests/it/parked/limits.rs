//! The limits on connections, on requests on each, and on the target's length.

use super::{GET, SECOND, connect_from, parked};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, eventually};
use crate::watch::Figures;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::thread;

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

/// Returns a new connection from `source` if it is served, and `None` if it is refused.
fn admitted(source: [u8; 4], addr: SocketAddr) -> Option<Client> {
    let mut client = connect_from(source, addr);
    client.stream.write_all(GET.as_bytes()).ok()?; // it may have been refused by now
    client.try_read_reply().is_ok_and(|reply| reply.status == 200).then_some(client)
}

#[track_caller]
fn assert_connection_refused(mut client: Client) {
    // The refusal comes without a request.
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")), "{}", reply.raw_head);
    assert_eq!(reply.header("Connection"), Some("close"));
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
}

#[track_caller]
fn assert_all_served(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.request(GET).text(), "hello");
    }
}

#[test]
fn replies_503_to_a_connection_beyond_the_limit_until_one_ends() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-connections=5"]);
    let mut clients: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    assert_all_served(&mut clients);
    for _ in 0..3 {
        assert_connection_refused(balancer.client());
        assert_all_served(&mut clients);
        drop(clients.pop());
        eventually("another connection is accepted", || {
            clients.extend(admitted(ONE, balancer.addr));
            clients.len() == 5
        });
    }
    assert_connection_refused(balancer.client());
}

#[test]
fn counts_connections_without_a_request() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-connections=5"]);
    let silent: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    assert_connection_refused(balancer.client());
    drop(silent);
    eventually("another connection is accepted", || admitted(ONE, balancer.addr).is_some());
}

#[test]
fn releases_the_slots_of_refused_connections() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-connections=1"]);
    let mut one = [balancer.client()];
    assert_all_served(&mut one);
    // These clients keep their end open, and do not read the refusal.
    let mut crowd: Vec<_> = (0..200).map(|_| balancer.client()).collect();
    assert_all_served(&mut one);
    for client in &mut crowd {
        assert!(client.is_closed_within(DEADLINE));
    }
    eventually("a further connection is refused with a reply again", || {
        balancer.client().try_read_reply().is_ok_and(|reply| reply.status == 503)
    });
    assert_all_served(&mut one);
}

#[test]
fn limits_the_connections_of_each_client() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-connections-per-client=2"]);
    let connect = |source| connect_from(source, balancer.addr);
    let mut clients = [ONE, ONE, OTHER, OTHER].map(connect);
    assert_all_served(&mut clients);
    assert_connection_refused(connect(ONE));
    assert_connection_refused(connect(OTHER));
    assert_all_served(&mut clients);

    // As clients disconnect one after the other, new ones are accepted.
    for (client, source) in clients.iter().zip([ONE, ONE, OTHER, OTHER]) {
        client.stream.shutdown(Shutdown::Both).unwrap();
        eventually("the same client may open another connection", || {
            admitted(source, balancer.addr).is_some()
        });
    }
    let mut new = Vec::new();
    for source in [ONE, ONE, OTHER, OTHER] {
        eventually("the counts are as at the start", || {
            let before = new.len();
            new.extend(admitted(source, balancer.addr));
            new.len() > before
        });
    }
    assert_connection_refused(connect(ONE));
    assert_connection_refused(connect(OTHER));
    assert_all_served(&mut new);
}

#[test]
fn shares_one_limit_among_all_listeners() {
    let backend = Recorder::hello("hello");
    let listen = "--listen=127.0.0.1:0";
    let backend_flag = format!("--backend=http://{}", backend.addr);
    let flags = ["serve", listen, listen, "--edge=parked", "--max-connections=5", &backend_flag];
    let balancer = Balancer::start(&flags);
    let mut addrs = Vec::new();
    eventually("it has printed both addresses", || {
        addrs = balancer.stdout().lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        addrs.len() == 2
    });
    assert!(addrs.iter().all(|addr: &SocketAddr| addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let mut clients: Vec<_> = (0..5).map(|number| Client::connect(addrs[number % 2])).collect();
    assert_all_served(&mut clients);
    addrs.iter().for_each(|addr| assert_connection_refused(Client::connect(*addr)));
    assert_all_served(&mut clients);
    drop(clients);
    addrs.iter().for_each(|addr| eventually("there is room", || admitted(ONE, *addr).is_some()));
}

#[test]
fn announces_the_end_after_the_last_request_of_a_connection() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-requests-per-connection=3"]);
    for pipelined in [false, true] {
        let mut client = balancer.client();
        if pipelined {
            client.send(GET.repeat(3));
        }
        for last in [false, false, true] {
            if !pipelined {
                client.send(GET);
            }
            let reply = client.read_reply();
            let expected = last.then_some("close");
            assert_eq!((reply.text(), reply.header("Connection")), ("hello", expected));
        }
        assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    }
}

#[test]
fn serves_nothing_behind_the_last_request_of_a_connection() {
    let backend = Recorder::echoing();
    let balancer = parked(&backend, &["--max-requests-per-connection=1"]);
    let mut client = balancer.client();
    client.send("GET /one HTTP/1.1\r\nHost: test\r\n\r\nGET /two HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = client.read_reply();
    assert_eq!((reply.text(), reply.header("Connection")), ("/one", Some("close")));
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    assert_eq!(backend.only_request().target(), "/one");
}

#[test]
fn replies_414_to_a_target_beyond_its_limit() {
    let backend = Recorder::echoing();
    let balancer = parked(&backend, &["--max-uri=100B"]);
    for length in [1, 99, 100] {
        let target = format!("/{}", "x".repeat(length - 1));
        assert_eq!(balancer.get(&target).text(), target);
    }
    for length in [101, 1000, 20_000, 200_000] {
        let mut client = balancer.client();
        let reply = client.request(format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(length - 1)));
        assert_eq!((reply.status, reply.header("Connection")), (414, Some("close")), "{length}");
        assert!(client.is_closed_within(DEADLINE));
    }
    assert_eq!(backend.requests().len(), 3);
}

#[test]
fn starts_no_threads_for_connections() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--workers=8"]);
    let mut clients: Vec<_> = (0..200).map(|_| balancer.client()).collect();
    assert_all_served(&mut clients);
    let figures = Figures::of(balancer.pid());
    assert!(figures.descriptors > 200, "all connections are open: {figures:?}");
    assert!(figures.threads <= 8 + 6, "{figures:?}");
    drop(clients);
    eventually("their descriptors are released", || Figures::of(balancer.pid()).descriptors < 100);
}

/// Sends requests from many clients at once, each on a connection of its own.
#[test]
fn serves_three_hundred_clients_at_once() {
    let backend = Recorder::echoing();
    let balancer = parked(&backend, &[]);
    thread::scope(|scope| {
        for part in 0..10 {
            let balancer = &balancer;
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..30).map(|_| balancer.client()).collect();
                for round in 0..20 {
                    for (number, client) in clients.iter_mut().enumerate() {
                        client.send(format!("GET /{part}/{number}/{round} HTTP/1.1\r\nHost: test\r\n\r\n"));
                    }
                    for (number, client) in clients.iter_mut().enumerate() {
                        assert_eq!(client.read_reply().text(), format!("/{part}/{number}/{round}"));
                    }
                }
            });
        }
    });
    assert_eq!(backend.requests().len(), 300 * 20);
}

#[test]
fn releases_the_slot_of_a_client_that_leaves_in_any_phase() {
    let backend = Recorder::hello("hello");
    let balancer = parked(&backend, &["--max-connections=5"]);
    for begun in
        ["", "GET / HT", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel", "no method\r\n"]
    {
        let mut leaving: Vec<_> = (0..5).map(|_| balancer.client()).collect();
        leaving.iter_mut().for_each(|client| client.send(begun));
        drop(leaving);
        let began = std::time::Instant::now();
        let mut new = Vec::new();
        eventually("all five connections are closed", || {
            new.extend(admitted(ONE, balancer.addr));
            new.len() == 5
        });
        assert!(began.elapsed() < 3 * SECOND, "{begun:?}: it took {:?}", began.elapsed());
        drop(new);
        eventually("a connection is accepted again", || admitted(ONE, balancer.addr).is_some());
    }
}

//! Requests that are not idempotent arrive at most once, whichever backend dies.

use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DeadPort, dead_port, eventually};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The number of arrivals of each request, at any backend.
type Arrivals = Arc<Mutex<HashMap<String, usize>>>;

/// A slow backend at this port, which dies with its requests when it is dropped.
fn slow_backend(port: &DeadPort, arrivals: &Arrivals) -> Recorder {
    let mut listener = None;
    // The accepting thread of the backend before may hold the port for a moment longer.
    eventually("the port is free", || {
        listener = TcpListener::bind(port.addr).ok();
        listener.is_some()
    });
    let arrivals = Arc::clone(arrivals);
    Recorder::behind(listener.unwrap(), move |conversation| {
        while let Some(request) = conversation.read_request() {
            if request.head.starts_with("POST ") {
                *arrivals.lock().unwrap().entry(request.target().to_owned()).or_default() += 1;
            }
            thread::sleep(Duration::from_millis(2));
            conversation.send(request.echo());
        }
    })
}

/// The outcomes of POSTs, each with a name of its own.
#[derive(Debug, Default)]
struct PostResults {
    done: Vec<String>,
    failed: Vec<String>,
}

fn send_posts(addr: SocketAddr, client: usize, over: &AtomicBool, count: &AtomicUsize) -> PostResults {
    let (mut connection, mut outcome) = (Client::connect(addr), PostResults::default());
    for number in 0.. {
        if over.load(SeqCst) {
            break;
        }
        let name = format!("/{client}/{number}");
        let reply = connection
            .request(format!("POST {name} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nonce"));
        match reply.status {
            200 => outcome.done.push(name),
            502 => outcome.failed.push(name),
            _ => panic!("{reply:?}"),
        }
        count.fetch_add(1, SeqCst);
        thread::sleep(Duration::from_millis(10));
    }
    outcome
}

/// Runs 64 posting clients while one of two backends dies and returns this often, and asserts that no POST arrives twice.
pub fn assert_no_post_arrives_twice(deaths: usize, flags: &[&str]) {
    let (steady, port, arrivals) = (dead_port(), dead_port(), Arrivals::default());
    let _steady = slow_backend(&steady, &arrivals);
    let mut mortal = Some(slow_backend(&port, &arrivals));
    let balancer = Balancer::serve(&[steady.addr, port.addr], flags);
    let addr = balancer.addr;
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let outcomes: Vec<PostResults> = thread::scope(|scope| {
        let (over, count) = (&over, &count);
        let clients: Vec<_> =
            (0..64).map(|client| scope.spawn(move || send_posts(addr, client, over, count))).collect();
        let some_more = |what: &str| {
            let before = count.load(SeqCst);
            eventually(what, || {
                count.load(SeqCst) >= before + 300 || clients.iter().any(|one| one.is_finished())
            });
        };
        for _ in 0..deaths {
            some_more("posts continue");
            drop(mortal.take());
            some_more("posts continue without it");
            mortal = Some(slow_backend(&port, &arrivals));
            let restarted = mortal.as_ref().unwrap();
            eventually("it gets requests again", || !restarted.requests().is_empty());
        }
        over.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let arrivals = arrivals.lock().unwrap();
    let twice: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let done: usize = outcomes.iter().map(|one| one.done.len()).sum();
    let failed: usize = outcomes.iter().map(|one| one.failed.len()).sum();
    println!("{done} done, {failed} failed, {} have arrived", arrivals.len());
    assert!(outcomes.iter().flat_map(|one| &one.done).all(|name| arrivals.contains_key(name)));
    assert!(failed <= 64 * deaths, "only requests under way may fail: {failed}");
    assert!(failed > 0, "no request failed at all");
}

#[test]
#[ignore = "heavy: 64 clients that leave no processor idle"]
fn no_post_arrives_twice_while_a_backend_dies_and_returns() {
    assert_no_post_arrives_twice(4, &["--health-interval=50ms", "--fail-timeout=500ms"]);
}

//! Stopping: what is under way is finished, nothing is cut, and the exit code says how it went.

use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, eventually};
use std::io::ErrorKind::ConnectionRefused;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";

/// A backend that takes so long for each reply.
fn slow(delay: Duration) -> Recorder {
    Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            thread::sleep(delay);
            conversation.send(OK);
        }
    })
}

/// What a [`held_back`] backend waits for.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.1.wait_timeout_while(self.0.lock().unwrap(), DEADLINE, |open| !*open).unwrap();
        drop(closed);
    }
}

/// A backend that replies once the gate is open.
fn held_back() -> (Recorder, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let waiting = Arc::clone(&gate);
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            waiting.pass();
            conversation.send(OK);
        }
    });
    (backend, gate)
}

fn has_requests(backend: &Recorder, count: usize) {
    eventually("the backend has the requests", || backend.requests().len() == count);
}

fn is_stopping(balancer: &Balancer) {
    eventually("it has heard the signal", || balancer.stderr().contains("stopping"));
}

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a whole reply that said so.
    Announced,
    /// No byte came in reply to a request that was sent after the signal: it may be sent again elsewhere.
    Unanswered,
}

/// Sends one request after the other until the connection ends, and says how it did.
fn talk(addr: SocketAddr, signalled: &AtomicBool, replies: &AtomicUsize) -> Result<End, String> {
    let mut client = Client::connect(addr);
    loop {
        let before = !signalled.load(SeqCst);
        client.send(GET);
        let reply = match client.read_head() {
            Ok(reply) => reply,
            Err(_) if !before && !client.has_unread() => return Ok(End::Unanswered),
            Err(error) => return Err(format!("no reply (sent before the signal: {before}): {error}")),
        };
        let body = client.take(5).map_err(|error| format!("a reply was cut: {error}"))?;
        if (reply.status, &*body) != (200, b"whole") {
            return Err(format!("not the backend's reply: {reply:?}"));
        }
        replies.fetch_add(1, SeqCst);
        if reply.header("Connection") == Some("close") {
            let (rest, ending) = client.read_to_end_of_connection();
            let announced = rest.is_empty() && ending == Ending::Finished && signalled.load(SeqCst);
            return if announced { Ok(End::Announced) } else { Err(format!("{ending:?} after {rest:?}")) };
        }
    }
}

const CLIENTS: usize = 32;

fn no_reply_is_cut_by(signal: i32) {
    let backends = [slow(Duration::from_millis(20)), slow(Duration::from_millis(20))];
    let mut balancer = Balancer::serve(&backends.each_ref().map(|backend| backend.addr), &[]);
    let (addr, signalled, replies) = (balancer.addr, AtomicBool::new(false), AtomicUsize::new(0));
    let ends: Vec<_> = thread::scope(|scope| {
        let talking: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| talk(addr, &signalled, &replies))).collect();
        eventually("there is load", || replies.load(SeqCst) >= 5 * CLIENTS);
        signalled.store(true, SeqCst);
        balancer.signal(signal);
        talking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(ends.iter().all(Result::is_ok), "{ends:#?}");
    assert!(ends.contains(&Ok(End::Announced)), "nobody was told: {ends:?}");

    // Connections of the old one are still in TIME_WAIT.
    let listen = format!("--listen={addr}");
    let backend = format!("--backend=http://{}", backends[0].addr);
    let successor = Balancer::start(&["serve", &listen, &backend]);
    assert_eq!((successor.addr, successor.get("/").text()), (addr, "whole"));
}

#[test]
fn no_reply_is_cut_by_sigterm_and_the_port_is_free_at_once() {
    no_reply_is_cut_by(libc::SIGTERM);
}

#[test]
fn no_reply_is_cut_by_sigint_and_the_port_is_free_at_once() {
    no_reply_is_cut_by(libc::SIGINT);
}

#[test]
fn no_reply_is_cut_by_sighup_and_the_port_is_free_at_once() {
    no_reply_is_cut_by(libc::SIGHUP);
}

#[test]
fn a_request_under_way_is_finished_and_told_that_it_was_the_last() {
    let (backend, gate) = held_back();
    let mut balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(GET);
    has_requests(&backend, 1);
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    gate.open();
    let reply = client.read_reply();
    assert_eq!((reply.status, reply.text(), reply.header("Connection")), (200, "whole", Some("close")));
    assert_eq!(client.read_to_end_of_connection(), (Vec::new(), Ending::Finished));
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn a_slow_request_is_waited_for() {
    let backend = slow(Duration::from_secs(1));
    let mut balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(GET);
    has_requests(&backend, 1);
    balancer.signal(libc::SIGINT);
    assert_eq!(client.read_reply().text(), "whole");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn what_is_queued_is_finished() {
    let (backend, gate) = held_back();
    let mut balancer = Balancer::serve(&[backend.addr], &["--workers=1"]);
    let mut clients: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    has_requests(&backend, 1);
    // Connections that came later have had their answer: the four others are open by then.
    for _ in 0..4 {
        assert_eq!(balancer.client().request("GET / HTTP/1.1\r\n\r\n").status, 400);
    }
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    gate.open();
    for client in &mut clients {
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.text(), reply.header("Connection")), (200, "whole", Some("close")));
    }
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn new_connections_are_refused_while_the_last_reply_is_waited_for() {
    let (backend, gate) = held_back();
    let mut balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send(GET);
    has_requests(&backend, 1);
    balancer.signal(libc::SIGTERM);
    let addr = balancer.addr;
    eventually("connections are refused", || {
        TcpStream::connect(addr).is_err_and(|error| error.kind() == ConnectionRefused)
    });
    gate.open();
    assert_eq!(client.read_reply().text(), "whole");
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let backend = Recorder::hello("hello");
    let mut balancer = Balancer::serve(&[backend.addr], &["--grace=60s"]);
    let mut idle = balancer.client();
    assert_eq!(idle.request(GET).text(), "hello");
    let mut silent = balancer.client();
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    for client in [&mut idle, &mut silent] {
        let (rest, _) = client.read_to_end_of_connection();
        assert_eq!(rest, b"", "no byte of a reply that nobody asked for");
    }
}

#[test]
fn a_backend_that_never_replies_is_waited_for_no_longer_than_grace() {
    let backend = Recorder::silent();
    let mut balancer = Balancer::serve(&[backend.addr], &["--grace=300ms"]);
    let mut client = balancer.client();
    client.send(GET);
    has_requests(&backend, 1);
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(began.elapsed() >= Duration::from_millis(300), "it did not wait: {:?}", began.elapsed());
    let (rest, _) = client.read_to_end_of_connection();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", rest.escape_ascii());
    assert!(balancer.stderr().contains("the grace period is over"), "{}", balancer.stderr());
}

#[test]
fn a_second_signal_leaves_at_once() {
    let backend = Recorder::silent();
    for (first, second) in [(libc::SIGINT, libc::SIGINT), (libc::SIGTERM, libc::SIGHUP)] {
        let mut balancer = Balancer::serve(&[backend.addr], &["--grace=60s"]);
        let mut client = balancer.client();
        let requests = backend.requests().len();
        client.send(GET);
        has_requests(&backend, requests + 1);
        balancer.signal(first);
        is_stopping(&balancer);
        balancer.signal(second);
        assert_eq!(balancer.wait_exit(DEADLINE), 130);
    }
}

#[test]
fn connections_are_still_accepted_during_the_drain_delay() {
    let backend = Recorder::hello("hello");
    let mut balancer = Balancer::serve(&[backend.addr], &["--drain-delay=2s"]);
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    is_stopping(&balancer);
    let reply = balancer.client().request(GET);
    assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn the_demo_and_a_backend_alone_stop_cleanly_too() {
    let mut demo = Balancer::start(&["demo", "--listen=127.0.0.1:0", "--backend-port=0", "--backend-port=0"]);
    let mut kept = demo.client();
    assert_eq!(kept.request(GET).status, 200);
    demo.signal(libc::SIGINT);
    assert_eq!(demo.wait_exit(DEADLINE), 0);

    let mut backend = Balancer::demo_backend(&[]);
    let mut kept = backend.client();
    assert_eq!(kept.request(GET).status, 200);
    backend.signal(libc::SIGTERM);
    assert_eq!(backend.wait_exit(DEADLINE), 0);
}

//! Stopping: requests in progress are finished, no reply is cut short, and the exit code tells how it ended.

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

/// Starts a backend that replies after this delay.
fn slow(delay: Duration) -> Recorder {
    Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            thread::sleep(delay);
            conversation.send(OK);
        }
    })
}

/// The gate for which a [`held_back`] backend waits before each reply.
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

/// Starts a backend that replies once the gate is open.
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
    eventually("the backend has received the requests", || backend.requests().len() == count);
}

fn is_stopping(balancer: &Balancer) {
    eventually("the balancer logs that it is stopping", || balancer.stderr().contains("stopping"));
}

/// The way in which a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a FIN, after a whole reply with `Connection: close`.
    Announced,
    /// Without a byte of reply to a request sent after the signal. The client may send such a request again.
    Unanswered,
}

/// Sends one request after the other until the connection ends. Returns how it ended, or the fault of a reply.
fn talk(addr: SocketAddr, signalled: &AtomicBool, replies: &AtomicUsize) -> Result<End, String> {
    let mut client = Client::connect(addr);
    loop {
        let before = !signalled.load(SeqCst);
        client.send(GET);
        let reply = match client.read_head() {
            Ok(reply) => reply,
            Err(_) if !before && !client.has_unread() => return Ok(End::Unanswered),
            Err(error) => {
                return Err(format!("no reply (request sent before the signal: {before}): {error}"));
            }
        };
        let body = client.take(5).map_err(|error| format!("a reply was cut short: {error}"))?;
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

fn cuts_no_reply_on(signal: i32) {
    let backends = [slow(Duration::from_millis(20)), slow(Duration::from_millis(20))];
    let mut balancer = Balancer::serve(&backends.each_ref().map(|backend| backend.addr), &[]);
    let (addr, signalled, replies) = (balancer.addr, AtomicBool::new(false), AtomicUsize::new(0));
    let ends: Vec<_> = thread::scope(|scope| {
        let talking: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| talk(addr, &signalled, &replies))).collect();
        eventually("the clients have had some replies", || replies.load(SeqCst) >= 5 * CLIENTS);
        signalled.store(true, SeqCst);
        balancer.signal(signal);
        talking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(ends.iter().all(Result::is_ok), "{ends:#?}");
    assert!(ends.contains(&Ok(End::Announced)), "no reply announced the end: {ends:?}");

    // Connections of the process that has ended are still in TIME_WAIT.
    let listen = format!("--listen={addr}");
    let backend = format!("--backend=http://{}", backends[0].addr);
    let successor = Balancer::start(&["serve", &listen, &backend]);
    assert_eq!((successor.addr, successor.get("/").text()), (addr, "whole"));
}

#[test]
fn cuts_no_reply_on_sigterm_and_frees_the_port_at_once() {
    cuts_no_reply_on(libc::SIGTERM);
}

#[test]
fn cuts_no_reply_on_sigint_and_frees_the_port_at_once() {
    cuts_no_reply_on(libc::SIGINT);
}

#[test]
fn cuts_no_reply_on_sighup_and_frees_the_port_at_once() {
    cuts_no_reply_on(libc::SIGHUP);
}

#[test]
fn finishes_a_request_in_progress_and_closes_its_connection() {
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
fn waits_for_a_slow_reply() {
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
fn finishes_queued_requests() {
    let (backend, gate) = held_back();
    let mut balancer = Balancer::serve(&[backend.addr], &["--workers=1"]);
    let mut clients: Vec<_> = (0..5).map(|_| balancer.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    has_requests(&backend, 1);
    // The four others have been accepted once connections that were opened later have had their replies.
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
fn refuses_new_connections_while_it_waits_for_the_last_reply() {
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
fn idle_connections_do_not_delay_the_stop() {
    let backend = Recorder::hello("hello");
    let mut balancer = Balancer::serve(&[backend.addr], &["--grace=60s"]);
    let mut idle = balancer.client();
    assert_eq!(idle.request(GET).text(), "hello");
    let mut silent = balancer.client();
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    for client in [&mut idle, &mut silent] {
        let (rest, _) = client.read_to_end_of_connection();
        assert_eq!(rest, b"", "no byte is sent on an idle connection");
    }
}

#[test]
fn waits_for_a_silent_backend_no_longer_than_grace() {
    let backend = Recorder::silent();
    let mut balancer = Balancer::serve(&[backend.addr], &["--grace=300ms"]);
    let mut client = balancer.client();
    client.send(GET);
    has_requests(&backend, 1);
    let began = Instant::now();
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "the balancer ended before its grace was over: {:?}",
        began.elapsed()
    );
    let (rest, _) = client.read_to_end_of_connection();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", rest.escape_ascii());
    assert!(balancer.stderr().contains("the grace period is over"), "{}", balancer.stderr());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
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
fn accepts_connections_during_the_drain_delay() {
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
fn the_demo_and_a_single_demo_backend_stop_cleanly() {
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

//! The worker pool under panics, bursts, a full queue, a lack of descriptors, impossible uploads and many connections.

use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Reply, edge, eventually, get, is_tiny};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use turnwheel::Balancer as Embedded;
use turnwheel::Config;
use turnwheel::shutdown;
use turnwheel::strategy::{Candidate, ClientKey, Strategy};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Controls a backend that withholds all replies until it is opened, and counts the requests that wait.
#[derive(Default)]
pub struct Dam {
    pub open: AtomicBool,
    pub held: AtomicUsize,
    pub most: AtomicUsize,
}

pub fn dammed() -> (Recorder, Arc<Dam>) {
    let dam = Arc::new(Dam::default());
    let inside = Arc::clone(&dam);
    let backend = Recorder::new(move |conversation| {
        while conversation.read_request().is_some() {
            inside.most.fetch_max(inside.held.fetch_add(1, SeqCst) + 1, SeqCst);
            let began = Instant::now();
            while !inside.open.load(SeqCst) && began.elapsed() < 2 * DEADLINE {
                thread::sleep(Duration::from_millis(2));
            }
            inside.held.fetch_sub(1, SeqCst);
            conversation.send(OK);
        }
    });
    (backend, dam)
}

/// Sends a request over each of this number of new connections, and returns them.
pub fn ask_all(addr: SocketAddr, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(addr)).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    clients
}

#[test]
fn each_worker_has_one_request_under_way() {
    let (backend, dam) = dammed();
    let balancer = Balancer::serve(&[backend.addr], &["--workers=64"]);
    let mut clients = ask_all(balancer.addr, 80);
    // All workers have been started, not only those that always wait at the channel.
    eventually("64 requests are under way", || dam.held.load(SeqCst) == 64);
    dam.open.store(true, SeqCst);
    for client in &mut clients {
        assert_eq!(client.read_reply().text(), "ok");
    }
    assert_eq!(dam.most.load(SeqCst), 64, "no more than there are workers");
}

/// A strategy that panics at the first request.
struct PanicsOnce(AtomicBool);

impl Strategy for PanicsOnce {
    fn pick(&self, _usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        if !self.0.swap(true, SeqCst) {
            std::panic::resume_unwind(Box::new("on purpose")); // a panic without its message
        }
        0
    }
}

#[test]
fn a_panic_costs_one_request_and_no_worker() {
    let backend = Recorder::hello("alive");
    let mut config = Config::new(vec![backend.addr.into()]);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.workers = 1; // without it no request would be served
    config.upstream.strategy = Arc::new(PanicsOnce(AtomicBool::new(false)));
    let balancer = Embedded::bind(config.validate().unwrap()).unwrap();
    let addr = balancer.local_addr().unwrap();
    let (handle, stop) = shutdown::pair();
    let serving = thread::spawn(move || balancer.run(&stop));
    let mut client = Client::connect(addr);
    assert_eq!(client.request(GET).status, 502);
    for _ in 0..10 {
        assert_eq!(client.request(GET).text(), "alive", "on the same connection");
        assert_eq!(get(addr, "/").text(), "alive");
    }
    handle.stop();
    serving.join().unwrap().unwrap();
}

fn assert_answers_bursts(addr: SocketAddr) {
    let mut kept = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let mut clients = ask_all(addr, 64);
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read_reply().status, 200, "connection {number}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "some had to wait: {:?}", began.elapsed());
        kept.append(&mut clients); // so that none is served because another has ended
    }
}

#[test]
fn a_burst_of_new_connections_is_answered_by_the_balancer() {
    let backend = Recorder::hello("hello");
    assert_answers_bursts(Balancer::serve(&[backend.addr], &[]).addr);
}

#[test]
fn a_burst_of_new_connections_is_answered_by_a_demo_backend() {
    assert_answers_bursts(Balancer::demo_backend(&[]).addr);
}

#[test]
fn a_full_queue_refuses_at_once_while_all_workers_are_stuck() {
    let (backend, dam) = dammed();
    let flags = ["--workers=1", "--queue=1", "--queue-timeout=60s"];
    let balancer = Balancer::serve(&[backend.addr], &flags);
    let mut stuck = balancer.client();
    stuck.send(GET);
    eventually("the worker is stuck", || dam.held.load(SeqCst) == 1);

    let (replies, received) = mpsc::channel::<Reply>();
    for mut client in ask_all(balancer.addr, 21) {
        let replies = replies.clone();
        thread::spawn(move || replies.send(client.read_reply()));
    }
    for _ in 0..20 {
        let refused = received.recv_timeout(DEADLINE).expect("a refusal, at once");
        assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    }
    // The edge still gives other answers.
    assert_eq!(balancer.client().request("GET / HTTP/1.1\r\n\r\n").status, 400);
    assert!(received.try_recv().is_err(), "the last one waits in the queue");
    dam.open.store(true, SeqCst);
    assert_eq!(received.recv_timeout(DEADLINE).unwrap().text(), "ok");
    assert_eq!(stuck.read_reply().text(), "ok");
}

#[test]
fn a_request_that_waits_too_long_in_the_queue_is_refused() {
    let (backend, dam) = dammed();
    let balancer = Balancer::serve(&[backend.addr], &["--workers=1", "--queue-timeout=200ms"]);
    let mut stuck = balancer.client();
    stuck.send(GET);
    eventually("the worker is stuck", || dam.held.load(SeqCst) == 1);
    for mut client in ask_all(balancer.addr, 5) {
        let refused = client.read_reply();
        assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    }
    dam.open.store(true, SeqCst);
    assert_eq!(stuck.read_reply().text(), "ok");
    assert_eq!(backend.requests().len(), 1, "no refused request has reached the backend");
}

/// Returns whether one request over a new connection is answered.
fn answered(addr: SocketAddr) -> bool {
    let ask = || {
        let second = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&addr, second)?;
        stream.set_read_timeout(Some(second))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        std::io::Result::Ok(reply)
    };
    ask().is_ok_and(|reply| reply.starts_with(b"HTTP/1.1 200 ") && reply.ends_with(b"hello"))
}

/// Returns whether a new client is refused for the number of connections.
fn turned_away(addr: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_millis(100))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        std::io::Result::Ok(reply)
    };
    ask().is_ok_and(|reply| reply.starts_with(b"HTTP/1.1 503 "))
}

#[test]
fn it_recovers_from_a_lack_of_descriptors() {
    let backend = Recorder::hello("hello");
    let url = format!("--backend=http://{}", backend.addr);
    let mut limited = Command::new("sh");
    limited.args([
        "-c",
        "ulimit -n 256 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_turnwheel"),
        "serve",
        &url,
    ]);
    let edge = format!("--edge={}", edge());
    limited.args(["--listen=127.0.0.1:0", "--workers=4", &edge]).env_remove("RUST_LOG");
    let balancer = Balancer::spawn(&mut limited, "Load balancer is listening on ");
    let pid = balancer.pid();
    assert_eq!(balancer.get("/").status, 200);
    for _ in 0..2 {
        let mut crowd = Vec::new();
        let seen = balancer.stderr().matches("accept").count();
        // The parked edge knows the limit and accepts no more than fit.
        let is_full = || {
            if is_tiny() {
                balancer.stderr().matches("accept").count() > seen
            } else {
                turned_away(balancer.addr)
            }
        };
        eventually("it cannot accept any more", || {
            crowd.extend(TcpStream::connect_timeout(&balancer.addr, Duration::from_millis(100)));
            // 256 are all there are; some may be reserved for recovery.
            crowd.len() > 256 && is_full()
        });
        drop(crowd);
        eventually("it serves again", || answered(balancer.addr));
    }
    assert_eq!(balancer.pid(), pid);
    eventually("the descriptors are back", || count_of(pid, "fd") < 128);
}

/// Returns the number of entries of `/proc/PID/what`: `task` for threads, `fd` for descriptors.
fn count_of(pid: u32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count()
}

fn assert_survives_impossible_uploads(server: &Balancer) {
    let mut other = server.client();
    for _ in 0..20 {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999999\r\n\r\n";
        let mut client = server.client();
        let refused = client.request(head);
        assert_eq!(refused.status, 413);
        assert!(refused.all("Connection").contains(&"close"), "{}", refused.raw_head);
        assert_eq!(other.request(GET).status, 200, "others are served meanwhile");
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn an_impossible_content_length_is_refused_and_survived_by_the_balancer() {
    let backend = Recorder::hello("hello");
    assert_survives_impossible_uploads(&Balancer::serve(&[backend.addr], &[]));
    assert!(backend.requests().iter().all(|request| request.request_line().starts_with("GET ")));
}

#[test]
fn an_impossible_content_length_is_refused_and_survived_by_a_demo_backend() {
    assert_survives_impossible_uploads(&Balancer::demo_backend(&[]));
}

#[test]
fn threads_and_descriptors_are_released_when_connections_end() {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], &["--workers=4"]);
    assert_eq!(balancer.get("/").status, 200);
    let counts = || ["task", "fd"].map(|what| count_of(balancer.pid(), what));
    let [threads, descriptors] = counts();
    let mut clients = ask_all(balancer.addr, 200);
    for client in &mut clients {
        assert_eq!(client.read_reply().status, 200);
    }
    let [_, crowded] = counts();
    assert!(crowded >= descriptors + 200, "200 connections are open: {crowded} descriptors");
    drop(clients);
    // Idle threads end after a few seconds.
    let began = Instant::now();
    loop {
        let now = counts();
        if now[0] <= threads + 8 && now[1] <= descriptors + 8 {
            break;
        }
        assert!(began.elapsed() < 3 * DEADLINE, "{now:?} after [{threads}, {descriptors}]");
        thread::sleep(Duration::from_millis(50));
    }
}

//! The demo's controls in the admin API: slow, failing and stopped backends, and traffic.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, dead_port_at, eventually, get};
use crate::steady_load::SteadyLoad;
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Much less than a delay of a minute, or the balancer's own timeouts.
const SOON: Duration = Duration::from_secs(5);

/// Flags for checks that detect soon that a backend stops or starts.
const QUICK_CHECKS: [&str; 3] = ["--health-interval=50ms", "--rise=1", "--fall=1"];

/// `turnwheel demo` with two backends.
struct Demo {
    balancer: Balancer,
    operator: AdminClient,
    backends: [SocketAddr; 2],
}

impl Demo {
    fn start(flags: &[&str]) -> Self {
        let args = ["demo", "--listen=127.0.0.1:0", "--backend-port=0", "--backend-port=0", ADMIN];
        let balancer = Balancer::start(&[&args, flags].concat());
        let operator = AdminClient::of(&balancer);
        let said = operator.done("GET /api/demo", "");
        let address = |number: usize| said["backends"][number]["name"].as_str().unwrap().parse().unwrap();
        Demo { backends: [address(0), address(1)], balancer, operator }
    }

    /// Returns the state of the demo.
    fn show(&self) -> Value {
        self.operator.done("GET /api/demo", "")
    }

    fn traffic(&self, what: &str) -> u64 {
        self.show()["traffic"][what].as_u64().unwrap()
    }

    /// Changes a backend, and returns its state after the change.
    #[track_caller]
    fn change(&self, number: usize, change: Value) -> Value {
        let line = format!("POST /api/demo/backends/{}", self.backends[number]);
        self.operator.done(&line, &change.to_string())["backends"][number].clone()
    }

    #[track_caller]
    fn change_traffic(&self, change: Value) -> Value {
        self.operator.done("POST /api/demo/traffic", &change.to_string())["traffic"].clone()
    }

    /// Returns the text of a backend's good responses.
    fn greeting(&self, number: usize) -> String {
        format!("Hello from backend server on :{}\n", self.backends[number].port())
    }

    /// Waits until there are this many threads of a name: a thread names itself after it has started, and the kernel lists
    /// it for a moment after it has ended.
    #[track_caller]
    fn has_threads(&self, name: &str, count: usize) {
        eventually(&format!("there are {count} threads {name}"), || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.balancer.pid())).unwrap();
            let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
            names.filter(|found| found.starts_with(name)).count() == count
        });
    }

    /// Waits until there are the threads of this many backends. The balancer has a queue monitor and a tiny_http edge, too.
    #[track_caller]
    fn has_backends_threads(&self, backends: usize) {
        self.has_threads("answer-", 64 * backends);
        self.has_threads("queue-monitor", backends + 2);
        self.has_threads("refuse-", 32 * (backends + 1));
    }
}

#[test]
fn starts_with_two_backends_in_turn_and_no_traffic() {
    let demo = Demo::start(&["--delay=20ms"]);
    let [first, second] = demo
        .backends
        .map(|addr| json!({ "name": addr.to_string(), "running": true, "delay_ms": 20, "error_percent": 0 }));
    let traffic = json!({ "rate": 0, "clients": 4, "sent": 0, "failed": 0 });
    assert_eq!(demo.show(), json!({ "traffic": traffic, "backends": [first, second] }));
    for number in [0, 1, 0, 1] {
        let reply = demo.balancer.get("/");
        assert_eq!((reply.status, reply.text()), (200, &*demo.greeting(number)));
    }
    demo.has_threads("traffic-", 0);
}

#[test]
fn delays_the_responses_of_one_backend() {
    let demo = Demo::start(&[]);
    let changed = demo.change(1, json!({ "delay_ms": 300 }));
    assert_eq!((&changed["delay_ms"], &changed["running"]), (&json!(300), &json!(true)));
    let took = [0, 1, 0, 1].map(|number| {
        let began = Instant::now();
        assert_eq!(demo.balancer.get("/").text(), demo.greeting(number));
        began.elapsed()
    });
    let slow = Duration::from_millis(300);
    assert!(took[1] >= slow && took[3] >= slow, "{took:?}");
    assert!(took[0].min(took[2]) < slow, "the other backend is not delayed: {took:?}");
}

#[test]
fn applies_a_shorter_delay_to_requests_that_wait_already() {
    let demo = Demo::start(&["--delay=60s"]);
    let mut clients: Vec<_> = (0..4).map(|_| demo.balancer.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    eventually("they are being delayed", || {
        demo.operator.list().iter().all(|backend| backend["in_flight"] == 2)
    });
    let began = Instant::now();
    (0..2).for_each(|number| _ = demo.change(number, json!({ "delay_ms": 0 })));
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().status, 200));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn makes_exactly_the_share_of_errors_that_was_asked_for() {
    let demo = Demo::start(&[]);
    let failed = format!("An error on purpose from backend server on :{}\n", demo.backends[0].port());
    for (percent, wanted) in [(100, 20), (50, 10), (10, 2), (0, 0)] {
        demo.change(0, json!({ "error_percent": percent }));
        let mut errors = 0;
        for _ in 0..20 {
            let reply = demo.balancer.get("/");
            match reply.status {
                500 => assert_eq!(reply.text(), failed),
                status => assert_eq!((status, reply.text()), (200, &*demo.greeting(0))),
            }
            errors += usize::from(reply.status == 500);
            let other = demo.balancer.get("/");
            assert_eq!((other.status, other.text()), (200, &*demo.greeting(1)));
        }
        assert_eq!(errors, wanted, "{percent} %");
    }
}

#[test]
fn fails_no_request_while_a_backend_stops_and_starts_again() {
    let demo = Demo::start(&QUICK_CHECKS);
    let crowd = SteadyLoad::of(4, demo.balancer.addr);
    crowd.go_on_for(20);
    assert_eq!(demo.change(0, json!({ "running": false }))["running"], false);
    let reserved = dead_port_at(demo.backends[0]); // no other process gets the port meanwhile
    assert!(TcpStream::connect(demo.backends[0]).is_err(), "it refuses connections");
    crowd.go_on_for(20);
    (0..4).for_each(|_| assert_eq!(demo.balancer.get("/").text(), demo.greeting(1)));
    eventually("it is down", || demo.operator.backend(demo.backends[0])["state"] == "down");
    let why = demo.operator.backend(demo.backends[0])["why"].clone();
    assert!(why.as_str().is_some_and(|why| !why.is_empty()), "{why}");
    assert_eq!(demo.change(0, json!({ "running": true }))["running"], true);
    drop(reserved);
    eventually("it is up", || demo.operator.backend(demo.backends[0])["state"] == "up");
    eventually("it gets requests", || demo.balancer.get("/").text() == demo.greeting(0));
    crowd.go_on_for(20);
    crowd.finish();
}

#[test]
fn answers_pending_requests_when_a_backend_stops_and_leaves_no_thread() {
    let demo = Demo::start(&[]);
    demo.change(0, json!({ "delay_ms": 60000 }));
    demo.has_backends_threads(2);
    let (addr, mut idle) = (demo.backends[0], Client::connect(demo.backends[0]));
    let mut waiting: Vec<_> = (0..70).map(|_| Client::connect(addr)).collect(); // more than it handles at a time
    waiting.iter_mut().for_each(|client| client.send(GET));
    let half = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nno more than this";
    let mut sending = Client::connect(addr);
    sending.send(half);
    let mut far = demo.balancer.client();
    far.send(GET);
    eventually("the balancer waits for it", || demo.operator.backend(addr)["in_flight"] == 1);
    let began = Instant::now();
    assert_eq!(demo.change(0, json!({ "running": false }))["running"], false);
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    let reserved = dead_port_at(addr);
    assert_eq!(far.read_reply().status, 200, "by this backend, or else by the other");
    assert_eq!(idle.read_to_end_of_connection(), (vec![], Ending::Finished));
    sending.read_to_end_of_connection();
    for client in &mut waiting {
        // One whose request had not been read yet is cut off.
        if let Ok(reply) = client.try_read_reply() {
            assert_eq!((reply.status, reply.text()), (200, &*demo.greeting(0)));
            assert_eq!(reply.header("Connection"), Some("close"));
        }
        client.read_to_end_of_connection();
    }
    demo.has_backends_threads(1);
    assert_eq!(demo.change(0, json!({ "running": false }))["running"], false, "it is stopped already");
    let back = demo.change(0, json!({ "running": true, "delay_ms": 0 }));
    assert_eq!((&back["running"], &back["delay_ms"]), (&json!(true), &json!(0)));
    drop(reserved);
    assert_eq!(get(addr, "/").text(), demo.greeting(0));
    demo.change(0, json!({ "running": true }));
    assert_eq!(get(addr, "/").text(), demo.greeting(0), "it is running already");
    demo.has_backends_threads(2);
}

#[test]
fn refuses_to_start_a_backend_whose_port_is_in_use() {
    let demo = Demo::start(&[]);
    demo.change(1, json!({ "running": false }));
    let other = TcpListener::bind(demo.backends[1]).unwrap();
    let line = format!("POST /api/demo/backends/{}", demo.backends[1]);
    demo.operator.refused(&line, r#"{"running": true, "delay_ms": 70}"#, 409, "the port is in use");
    let shown = demo.show()["backends"][1].clone();
    assert_eq!((&shown["running"], &shown["delay_ms"]), (&json!(false), &json!(0)));
    drop(other);
    assert_eq!(demo.change(1, json!({ "running": true }))["running"], true);
    assert_eq!(get(demo.backends[1], "/").text(), demo.greeting(1));
}

#[test]
fn makes_traffic_at_the_rate_until_it_is_ended() {
    let demo = Demo::start(&[]);
    let began = Instant::now();
    let told = demo.change_traffic(json!({ "rate": 50 }));
    assert_eq!((&told["rate"], &told["clients"]), (&json!(50), &json!(4)));
    demo.has_threads("traffic-", 4);
    eventually("traffic flows", || demo.traffic("sent") >= 50);
    assert!(began.elapsed() >= Duration::from_millis(970), "no faster: {:?}", began.elapsed());
    demo.change_traffic(json!({ "clients": 7 }));
    demo.has_threads("traffic-", 7);
    assert_eq!((demo.traffic("rate"), demo.traffic("clients")), (50, 7));
    let told = demo.change_traffic(json!({ "rate": 0 }));
    let sent = told["sent"].as_u64().unwrap();
    assert_eq!((&told["rate"], &told["failed"]), (&json!(0), &json!(0)));
    demo.has_threads("traffic-", 0);
    eventually("the balancer has counted them all", || {
        demo.operator.done("GET /api/state", "")["requests"]["2xx"] == sent
    });
    assert_eq!(demo.traffic("sent"), sent, "the traffic had ended before the answer");
    demo.change_traffic(json!({ "rate": 2000, "clients": 64 }));
    eventually("it flows again", || demo.traffic("sent") > sent + 100);
    assert_eq!(demo.traffic("failed"), 0);
}

#[test]
fn counts_failed_requests() {
    let demo = Demo::start(&[]);
    (0..2).for_each(|number| _ = demo.change(number, json!({ "error_percent": 100 })));
    demo.change_traffic(json!({ "rate": 200 }));
    eventually("some fail", || demo.traffic("failed") >= 20);
    let told = demo.change_traffic(json!({ "rate": 0 }));
    assert_eq!(told["sent"], told["failed"]);
}

#[test]
fn ends_traffic_that_waits_for_slow_backends() {
    let demo = Demo::start(&["--delay=60s"]);
    demo.change_traffic(json!({ "rate": 2000, "clients": 16 }));
    eventually("all of them wait", || demo.traffic("sent") == 16);
    let began = Instant::now();
    let told = demo.change_traffic(json!({ "rate": 0 }));
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    assert_eq!(
        (&told["sent"], &told["failed"]),
        (&json!(16), &json!(0)),
        "an aborted request has not failed"
    );
    demo.has_threads("traffic-", 0);
}

#[test]
fn refuses_invalid_changes() {
    let demo = Demo::start(&[]);
    let before = demo.show();
    let (traffic, backend) =
        ("POST /api/demo/traffic", format!("POST /api/demo/backends/{}", demo.backends[0]));
    for (line, body, status, words) in [
        (traffic, r#"{"rate": 2001}"#, 422, "it must be from 0 to 2000"),
        (traffic, r#"{"rate": 10, "clients": 0}"#, 422, "it must be from 1 to 64"),
        (traffic, r#"{"rate": 10, "clients": 65}"#, 422, "it must be from 1 to 64"),
        (traffic, r#"{"rate": 10, "speed": 1}"#, 400, "\"speed\" is not a field of this request"),
        (traffic, r#"{"rate": "10"}"#, 400, "\"rate\" must be a whole number"),
        (&backend, r#"{"running": false, "delay_ms": 60001}"#, 422, "it must be from 0 to 60000"),
        (&backend, r#"{"running": false, "error_percent": -1}"#, 422, "it must be from 0 to 100"),
        (&backend, r#"{"delay_ms": 5, "running": 0}"#, 400, "\"running\" must be true or false"),
        (&backend, r#"{"delay_ms": 5, "delay": 5}"#, 400, "\"delay\" is not a field of this request"),
        (&backend, "no JSON", 400, "cannot be read as JSON"),
        (
            "POST /api/demo/backends/127.0.0.1:1",
            r#"{"delay_ms": 5}"#,
            404,
            "there is no demo backend 127.0.0.1:1",
        ),
        ("POST /api/demo/nothing", "{}", 404, "there is nothing at"),
        ("DELETE /api/demo/traffic", "{}", 405, "POST, PUT"),
    ] {
        demo.operator.refused(line, body, status, words);
    }
    let foreign = demo.operator.ask_with(traffic, &["Content-Type: text/plain"], r#"{"rate": 10}"#);
    assert_eq!(foreign.status, 415, "no web page in the browser starts traffic");
    assert_eq!(demo.show(), before);
}

#[test]
fn serves_no_demo_controls_outside_of_the_demo() {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    let line = format!("POST /api/demo/backends/{}", backend.addr);
    for line in ["GET /api/demo", "POST /api/demo/traffic", &line] {
        operator.refused(line, "", 404, "only `turnwheel demo` has");
    }
}

#[test]
fn stops_soon_under_load_and_with_slow_backends() {
    for edge in ["--edge=tiny-http", "--edge=parked"] {
        let mut demo = Demo::start(&[edge]);
        demo.change(1, json!({ "running": false }));
        demo.change(0, json!({ "delay_ms": 60000 }));
        demo.change_traffic(json!({ "rate": 500, "clients": 32 }));
        let mut client = demo.balancer.client();
        client.send(GET);
        eventually("requests wait", || demo.operator.backend(demo.backends[0])["in_flight"] == 33);
        let began = Instant::now();
        demo.balancer.signal(libc::SIGTERM);
        assert_eq!(client.read_reply().text(), demo.greeting(0), "a request that waits is answered");
        assert_eq!(demo.balancer.wait_exit(DEADLINE), 0);
        assert!(began.elapsed() < SOON, "{edge}: it took {:?}", began.elapsed());
        let log = demo.balancer.stderr();
        assert!(!log.contains("left behind") && !log.contains("cut off"), "{edge}: {log}");
        assert!(log.trim_end().ends_with("stopped"), "{edge}: {log}");
    }
}

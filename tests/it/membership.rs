//! Host names whose addresses change, through the library, because tests have no name server.

use crate::admin_client::AdminClient;
use crate::backend::Recorder;
use crate::bed::{eventually, get};
use serde_json::json;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use turnwheel::Balancer;
use turnwheel::Config;
use turnwheel::config::AdminOptions;
use turnwheel::config::Lookup;
use turnwheel::config::Upstream;
use turnwheel::shutdown;

/// The current result of a lookup.
#[derive(Clone, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    Fails,
}

#[derive(Default)]
struct Names {
    answer: Mutex<Option<Answer>>,
    asked: AtomicUsize,
}

impl Names {
    fn say(&self, addresses: &[u8]) {
        let ips = addresses.iter().map(|last| IpAddr::from([127, 0, 7, *last])).collect();
        *self.answer.lock().unwrap() = Some(Answer::Addresses(ips));
    }

    fn fail(&self) {
        *self.answer.lock().unwrap() = Some(Answer::Fails);
    }

    /// Waits until the current answer has taken effect.
    fn wait_until_asked(&self) {
        let before = self.asked.load(SeqCst);
        // The second lookup from now begins after the answer of the first has been applied.
        eventually("the name is looked up twice", || self.asked.load(SeqCst) >= before + 3);
    }
}

impl Lookup for Names {
    fn lookup(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let answer = self.answer.lock().unwrap().clone();
        self.asked.fetch_add(1, SeqCst);
        match answer {
            Some(Answer::Addresses(ips)) => Ok(ips.into_iter().map(|ip| (ip, port).into()).collect()),
            _ => Err(io::Error::other("unknown host")),
        }
    }
}

/// Starts backends on three addresses of this machine, with the same port.
fn three_on_one_port() -> (Vec<Recorder>, u16) {
    let mut found = None;
    eventually("a port is free on three addresses", || {
        let first = TcpListener::bind("127.0.7.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let others = [2, 3].map(|last| TcpListener::bind((IpAddr::from([127, 0, 7, last]), port)));
        let [Ok(second), Ok(third)] = others else { return false };
        found = Some((port, [first, second, third]));
        true
    });
    let (port, listeners) = found.unwrap();
    let name = |(listener, text)| Recorder::hello_on(listener, text);
    (listeners.into_iter().zip(["1", "2", "3"]).map(name).collect(), port)
}

fn upstream(urls: &[String]) -> Upstream {
    let members = urls.iter().map(|url| url.parse().unwrap()).collect();
    Upstream { resolve_interval: Duration::from_millis(20), ..Upstream::new(members) }
}

/// A balancer in this process, stopped on drop.
struct Inside {
    addr: SocketAddr,
    operator: AdminClient,
    stop: Option<shutdown::StopHandle>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Inside {
    fn start(urls: &[String], names: &Arc<Names>) -> Self {
        Inside::run(Config::with(upstream(urls)), names)
    }

    fn run(mut config: Config, names: &Arc<Names>) -> Self {
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin = Some(AdminOptions { listen: config.listen[0], token: None });
        let balancer =
            Balancer::with_lookup(config.validate().unwrap(), Arc::clone(names) as Arc<dyn Lookup>).unwrap();
        let (handle, stop) = shutdown::pair();
        let (addr, admin) = (balancer.local_addr().unwrap(), balancer.admin_addr().unwrap());
        let thread = thread::spawn(move || balancer.run(&stop).unwrap());
        Inside { addr, operator: AdminClient { addr: admin }, stop: Some(handle), thread: Some(thread) }
    }

    /// Returns the backends that serve this number of requests.
    fn served_by(&self, requests: usize) -> Vec<String> {
        let mut all: Vec<_> = (0..requests).map(|_| get(self.addr, "/").text().to_owned()).collect();
        all.sort();
        all.dedup();
        all
    }

    #[track_caller]
    fn eventually_has(&self, names: &[String]) {
        eventually(&format!("the backends are {names:?}"), || self.operator.names() == names);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.take().unwrap().stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

fn named(port: u16, addresses: &[u8]) -> Vec<String> {
    addresses.iter().map(|last| format!("127.0.7.{last}:{port}")).collect()
}

#[test]
fn each_address_of_a_name_is_a_backend_and_follows_its_changes() {
    let (backends, port) = three_on_one_port();
    let names = Arc::new(Names::default());
    names.say(&[2, 1]);
    let balancer = Inside::start(&[format!("http://app.test:{port}")], &names);
    assert_eq!(balancer.operator.names(), named(port, &[1, 2]));
    assert_eq!(balancer.served_by(4), ["1", "2"]);
    let tries = |last: usize| balancer.operator.backend(backends[last - 1].addr)["tries"].as_u64().unwrap();
    assert_eq!([tries(1), tries(2)], [2, 2]);

    names.say(&[3, 2, 1]);
    balancer.eventually_has(&named(port, &[1, 2, 3]));
    assert_eq!([tries(1), tries(2), tries(3)], [2, 2, 0], "those that stay are the same");
    assert_eq!(balancer.served_by(6), ["1", "2", "3"]);

    balancer.operator.drain(backends[2].addr);
    names.say(&[3, 2]);
    balancer.eventually_has(&named(port, &[2, 3]));
    assert_eq!(balancer.served_by(4), ["2"]);
    assert_eq!(balancer.operator.backend(backends[2].addr)["state"], "draining");
    let before = backends[0].requests().len();
    names.say(&[3]);
    balancer.eventually_has(&named(port, &[3]));
    balancer.operator.resume(backends[2].addr);
    assert_eq!(balancer.served_by(4), ["3"]);
    assert_eq!(backends[0].requests().len(), before, "a removed backend gets nothing");
}

#[test]
fn a_lookup_that_fails_or_finds_nothing_keeps_the_addresses() {
    let (_backends, port) = three_on_one_port();
    let names = Arc::new(Names::default());
    names.say(&[1, 2]);
    let balancer = Inside::start(&[format!("http://app.test:{port}")], &names);
    for bad in [Names::fail as fn(&Names), |names| names.say(&[])] {
        bad(&names);
        names.wait_until_asked();
        assert_eq!(balancer.operator.names(), named(port, &[1, 2]));
        assert_eq!(balancer.served_by(4), ["1", "2"]);
        names.say(&[2, 3]);
        balancer.eventually_has(&named(port, &[2, 3]));
        names.say(&[1, 2]);
        balancer.eventually_has(&named(port, &[1, 2]));
    }
}

#[test]
fn an_unknown_name_prevents_the_start() {
    let names = Arc::new(Names::default());
    let mut config = Config::new(vec!["http://app.test:1".parse().unwrap()]);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let Err(error) = Balancer::with_lookup(config.validate().unwrap(), names) else {
        panic!("it has started")
    };
    let text = error.to_string();
    assert!(text.starts_with("cannot find the address of backend http://app.test:1: unknown host"), "{text}");
}

#[test]
fn an_address_of_a_name_is_removed_with_the_name_only() {
    let (backends, port) = three_on_one_port();
    let names = Arc::new(Names::default());
    names.say(&[1, 2]);
    let balancer = Inside::start(&[format!("http://app.test:{port}")], &names);
    let operator = &balancer.operator;
    let one = format!("DELETE /api/backends/127.0.7.1:{port}");
    operator.refused(&one, "", 422, &format!("is one of the addresses of app.test:{port}"));
    operator.refused(&format!("DELETE /api/backends/app.test:{port}"), "", 422, "add another one first");
    operator.done("POST /api/backends", &format!("{{\"url\":\"http://127.0.7.3:{port}\"}}"));
    let gone = operator.done(&format!("DELETE /api/backends/app.test:{port}"), "");
    assert_eq!(gone, json!({ "removed": named(port, &[1, 2]) }));
    assert_eq!(operator.names(), named(port, &[3]));
    assert_eq!(balancer.served_by(3), ["3"]);
    drop(backends);
}

#[test]
fn an_added_name_is_looked_up_again() {
    let (_backends, port) = three_on_one_port();
    let names = Arc::new(Names::default());
    let balancer = Inside::start(&[format!("http://127.0.7.1:{port}")], &names);
    assert_eq!(names.asked.load(SeqCst), 0, "an address is not looked up");
    let add = |host: &str| format!("{{\"url\":\"http://{host}:{port}\"}}");
    balancer.operator.refused("POST /api/backends", &add("app.test"), 422, "unknown host");
    names.say(&[1]);
    balancer.operator.refused("POST /api/backends", &add("app.test"), 409, "exists already");
    names.say(&[1, 2]);
    balancer.operator.done("POST /api/backends", &add("app.test"));
    assert_eq!(balancer.operator.names(), named(port, &[1, 2]));
    names.say(&[2, 3]);
    balancer.eventually_has(&named(port, &[1, 2, 3]));
    names.say(&[3]);
    balancer.eventually_has(&named(port, &[1, 3]));
}

/// `app.test` and `app.test.` are the same host to the resolver.
#[test]
fn two_names_of_one_address_share_its_backend() {
    let (_backends, port) = three_on_one_port();
    let names = Arc::new(Names::default());
    names.say(&[1, 2]);
    let urls = ["app.test", "app.test."].map(|host| format!("http://{host}:{port}"));
    let balancer = Inside::start(&urls, &names);
    assert_eq!(balancer.operator.names(), named(port, &[1, 2]));
    balancer.operator.done(&format!("DELETE /api/backends/app.test:{port}"), "");
    balancer.eventually_has(&named(port, &[1, 2]));
    assert_eq!(balancer.served_by(4), ["1", "2"], "the other name has these addresses as well");
}

#[test]
fn a_slow_reload_does_not_undo_a_later_one() {
    let (_backends, port) = three_on_one_port();
    let urls = named(port, &[1, 2, 3]).iter().map(|name| format!("http://{name}")).collect::<Vec<_>>();
    let mut config = Config::with(upstream(&urls[..1]));
    let (begun, has_begun) = mpsc::channel();
    let (gate, opened) = mpsc::channel::<()>();
    let (calls, opened, later) = (AtomicUsize::new(0), Mutex::new(opened), urls[1..].to_vec());
    config.reread = Some(Box::new(move || {
        let call = calls.fetch_add(1, SeqCst);
        begun.send(()).unwrap();
        if call == 0 {
            opened.lock().unwrap().recv().unwrap();
        }
        Ok(upstream(&later[call..=call]))
    }));
    let balancer = Inside::run(config, &Arc::default());
    let operator = balancer.operator;
    let slow = thread::spawn(move || operator.reload().0);
    has_begun.recv().unwrap();
    let (done, is_done) = mpsc::channel();
    let quick = thread::spawn(move || done.send(operator.reload().0).unwrap());
    // The change may be applied before the slow lookup, or wait for it.
    let first = is_done.recv_timeout(Duration::from_millis(300));
    gate.send(()).unwrap();
    assert_eq!(first.or_else(|_| is_done.recv()), Ok(200));
    assert_eq!(slow.join().unwrap(), 200);
    quick.join().unwrap();
    assert_eq!(operator.names(), named(port, &[3]), "the configuration read last applies");
}

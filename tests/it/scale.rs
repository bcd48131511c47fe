//! Thousands of connections: `make test-heavy`. The balancer and the backend are separate processes, so that each needs
//! descriptors for one end only.

use crate::bed::{Balancer, Client};
use crate::parked::connect_from;
use crate::watch::{Figures, need_descriptors};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::ErrorKind::WouldBlock;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const HELLO: &str = "Hello from backend server on scale\n";

/// The descriptors that this process needs with all of these tests at once, with a reserve.
const DESCRIPTORS: u64 = 16_000;

const WORKERS: usize = 64;

/// Starts a backend and a balancer.
fn bed(flags: &[&str]) -> (Balancer, Balancer) {
    need_descriptors(DESCRIPTORS);
    let backend = Balancer::demo_backend(&["--name=scale"]);
    let balancer = Balancer::serve(&[backend.addr], &[&["--edge=parked"], flags].concat());
    (backend, balancer)
}

/// Connects from one of several client addresses, so that none runs out of ports.
fn connect(balancer: &Balancer, number: usize) -> Client {
    connect_from([127, 0, 0, 1 + (number % 4) as u8], balancer.addr)
}

/// One of many connections over which one thread sends requests without pause.
struct Busy {
    stream: TcpStream,
    reply: Vec<u8>,
    completed: usize,
}

impl Busy {
    fn send(&mut self) {
        self.reply.clear();
        self.stream.write_all(GET.as_bytes()).unwrap(); // it fits into the empty buffer
    }

    /// Reads what has arrived, and sends the next request after a complete reply.
    fn proceed(&mut self) {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => panic!("it was closed after {} requests", self.completed),
                Ok(n) => self.reply.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == WouldBlock => return,
                Err(error) => panic!("after {} requests: {error}", self.completed),
            }
            assert!(self.reply.starts_with(b"HTTP/1.1 200 "), "{}", self.reply.escape_ascii());
            if self.reply.ends_with(HELLO.as_bytes()) {
                self.completed += 1;
                self.send();
            }
        }
    }
}

/// Opens this number of connections, registered by their index.
fn busy(balancer: &Balancer, count: usize, registry: &Registry) -> Vec<Busy> {
    let begin = |number| {
        let stream = connect(balancer, number).stream;
        stream.set_nonblocking(true).unwrap();
        let mut source = SourceFd(&stream.as_raw_fd());
        registry.register(&mut source, Token(number), Interest::READABLE).unwrap();
        Busy { stream, reply: Vec::new(), completed: 0 }
    };
    (0..count).map(begin).collect()
}

mod heavy {
    use super::*;

    const MANY: usize = 10_000;
    const BUSY: usize = 2000;

    #[test]
    #[ignore = "heavy: ten thousand connections"]
    fn ten_thousand_idle_connections_are_held_and_each_is_served() {
        let (_backend, balancer) = bed(&[]); // with the defaults
        let began = Instant::now();
        let mut clients: Vec<_> = (0..MANY).map(|number| connect(&balancer, number)).collect();
        for client in &mut clients {
            assert_eq!(client.request(GET).text(), HELLO);
        }
        let figures = Figures::of(balancer.pid());
        println!("{MANY} idle connections after {:?}: {figures:?}", began.elapsed());
        assert!(figures.descriptors > MANY, "all of them are open: {figures:?}");
        assert!(figures.resident <= 60 << 10, "{figures:?}");
        assert!(figures.threads <= WORKERS + 6, "{figures:?}");
        let mut slowest = Duration::ZERO;
        for number in (0..200).map(|number| number * 7919 % MANY) {
            let began = Instant::now();
            assert_eq!(clients[number].request(GET).text(), HELLO);
            slowest = slowest.max(began.elapsed());
        }
        println!("200 of them were asked: the slowest took {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }

    #[test]
    #[ignore = "heavy: two thousand connections"]
    fn two_thousand_busy_connections_all_make_progress() {
        // All of them may wait: a shorter queue would refuse some.
        let (_backend, balancer) = bed(&["--workers=64", "--queue=2000"]);
        let mut poll = Poll::new().unwrap();
        let mut clients = busy(&balancer, BUSY, poll.registry());
        let (began, time) = (Instant::now(), Duration::from_secs(5));
        clients.iter_mut().for_each(Busy::send);
        let mut events = Events::with_capacity(BUSY);
        while began.elapsed() < time {
            poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
            events.iter().for_each(|event| clients[event.token().0].proceed());
        }
        let completed: Vec<_> = clients.iter().map(|client| client.completed).collect();
        let (least, most) = (completed.iter().min().unwrap(), completed.iter().max().unwrap());
        let (all, figures) = (completed.iter().sum::<usize>(), Figures::of(balancer.pid()));
        println!(
            "{BUSY} busy connections for {time:?}: {least} to {most} replies each, {all} in all, {figures:?}"
        );
        assert!(*least > 0, "{} got nothing", completed.iter().filter(|count| **count == 0).count());
        assert!(figures.threads <= WORKERS + 6, "{figures:?}");
    }
}

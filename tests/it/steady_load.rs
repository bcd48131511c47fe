//! Clients that keep a balancer busy during a test.

use crate::bed::{Client, eventually};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Clients that send requests one after the other, over a connection each, until they are stopped.
pub struct SteadyLoad {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    errors: Arc<Mutex<Vec<String>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Pause between a client's requests, which leaves processor time to the balancer.
const PAUSE: Duration = Duration::from_millis(5);

impl SteadyLoad {
    pub fn of(clients: usize, addr: SocketAddr) -> Self {
        let mut load = SteadyLoad {
            stop: Arc::default(),
            served: Arc::default(),
            errors: Arc::default(),
            threads: vec![],
        };
        for number in 0..clients {
            let (stop, served, errors) =
                (Arc::clone(&load.stop), Arc::clone(&load.served), Arc::clone(&load.errors));
            load.threads.push(thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(SeqCst) {
                    client.send(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
                    match client.try_read_reply() {
                        Ok(reply) if reply.status == 200 => _ = served.fetch_add(1, SeqCst),
                        Ok(reply) => errors.lock().unwrap().push(reply.raw_head),
                        Err(error) => {
                            errors.lock().unwrap().push(error.to_string());
                            client = Client::connect(addr);
                        }
                    }
                    thread::sleep(PAUSE);
                }
            }));
        }
        load
    }

    /// Returns how many requests have been answered with 200.
    pub fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    /// Waits until this number of further requests has been answered.
    #[track_caller]
    pub fn go_on_for(&self, requests: usize) {
        let until = self.served() + requests;
        eventually(&format!("{requests} more requests are answered"), || {
            assert_eq!(self.errors(), [""; 0]);
            self.served() >= until
        });
    }

    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// Stops the clients, asserts that every request was answered with 200, and returns their number.
    #[track_caller]
    pub fn finish(mut self) -> usize {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert_eq!(self.errors(), [""; 0]);
        assert!(self.served() > 0, "no request was sent");
        self.served()
    }
}

impl Drop for SteadyLoad {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

//! Who looks after a running balancer: asks its admin listener, changes its file. And a crowd of clients meanwhile.

use crate::bed::{Balancer, Client, Reply, eventually, listening, program};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Has the balancer listen for its operator.
pub const ADMIN: &str = "--admin=127.0.0.1:0";

/// Asks an admin listener, each time over a connection of its own.
#[derive(Clone, Copy)]
pub struct Operator {
    pub addr: SocketAddr,
}

impl Operator {
    /// The one of a balancer that was started with [`ADMIN`].
    pub fn of(balancer: &Balancer) -> Self {
        let mut found = None;
        eventually("it says where its admin listener is", || {
            found = listening(&balancer.stdout(), "Admin is listening on ");
            found.is_some()
        });
        Operator { addr: found.unwrap() }
    }

    /// A request with these header lines, and Host and Content-Length where they are not among them.
    pub fn ask_with(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        let mut head = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            head += &format!("Host: {}\r\n", self.addr);
        }
        headers.iter().for_each(|header| head += &format!("{header}\r\n"));
        head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        Client::connect(self.addr).request(head + body)
    }

    /// The same as an operator sends it.
    pub fn ask(&self, line: &str, body: &str) -> Reply {
        self.ask_with(line, &["Content-Type: application/json"], body)
    }

    /// The status, and what the body says.
    pub fn tell(&self, line: &str, body: &str) -> (u16, Value) {
        let reply = self.ask(line, body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    /// What has to be done.
    #[track_caller]
    pub fn done(&self, line: &str, body: &str) -> Value {
        let (status, said) = self.tell(line, body);
        assert!(status == 200 || status == 201, "{line} {body}: {status} {said}");
        said
    }

    /// What has to be refused, with a sentence that has these words.
    #[track_caller]
    pub fn refused(&self, line: &str, body: &str, status: u16, words: &str) {
        let (got, said) = self.tell(line, body);
        let sentence = said["error"].as_str().unwrap_or_default();
        assert!(got == status && sentence.contains(words), "{line} {body}: {got} {said}");
    }

    /// All backends.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let said = self.done("GET /api/backends", "");
        said["backends"].as_array().unwrap().clone()
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.list().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// One backend.
    #[track_caller]
    pub fn backend(&self, addr: SocketAddr) -> Value {
        let list = self.list();
        let found = list.iter().find(|one| one["name"] == addr.to_string());
        found.unwrap_or_else(|| panic!("{addr} is not among {list:?}")).clone()
    }

    #[track_caller]
    pub fn add(&self, addr: SocketAddr) {
        self.done("POST /api/backends", &format!("{{\"url\":\"http://{addr}\"}}"));
    }

    #[track_caller]
    pub fn remove(&self, addr: SocketAddr) {
        self.done(&format!("DELETE /api/backends/{addr}"), "");
    }

    #[track_caller]
    pub fn drain(&self, addr: SocketAddr) {
        self.done(&format!("POST /api/backends/{addr}/drain"), "");
    }

    #[track_caller]
    pub fn resume(&self, addr: SocketAddr) {
        self.done(&format!("POST /api/backends/{addr}/resume"), "");
    }

    /// By an API call.
    pub fn reload(&self) -> (u16, Value) {
        self.tell("POST /api/reload", "")
    }

    /// By the command.
    pub fn reload_command(&self) -> Output {
        program().args(["reload", &format!("--admin={}", self.addr)]).output().unwrap()
    }
}

/// A configuration file that changes.
pub struct File {
    folder: TempDir,
    pub path: PathBuf,
}

impl File {
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turnwheel.toml");
        let file = File { folder, path };
        file.write(text);
        file
    }

    /// Puts another text in its place at once, as editors do.
    pub fn write(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, &self.path).unwrap();
    }

    /// `turnwheel serve` with it, and with an admin listener.
    pub fn serve(&self, flags: &[&str]) -> (Balancer, Operator) {
        let config = format!("--config={}", self.path.display());
        let balancer = Balancer::serve(&[], &[&[ADMIN, &config], flags].concat());
        let operator = Operator::of(&balancer);
        (balancer, operator)
    }
}

/// A file with this text.
pub fn file_with(text: &str) -> (TempDir, PathBuf) {
    let File { folder, path } = File::new(text);
    (folder, path)
}

/// The line of a file that names these backends.
pub fn backends_line(backends: &[SocketAddr]) -> String {
    let urls: Vec<_> = backends.iter().map(|addr| format!("'http://{addr}'")).collect();
    format!("backend = [{}]\n", urls.join(", "))
}

/// A flag that takes a file.
pub fn file_flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Clients that ask again and again, over a connection each, until they are told to stop.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    errors: Arc<Mutex<Vec<String>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A moment between a client's requests: it leaves something of the machine to others.
const PAUSE: Duration = Duration::from_millis(5);

impl Crowd {
    pub fn of(clients: usize, addr: SocketAddr) -> Self {
        let mut crowd =
            Crowd { stop: Arc::default(), served: Arc::default(), errors: Arc::default(), threads: vec![] };
        for number in 0..clients {
            let (stop, served, errors) =
                (Arc::clone(&crowd.stop), Arc::clone(&crowd.served), Arc::clone(&crowd.errors));
            crowd.threads.push(thread::spawn(move || {
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
        crowd
    }

    /// How many requests have been answered with 200.
    pub fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    /// Lets so many more requests be answered.
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

    /// Ends it. How many requests were answered; that all of them were is asserted.
    #[track_caller]
    pub fn finish(mut self) -> usize {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert_eq!(self.errors(), [""; 0]);
        assert!(self.served() > 0, "nobody has asked");
        self.served()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

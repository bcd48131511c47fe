//! A client of a running balancer's admin listener.

use crate::bed::{Balancer, Client, Reply, eventually, listening, program};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Output;

/// Starts a balancer's admin listener on a port from the kernel.
pub const ADMIN: &str = "--admin=127.0.0.1:0";

/// Sends requests to an admin listener, each over a connection of its own.
#[derive(Clone, Copy)]
pub struct AdminClient {
    pub addr: SocketAddr,
}

impl AdminClient {
    /// Returns a client of a balancer that was started with [`ADMIN`].
    pub fn of(balancer: &Balancer) -> Self {
        let mut found = None;
        eventually("it says where its admin listener is", || {
            found = listening(&balancer.stdout(), "Admin is listening on ");
            found.is_some()
        });
        AdminClient { addr: found.unwrap() }
    }

    /// Sends a request with these header lines and Content-Length, and with a Host unless there is one among them.
    pub fn ask_with(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        let mut head = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            head += &format!("Host: {}\r\n", self.addr);
        }
        headers.iter().for_each(|header| head += &format!("{header}\r\n"));
        head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        Client::connect(self.addr).request(head + body)
    }

    /// Sends a request as JSON.
    pub fn ask(&self, line: &str, body: &str) -> Reply {
        self.ask_with(line, &["Content-Type: application/json"], body)
    }

    /// Sends a request as JSON, and returns the status and the answer.
    pub fn tell(&self, line: &str, body: &str) -> (u16, Value) {
        let reply = self.ask(line, body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    /// Sends a request that has to succeed, and returns the answer.
    #[track_caller]
    pub fn done(&self, line: &str, body: &str) -> Value {
        let (status, said) = self.tell(line, body);
        assert!(status == 200 || status == 201, "{line} {body}: {status} {said}");
        said
    }

    /// Sends a request that has to be refused with this status and a sentence with these words.
    #[track_caller]
    pub fn refused(&self, line: &str, body: &str, status: u16, words: &str) {
        let (got, said) = self.tell(line, body);
        let sentence = said["error"].as_str().unwrap_or_default();
        assert!(got == status && sentence.contains(words), "{line} {body}: {got} {said}");
    }

    /// Returns all backends.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let said = self.done("GET /api/backends", "");
        said["backends"].as_array().unwrap().clone()
    }

    /// Returns the names of all backends, in order.
    pub fn names(&self) -> Vec<String> {
        self.list().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns one backend.
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

    /// Reloads by an API call.
    pub fn reload(&self) -> (u16, Value) {
        self.tell("POST /api/reload", "")
    }

    /// Reloads by the command.
    pub fn reload_command(&self) -> Output {
        program().args(["reload", &format!("--admin={}", self.addr)]).output().unwrap()
    }
}

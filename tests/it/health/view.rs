//! The balancer together with what its admin listener says.

use crate::bed::{Balancer, Client, edge, eventually};
use serde_json::Value;
use std::net::SocketAddr;

/// A balancer with an admin listener.
pub struct View {
    pub balancer: Balancer,
    admin: SocketAddr,
}

impl View {
    /// In front of these backends.
    pub fn of(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let plain: Vec<_> = backends.iter().map(|addr| (*addr, "")).collect();
        View::of_parts(&plain, flags)
    }

    /// The same, each with what follows its URL, `,backup` say.
    pub fn of_parts(backends: &[(SocketAddr, &str)], flags: &[&str]) -> Self {
        let mut args = vec!["serve".to_owned(), "--listen=127.0.0.1:0".into()];
        args.push(format!("--edge={}", edge()));
        args.extend(backends.iter().map(|(addr, part)| format!("--backend=http://{addr}{part}")));
        args.push("--admin=127.0.0.1:0".into());
        args.extend(flags.iter().map(ToString::to_string));
        View::started(Balancer::start(&args))
    }

    /// Once it says where the admin listener is.
    pub fn started(balancer: Balancer) -> Self {
        let mut admin = None;
        eventually("it says where its admin listener is", || {
            let said = balancer.stdout();
            let line = said.lines().find_map(|line| line.strip_prefix("Admin is listening on "));
            admin = line.filter(|_| said.ends_with('\n')).map(|addr| addr.parse().unwrap());
            admin.is_some()
        });
        View { balancer, admin: admin.unwrap() }
    }

    /// Asks the admin listener for something that has to go well.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str) -> Value {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
            self.admin
        );
        let reply = Client::connect(self.admin).request(request);
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// What is said of all backends.
    #[track_caller]
    pub fn all(&self) -> Vec<Value> {
        self.ask("GET", "/api/backends")["backends"].as_array().unwrap().clone()
    }

    /// What is said of one.
    #[track_caller]
    pub fn shown(&self, addr: SocketAddr) -> Value {
        let all = self.all();
        let found = all.iter().find(|backend| backend["name"] == addr.to_string());
        found.unwrap_or_else(|| panic!("{addr} is not there: {all:?}")).clone()
    }

    #[track_caller]
    pub fn state(&self, addr: SocketAddr) -> String {
        self.shown(addr)["state"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn why(&self, addr: SocketAddr) -> String {
        self.shown(addr)["why"].as_str().unwrap().to_owned()
    }

    /// How many tries it has got.
    #[track_caller]
    pub fn tries(&self, addr: SocketAddr) -> u64 {
        self.shown(addr)["tries"].as_u64().unwrap()
    }

    /// Waits until it is said to be in this state.
    #[track_caller]
    pub fn until(&self, addr: SocketAddr, state: &str) {
        eventually(&format!("{addr} is {state}"), || self.state(addr) == state);
    }

    /// How often something has been logged about this backend.
    pub fn told(&self, addr: SocketAddr, what: &str) -> usize {
        let begin = format!("backend {addr} {what}");
        self.balancer.stderr().lines().filter(|line| line.contains(&begin)).count()
    }

    /// Waits until something has been logged about this backend.
    #[track_caller]
    pub fn until_told(&self, addr: SocketAddr, what: &str) {
        eventually(&format!("it is told that {addr} {what}"), || self.told(addr, what) > 0);
    }

    /// Asserts that this has been logged about this backend so often. What is logged takes a moment to get here.
    #[track_caller]
    pub fn has_told(&self, addr: SocketAddr, what: &str, times: usize) {
        eventually(&format!("it is told {times} times that {addr} {what}"), || {
            self.told(addr, what) >= times
        });
        assert_eq!(self.told(addr, what), times, "{what}: {}", self.balancer.stderr());
    }
}

//! A balancer together with its admin listener.

use crate::bed::{Balancer, Client, edge, eventually};
use serde_json::Value;
use std::net::SocketAddr;

/// A balancer with an admin listener.
pub struct View {
    pub balancer: Balancer,
    admin: SocketAddr,
}

impl View {
    /// Starts a balancer of these backends.
    pub fn of(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let plain: Vec<_> = backends.iter().map(|addr| (*addr, "")).collect();
        View::with_roles(&plain, flags)
    }

    /// Starts a balancer of these backends, each with its role as it follows the URL, such as `,backup`.
    pub fn with_roles(backends: &[(SocketAddr, &str)], flags: &[&str]) -> Self {
        let mut args = vec!["serve".to_owned(), "--listen=127.0.0.1:0".into()];
        args.push(format!("--edge={}", edge()));
        args.extend(backends.iter().map(|(addr, role)| format!("--backend=http://{addr}{role}")));
        args.push("--admin=127.0.0.1:0".into());
        args.extend(flags.iter().map(ToString::to_string));
        View::started(Balancer::start(&args))
    }

    /// Waits until the balancer has printed the address of its admin listener.
    pub fn started(balancer: Balancer) -> Self {
        let mut admin = None;
        eventually("it prints the address of its admin listener", || {
            let output = balancer.stdout();
            let line = output.lines().find_map(|line| line.strip_prefix("Admin is listening on "));
            admin = line.filter(|_| output.ends_with('\n')).map(|addr| addr.parse().unwrap());
            admin.is_some()
        });
        View { balancer, admin: admin.unwrap() }
    }

    /// Sends a request to the admin listener and asserts that it succeeds.
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

    /// Returns the report on all backends.
    #[track_caller]
    pub fn all(&self) -> Vec<Value> {
        self.ask("GET", "/api/backends")["backends"].as_array().unwrap().clone()
    }

    /// Returns the report on one backend.
    #[track_caller]
    pub fn report(&self, addr: SocketAddr) -> Value {
        let all = self.all();
        let found = all.iter().find(|backend| backend["name"] == addr.to_string());
        found.unwrap_or_else(|| panic!("{addr} is not there: {all:?}")).clone()
    }

    #[track_caller]
    pub fn state(&self, addr: SocketAddr) -> String {
        self.report(addr)["state"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn why(&self, addr: SocketAddr) -> String {
        self.report(addr)["why"].as_str().unwrap().to_owned()
    }

    /// Returns its number of tries.
    #[track_caller]
    pub fn tries(&self, addr: SocketAddr) -> u64 {
        self.report(addr)["tries"].as_u64().unwrap()
    }

    /// Waits until it is reported in this state.
    #[track_caller]
    pub fn until(&self, addr: SocketAddr, state: &str) {
        eventually(&format!("{addr} is {state}"), || self.state(addr) == state);
    }

    /// Returns how often this was logged about this backend.
    pub fn logged(&self, addr: SocketAddr, what: &str) -> usize {
        let begin = format!("backend {addr} {what}");
        self.balancer.stderr().lines().filter(|line| line.contains(&begin)).count()
    }

    /// Waits until this was logged about this backend.
    #[track_caller]
    pub fn until_logged(&self, addr: SocketAddr, what: &str) {
        eventually(&format!("it is logged that {addr} {what}"), || self.logged(addr, what) > 0);
    }

    /// Waits until this was logged this often about this backend, and asserts that it was not logged more often.
    #[track_caller]
    pub fn assert_logged(&self, addr: SocketAddr, what: &str, times: usize) {
        eventually(&format!("it is logged {times} times that {addr} {what}"), || {
            self.logged(addr, what) >= times
        });
        assert_eq!(self.logged(addr, what), times, "{what}: {}", self.balancer.stderr());
    }
}

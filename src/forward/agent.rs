//! A worker's ureq agent: how it is set up, and how its idle connections are closed.

use super::ForwardOptions;
use super::connector::{self, Trace, TracingConnector};
use http::Uri;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Makes agents, all alike.
pub struct Recipe {
    config: Config,
    connector: TracingConnector,
    target: Arc<Target>,
}

impl Recipe {
    /// `longest_line` is the longest request target that may come, in bytes.
    pub fn new(options: &ForwardOptions, target: Arc<Target>, longest_line: u64, trace: Arc<Trace>) -> Self {
        let connector = TracingConnector {
            trace,
            connect_timeout: options.connect_timeout,
            write_timeout: options.upstream_timeout,
            // ureq writes a line in one piece: the target with a method, a version and some air.
            output_buffer: connector::BUFFER.max(usize::try_from(longest_line).unwrap_or(0)) + 1024,
        };
        // Everything that a client for people does of its own accord is turned off.
        let config = Config::builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .timeout_recv_response(Some(options.reply_head_timeout))
            .timeout_per_read(Some(options.upstream_timeout))
            .max_idle_age(options.upstream_idle_timeout)
            .max_idle_connections(usize::MAX)
            .max_idle_connections_per_host(1) // a worker makes one call at a time
            .build();
        Recipe { config, connector, target }
    }

    /// An agent without any connection.
    pub fn agent(&self) -> Agent {
        Agent::with_parts(self.config.clone(), self.connector.clone(), Known(Arc::clone(&self.target)))
    }
}

/// A worker's agent as others see it, to end the call that is under way.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<Agent>>);

impl Handle {
    /// A handle on this agent.
    pub fn new(agent: Agent) -> Self {
        Handle(Arc::new(Mutex::new(agent)))
    }

    /// The agent of this moment.
    pub fn get(&self) -> Agent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another agent from now on. The connections of the one before are closed.
    pub fn set(&self, agent: Agent) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = agent;
    }

    /// Ends the call that is under way, if any, and all that would follow.
    pub fn shutdown(&self) {
        self.get().shutdown();
    }
}

/// Where the call that is under way goes. A worker makes one at a time.
#[derive(Debug, Default)]
pub struct Target(Mutex<Vec<SocketAddr>>);

impl Target {
    /// The next call goes to these addresses.
    pub fn set(&self, addresses: &[SocketAddr]) {
        let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        target.clear();
        target.extend_from_slice(addresses);
    }
}

/// Gives ureq the addresses that are known already: it asks before each request, even for a pooled
/// connection.
#[derive(Debug)]
struct Known(Arc<Target>);

impl Resolver for Known {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty(); // has room for 16
        for address in self.0.0.lock().unwrap_or_else(PoisonError::into_inner).iter().take(16) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}

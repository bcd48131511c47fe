//! The ureq agent of a worker: its configuration, and how its connections are closed.

use super::connector::{self, CallTrace, TracingConnector};
use super::options::ForwardOptions;
use http::Uri;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Creates agents with equal configurations.
pub struct AgentFactory {
    config: Config,
    connector: TracingConnector,
    target: Arc<CallTarget>,
}

impl AgentFactory {
    /// Creates a factory. `longest_target` is the longest request target, in bytes.
    pub fn new(
        options: &ForwardOptions,
        target: Arc<CallTarget>,
        longest_target: u64,
        trace: Arc<CallTrace>,
    ) -> Self {
        let connector = TracingConnector {
            trace,
            connect_timeout: options.connect_timeout,
            write_timeout: options.upstream_timeout,
            // ureq writes a line in one piece: the target with its method and version.
            output_buffer: connector::BUFFER.max(usize::try_from(longest_target).unwrap_or(0)) + 1024,
        };
        // A gateway adds nothing of its own: no redirects, no default headers.
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
        AgentFactory { config, connector, target }
    }

    /// Returns an agent without any connection.
    pub fn agent(&self) -> Agent {
        Agent::with_parts(self.config.clone(), self.connector.clone(), CallResolver(Arc::clone(&self.target)))
    }
}

/// A shared handle to a worker's agent, by which another thread can end its call.
#[derive(Clone)]
pub struct AgentHandle(Arc<Mutex<Agent>>);

impl AgentHandle {
    /// Creates a handle to this agent.
    pub fn new(agent: Agent) -> Self {
        AgentHandle(Arc::new(Mutex::new(agent)))
    }

    /// Returns the current agent.
    pub fn get(&self) -> Agent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the agent. The idle connections of the previous one are closed.
    pub fn replace(&self, agent: Agent) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = agent;
    }

    /// Ends the call under way, if any, and all later ones.
    pub fn shutdown(&self) {
        self.get().shutdown();
    }
}

/// The addresses of the call under way. A worker makes one at a time.
#[derive(Debug, Default)]
pub struct CallTarget(Mutex<Vec<SocketAddr>>);

impl CallTarget {
    /// Sets the addresses of the next call.
    pub fn set(&self, addresses: &[SocketAddr]) {
        let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        target.clear();
        target.extend_from_slice(addresses);
    }
}

/// Resolves every name to the current target: ureq resolves before each request, even for a pooled connection.
#[derive(Debug)]
struct CallResolver(Arc<CallTarget>);

impl Resolver for CallResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty(); // its capacity is 16
        for address in self.0.0.lock().unwrap_or_else(PoisonError::into_inner).iter().take(16) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}

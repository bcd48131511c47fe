//! The HTTP request of a probe, sent through an agent of its own.

use super::handle::ProbeHandle;
use super::reason;
use http::header::CONNECTION;
use http::{Method, Request, Response, Uri};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};
use ureq::{Agent, Body};

/// The longest timeout, whatever is configured: an `Instant` cannot hold an endless one.
pub(super) const ONE_DAY: Duration = Duration::from_secs(24 * 60 * 60);

const USER_AGENT: &str = "turnwheel-health";

/// How much of a reply's body is read, in bytes, and for how long. The status decides, but closing a connection with
/// unread bytes resets it, which many servers log as an error.
const MAX_BODY: u64 = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest head of a reply and of the request, in bytes.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// Builds the request of a probe.
///
/// # Errors
/// When host and path do not make a URL.
pub(super) fn request(method: Method, host: &str, path: &str) -> Result<Request<()>, String> {
    let uri = Uri::builder().scheme("http").authority(host).path_and_query(path).build();
    let uri = uri.ok().filter(|_| path.starts_with('/') && !path.contains('#'));
    let uri = uri.ok_or_else(|| reason::plain(&format!("{host:?} and {path:?} make no URL")))?;
    // The connection is not used again.
    let request = Request::builder().method(method).uri(uri).header(CONNECTION, "close").body(());
    request.map_err(|error| reason::plain(&error.to_string()))
}

/// Sends the request and returns the status of the reply.
///
/// # Errors
/// One line for the log.
pub(super) fn send(
    addresses: &[SocketAddr],
    request: Request<()>,
    timeout: Duration,
    handle: &ProbeHandle,
) -> Result<u16, String> {
    let connected = Arc::new(AtomicBool::new(false));
    let connector = TcpConnector::default().chain(ConnectObserver(Arc::clone(&connected)));
    let resolver = FixedAddresses(addresses.to_vec());
    let agent = Agent::with_parts(config(timeout.min(ONE_DAY)), connector, resolver);
    handle.begin(&agent);
    match agent.run(request) {
        Ok(reply) => Ok(drain(reply)),
        Err(error) => Err(reason::of_ureq(&error, connected.load(Relaxed), timeout)),
    }
}

/// Nothing is added to the request, and no connection is kept: whether a new one can be opened is part of the probe.
fn config(timeout: Duration) -> Config {
    Config::builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(USER_AGENT)
        .accept("")
        .accept_encoding("")
        // With a time limit, ureq's own resolver starts a thread. This agent has another resolver.
        .timeout_global(Some(timeout))
        .timeout_recv_body(Some(BODY_TIMEOUT))
        .max_response_header_size(MAX_HEAD)
        // One byte more than the limit: ureq takes a full buffer for the end of the connection.
        .input_buffer_size(MAX_HEAD + 1)
        .output_buffer_size(MAX_HEAD)
        .max_idle_connections(0)
        .build()
}

/// Reads the start of the body and returns the status.
fn drain(reply: Response<Body>) -> u16 {
    let status = reply.status().as_u16();
    // The status counts, whether or not the body can be read.
    let _ = io::copy(&mut reply.into_body().into_reader().take(MAX_BODY), &mut io::sink());
    status
}

/// Resolves every name to these addresses.
#[derive(Debug)]
struct FixedAddresses(Vec<SocketAddr>);

impl Resolver for FixedAddresses {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty(); // its capacity is 16
        for address in self.0.iter().take(16) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}

/// Records that a connection was opened: ureq's timeout errors do not say whether the connection or the reply was late.
#[derive(Debug)]
struct ConnectObserver(Arc<AtomicBool>);

impl<In: Transport> Connector<In> for ConnectObserver {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.0.store(chained.is_some(), Relaxed);
        Ok(chained)
    }
}

//! One backend: where it is, and how many requests it is serving now.

use crate::error::StartError;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A backend's address as a person writes it: `http://host:port`.
///
/// ```
/// use turnwheel::backend::BackendUrl;
///
/// let url: BackendUrl = "http://127.0.0.1:8081".parse().unwrap();
/// assert_eq!(url.to_string(), "http://127.0.0.1:8081");
/// assert!("https://127.0.0.1:8081".parse::<BackendUrl>().is_err());
/// assert!("http://127.0.0.1:8081/path".parse::<BackendUrl>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    host: String,
    port: u16,
}

/// Why a text is no backend URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no backend URL: {reason}; write it as http://host:port")]
pub struct BadBackendUrl {
    text: String,
    reason: &'static str,
}

impl FromStr for BackendUrl {
    type Err = BadBackendUrl;

    fn from_str(text: &str) -> Result<Self, BadBackendUrl> {
        let bad = |reason| BadBackendUrl { text: text.to_owned(), reason };
        if text.starts_with("https://") {
            return Err(bad("TLS to a backend is not supported yet"));
        }
        if !text.starts_with("http://") {
            return Err(bad("it does not begin with http://"));
        }
        if text.contains('#') {
            return Err(bad("it has a fragment"));
        }
        let uri: http::Uri = text.parse().map_err(|_| bad("it cannot be read"))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it has a user name"));
        }
        if uri.query().is_some() {
            return Err(bad("it has a query"));
        }
        if uri.path() != "/" {
            return Err(bad("it has a path"));
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str() == authority.host() => 80,
            None => return Err(bad("its port cannot be read")),
        };
        if port == 0 {
            return Err(bad("its port is 0"));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        Ok(BackendUrl { host, port })
    }
}

impl BackendUrl {
    /// Host and port as they stand in a URL: `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// All addresses of this host, in the resolver's order.
    fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        (host, self.port).to_socket_addrs().map(Iterator::collect)
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for BackendUrl {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        BackendUrl { host, port: address.port() }
    }
}

/// A backend that requests are sent to.
#[derive(Debug)]
pub struct Backend {
    authority: http::uri::Authority,
    addresses: Vec<SocketAddr>,
    in_flight: AtomicUsize,
    failing: AtomicBool,
}

impl Backend {
    /// Looks up the backend's addresses.
    ///
    /// # Errors
    /// When its name cannot be resolved, or has no address.
    pub fn resolve(url: &BackendUrl) -> Result<Self, StartError> {
        let failed = |cause| StartError::Resolve { backend: url.to_string(), cause };
        let addresses = url.resolve().map_err(failed)?;
        if addresses.is_empty() {
            return Err(failed(std::io::Error::other("the name has no address")));
        }
        let authority = url
            .authority()
            .parse()
            .map_err(|_| failed(std::io::Error::other("the name cannot stand in a URL")))?;
        Ok(Backend { authority, addresses, in_flight: AtomicUsize::new(0), failing: AtomicBool::new(false) })
    }

    /// Host and port, as they stand in a URL.
    pub fn authority(&self) -> &http::uri::Authority {
        &self.authority
    }

    /// Its addresses; never empty. A connection is tried on each in turn.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many requests it is serving now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Remembers how a try ended. True if the one before had ended otherwise: a log says so once, and
    /// not with each request.
    fn has_changed(&self, failed: bool) -> bool {
        self.failing.load(Ordering::Relaxed) != failed
            && self.failing.swap(failed, Ordering::Relaxed) != failed
    }

    /// Notes how a try ended, and says so when the backend begins to fail and when it is back.
    pub fn report(&self, failure: Option<&str>) {
        if self.has_changed(failure.is_some()) {
            let name = self.authority.as_str();
            match failure {
                Some(cause) => tracing::warn!("backend {name} fails: {cause}"),
                None => tracing::info!("backend {name} answers again"),
            }
        }
    }

    /// Counts one request in, until the guard is dropped.
    pub fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }
}

/// One request that a backend is serving: counts itself out when dropped, on a panic too.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Backend);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_refused_say_why() {
        for (text, reason) in [
            ("https://a:1", "TLS"),
            ("a:1", "does not begin with http://"),
            ("", "does not begin with http://"),
            ("ftp://a:1", "does not begin with http://"),
            ("http://", "cannot be read"),
            ("http://a:1/x", "a path"),
            ("http://a:1?x", "a query"),
            ("http://a:1#x", "a fragment"),
            ("http://u:p@a:1", "a user name"),
            ("http://a:0", "port is 0"),
            ("http://a:99999", "port cannot be read"),
            ("http://a:", "port cannot be read"),
            ("http://a b:1", "cannot be read"),
        ] {
            let error = text.parse::<BackendUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn urls_are_compared_as_they_are_meant() {
        let url = |text: &str| text.parse::<BackendUrl>().unwrap();
        assert_eq!(url("http://Example:80/"), url("http://example"));
        assert_eq!(url("http://[::1]:8081").authority(), "[::1]:8081");
        assert_eq!(url("http://[::1]:8081").resolve().unwrap(), ["[::1]:8081".parse().unwrap()]);
    }

    #[test]
    fn a_series_of_failures_is_news_once() {
        let backend = Backend::resolve(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
        let news = [false, true, true, false, false, true].map(|failed| backend.has_changed(failed));
        assert_eq!(news, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_request_counts_itself_out_on_a_panic_too() {
        let backend = Backend::resolve(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
        let outcome = std::panic::catch_unwind(|| {
            let _guard = backend.enter();
            assert_eq!(backend.in_flight(), 1);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(outcome.is_err());
        assert_eq!(backend.in_flight(), 0);
    }
}

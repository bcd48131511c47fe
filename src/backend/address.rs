//! The address of a backend: as it is configured, and as it is connected to.

use http::uri::Authority;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The URL of a backend in the configuration: `http://host:port`.
///
/// ```
/// use turnwheel::config::BackendUrl;
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

/// The reason why a text is not a backend URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a backend URL: {reason}; write it as http://host:port")]
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
    /// Returns host and port as in a URL: `host:port`, with an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
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

/// The resolved address of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAddress {
    /// Host and port as in a URL: the name of the backend.
    pub authority: Authority,
    /// Its socket addresses, tried in this order; never empty.
    pub addresses: Vec<SocketAddr>,
}

impl From<SocketAddr> for BackendAddress {
    fn from(address: SocketAddr) -> Self {
        let text = match address.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
        };
        // Digits and dots, or colons in brackets, always parse; the alternative is never used.
        let authority = text.parse().unwrap_or_else(|_| Authority::from_static("localhost"));
        BackendAddress { authority, addresses: vec![address] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_url_names_the_reason() {
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
    fn urls_are_normalised_before_they_are_compared() {
        let url = |text: &str| text.parse::<BackendUrl>().unwrap();
        assert_eq!(url("http://Example:80/"), url("http://example"));
        assert_eq!(url("http://[::1]:8081").authority(), "[::1]:8081");
        assert_eq!(url("http://[::1]:8081").host(), "::1");
    }

    #[test]
    fn an_address_is_named_as_in_a_url() {
        for (address, name) in [("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:81", "[::1]:81")] {
            let backend = BackendAddress::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(backend.authority, name);
        }
    }
}

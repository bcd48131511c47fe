//! A backend as a person names it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

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

    /// The host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
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

/// A backend as it is configured: where it is, and what part it plays.
///
/// On the command line the part follows the URL, after commas.
///
/// ```
/// use turnwheel::backend::Member;
///
/// let member: Member = "http://127.0.0.1:8081,weight=3,backup".parse().unwrap();
/// assert_eq!((member.weight, member.backup), (3, true));
/// assert_eq!(member, Member { weight: 3, backup: true, ..Member::from(member.url.clone()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is. A name may stand for several addresses: each of them is a backend of its own.
    pub url: BackendUrl,
    /// Its share relative to the others', 1 to [`MOST_WEIGHT`]. 1.
    pub weight: u32,
    /// Is it used only when no other is usable? No.
    pub backup: bool,
}

/// More would make the others' share vanish.
pub const MOST_WEIGHT: u32 = 1000;

/// Why a text names no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// Its URL.
    #[error(transparent)]
    Url(#[from] BadBackendUrl),
    /// What follows the URL.
    #[error("backend {url} has {part:?} behind it; write ,weight=N or ,backup")]
    Part {
        /// The URL, which is fine.
        url: BackendUrl,
        /// What is not.
        part: String,
    },
    /// Its weight.
    #[error("the weight of backend {url} is {weight}; it must be from 1 to {MOST_WEIGHT}")]
    Weight {
        /// The URL, which is fine.
        url: BackendUrl,
        /// What is not.
        weight: u32,
    },
}

impl Member {
    /// A backend with this part.
    ///
    /// # Errors
    /// When the weight is out of its range.
    pub fn new(url: BackendUrl, weight: u32, backup: bool) -> Result<Self, BadMember> {
        match weight {
            1..=MOST_WEIGHT => Ok(Member { url, weight, backup }),
            _ => Err(BadMember::Weight { url, weight }),
        }
    }
}

impl From<BackendUrl> for Member {
    fn from(url: BackendUrl) -> Self {
        Member { url, weight: 1, backup: false }
    }
}

impl FromStr for Member {
    type Err = BadMember;

    fn from_str(text: &str) -> Result<Self, BadMember> {
        let mut parts = text.split(',');
        let url: BackendUrl = parts.next().unwrap_or_default().parse()?;
        let (mut weight, mut backup) = (1, false);
        for part in parts {
            match part.trim().strip_prefix("weight=").map(str::parse) {
                Some(Ok(number)) => weight = number,
                None if part.trim() == "backup" => backup = true,
                _ => return Err(BadMember::Part { url, part: part.to_owned() }),
            }
        }
        Member::new(url, weight, backup)
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
        assert_eq!(url("http://[::1]:8081").host(), "::1");
    }

    #[test]
    fn parts_that_are_refused_say_why() {
        for (text, reason) in [
            ("http://a:1,weight=0", "from 1 to 1000"),
            ("http://a:1,weight=1001", "from 1 to 1000"),
            ("http://a:1,weight=-1", "\"weight=-1\" behind it"),
            ("http://a:1,weight=", "\"weight=\" behind it"),
            ("http://a:1,spare", "\"spare\" behind it"),
            ("http://a:1,", "\"\" behind it"),
            ("a:1,weight=1", "does not begin with http://"),
        ] {
            let error = text.parse::<Member>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

//! Resolving the host names of backends.

use crate::backend::address::{BackendAddress, BackendUrl};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Looks up host names. An embedding program may replace [`System`] by its own.
pub trait Lookup: Send + Sync {
    /// Returns the addresses of a host, with this port.
    ///
    /// # Errors
    /// When the name is unknown, or no resolver can be reached.
    fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver. It may block for as long as the system allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Lookup for System {
    fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// Returns whether the host is a name whose addresses may change.
pub fn is_name(url: &BackendUrl) -> bool {
    url.host().parse::<IpAddr>().is_err() && url.host() != "localhost"
}

/// Returns the backends of a URL: one for each address of a name. `localhost` is one backend with all its addresses,
/// because most servers listen on only one of them.
///
/// # Errors
/// When a name cannot be looked up, or has no address.
pub fn resolve(url: &BackendUrl, lookup: &dyn Lookup) -> io::Result<Vec<BackendAddress>> {
    if let Ok(ip) = url.host().parse() {
        return Ok(vec![SocketAddr::new(ip, url.port()).into()]);
    }
    let mut addresses = lookup.lookup(url.host(), url.port())?;
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    if !is_name(url) {
        let authority = url.authority().parse().map_err(io::Error::other)?;
        return Ok(vec![BackendAddress { authority, addresses }]);
    }
    // Resolvers rotate the list to spread clients that take the first address. A new order is not a change here.
    addresses.sort();
    addresses.dedup();
    Ok(addresses.into_iter().map(BackendAddress::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static [&'static str]);

    impl Lookup for Fixed {
        fn lookup(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(self.0.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect())
        }
    }

    fn names(url: &str, addresses: &'static [&'static str]) -> Vec<String> {
        let addresses = resolve(&url.parse().unwrap(), &Fixed(addresses)).unwrap();
        addresses.iter().map(|address| address.authority.to_string()).collect()
    }

    #[test]
    fn each_address_of_a_name_is_a_backend_in_a_fixed_order() {
        let found = names("http://app:8080", &["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(found, ["10.0.0.1:8080", "10.0.0.2:8080", "[::1]:8080"]);
    }

    #[test]
    fn localhost_and_an_address_are_one_backend_each() {
        assert_eq!(names("http://localhost:8081", &["::1", "127.0.0.1"]), ["localhost:8081"]);
        assert_eq!(names("http://127.0.0.1:8081", &["10.0.0.9"]), ["127.0.0.1:8081"]);
        assert_eq!(names("http://[::1]:8081", &[]), ["[::1]:8081"]);
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let url = "http://nowhere:1".parse().unwrap();
        assert!(resolve(&url, &Fixed(&[])).unwrap_err().to_string().contains("no address"));
    }
}

//! Where backends are: names and their addresses.

use crate::backend::{BackendAddress, BackendUrl};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Looks up names. The system's resolver does; a program that embeds the balancer may have its own.
pub trait Lookup: Send + Sync {
    /// The addresses of a host, with this port.
    ///
    /// # Errors
    /// When the name is not known, or nobody is there to ask.
    fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver. It blocks for as long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Lookup for System {
    fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// Is it a name whose addresses may change?
pub fn is_name(url: &BackendUrl) -> bool {
    url.host().parse::<IpAddr>().is_err() && url.host() != "localhost"
}

/// The backends that a URL stands for: each address of a name is one. Only `localhost` is a single one, with two addresses: the same
/// machine, where most servers listen on one of them.
///
/// # Errors
/// When a name cannot be looked up, or has no address.
pub fn places(url: &BackendUrl, lookup: &dyn Lookup) -> io::Result<Vec<BackendAddress>> {
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
    // Resolvers turn the list, so that clients that take the first spread. Here it is not a list of firsts.
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
        let places = places(&url.parse().unwrap(), &Fixed(addresses)).unwrap();
        places.iter().map(|place| place.authority.to_string()).collect()
    }

    #[test]
    fn each_address_of_a_name_is_a_backend_whatever_their_order() {
        let found = names("http://app:8080", &["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(found, ["10.0.0.1:8080", "10.0.0.2:8080", "[::1]:8080"]);
    }

    #[test]
    fn localhost_is_one_and_an_address_is_itself() {
        assert_eq!(names("http://localhost:8081", &["::1", "127.0.0.1"]), ["localhost:8081"]);
        assert_eq!(names("http://127.0.0.1:8081", &["10.0.0.9"]), ["127.0.0.1:8081"]);
        assert_eq!(names("http://[::1]:8081", &[]), ["[::1]:8081"]);
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let url = "http://nowhere:1".parse().unwrap();
        assert!(places(&url, &Fixed(&[])).unwrap_err().to_string().contains("no address"));
    }
}

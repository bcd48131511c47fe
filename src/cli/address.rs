//! Addresses as the command line and the file write them.

use std::net::{Ipv4Addr, SocketAddr};

/// A text that is neither an address with a port nor a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as 127.0.0.1:8080 or [::1]:8080, or as a port alone")]
pub struct BadAddress;

/// Reads an address. A port alone, as `9000` or `:9000`, is a port of 127.0.0.1.
///
/// # Errors
/// When the text is something else.
pub fn parse(text: &str) -> Result<SocketAddr, BadAddress> {
    let port = text.strip_prefix(':').unwrap_or(text);
    // The number's own parser would take a sign as well.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_number => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => text.parse().map_err(|_| BadAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        for (text, address) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_neither_an_address_nor_a_port() {
        for text in
            ["", ":", "+80", ":+80", "-1", "65536", "8080x", "::9000", "localhost:80", "127.0.0.1", " 80"]
        {
            assert_eq!(parse(text), Err(BadAddress), "{text:?}");
        }
    }
}

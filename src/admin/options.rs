//! The options of the admin listener.

use super::token::AdminToken;
use crate::error::StartError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Default address of the admin listener, for the demo and for the commands that connect to one: loopback only.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// The address of the admin listener, and the token that it requires.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// Address to listen on. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Token that requests must carry. Required when the address is not a loopback one.
    pub token: Option<AdminToken>,
}

impl AdminOptions {
    /// Checks that the listener is on loopback or has a token.
    ///
    /// # Errors
    /// When anyone who reaches the address could use it.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.token.is_none() && !self.listen.ip().to_canonical().is_loopback() {
            return Err(StartError::OpenAdmin { address: self.listen });
        }
        Ok(())
    }
}

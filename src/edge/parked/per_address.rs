//! The limit on connections from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the open connections of each client address, and limits them.
#[derive(Clone, Debug)]
pub struct PerAddressLimit {
    limit: usize,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a client. It counts until this is dropped.
#[derive(Debug)]
pub struct AddressGuard {
    address: IpAddr,
    limit: PerAddressLimit,
}

impl PerAddressLimit {
    /// Allows `limit` connections from each address.
    pub fn new(limit: usize) -> Self {
        PerAddressLimit { limit, connections: Arc::default() }
    }

    /// Counts a connection from `address`, or returns `None` if the address is at its limit.
    pub fn try_acquire(&self, address: IpAddr) -> Option<AddressGuard> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(AddressGuard { address, limit: self.clone() })
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut connections = self.limit.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_address_by_itself() {
        let limit = PerAddressLimit::new(1);
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let guard = limit.try_acquire(one);
        assert!(guard.is_some() && limit.try_acquire(one).is_none() && limit.try_acquire(two).is_some());
        drop(guard);
        assert!(limit.connections.lock().unwrap().is_empty(), "an address without connections is forgotten");
        assert!(limit.try_acquire(one).is_some());
    }
}

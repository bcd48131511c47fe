//! How many connections each client has, where that is limited.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by the client's address.
#[derive(Clone, Debug)]
pub struct PerAddressLimit {
    most: usize,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a client. It is counted until this is dropped.
#[derive(Debug)]
pub struct AddressGuard {
    client: IpAddr,
    clients: PerAddressLimit,
}

impl PerAddressLimit {
    /// So many connections for each client.
    pub fn with_at_most(most: usize) -> Self {
        PerAddressLimit { most, connections: Arc::default() }
    }

    /// Counts a connection, unless the client has as many as it may have.
    pub fn admit(&self, client: IpAddr) -> Option<AddressGuard> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(AddressGuard { client, clients: self.clone() })
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut connections = self.clients.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count() {
        let clients = PerAddressLimit::with_at_most(1);
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let ticket = clients.admit(one);
        assert!(ticket.is_some() && clients.admit(one).is_none() && clients.admit(two).is_some());
        drop(ticket);
        assert!(clients.connections.lock().unwrap().is_empty(), "who has left is forgotten");
        assert!(clients.admit(one).is_some());
    }
}

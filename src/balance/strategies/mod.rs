//! The selection algorithms, a short file each. Read round robin first: [`rotation`](crate::balance::rotation).

pub mod client_hash;
pub mod least_connections;
pub mod power_of_two;
#[cfg(test)]
pub(crate) mod tests;
pub mod weighted_round_robin;

//! One backend: its address, its health, its counters and its limit.

pub mod address;
pub mod checks;
pub mod counters;
pub mod ejection;
pub mod health_report;
pub mod health_state;
pub mod instance;
pub mod latency;
pub mod limit;
pub mod member;
pub mod waiting_queue;

pub use address::{BackendAddress, BackendUrl, BadBackendUrl};
pub use health_report::{HealthChange, HealthReport};
pub use health_state::{HealthState, Usable};
pub use instance::{Backend, InFlight};
pub use member::{BadMember, MOST_WEIGHT, Member};

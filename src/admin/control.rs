//! The traits through which the admin listener reads and changes the balancer and the demo.

use super::answers::changes::{Reloaded, Removed};
use super::answers::demo::DemoState;
use super::answers::history::Samples;
use super::answers::state::{BackendState, State};
use crate::cluster::change::ChangeError;
use std::time::Duration;

/// Changes of the backends at run time. A backend is named by its authority, `127.0.0.1:8081`.
pub trait Control: Send + Sync {
    /// Returns all backends.
    fn backends(&self) -> Vec<BackendState>;

    /// Adds the backends that a URL stands for, and returns them.
    ///
    /// # Errors
    /// When the URL cannot be used, or its backend exists already.
    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<BackendState>, ChangeError>;

    /// Removes a backend, and returns the names of all backends that were removed with it.
    ///
    /// # Errors
    /// When there is no backend of that name, or it is the last one.
    fn remove(&self, name: &str) -> Result<Removed, ChangeError>;

    /// Stops sending requests to a backend; requests in flight are finished.
    ///
    /// # Errors
    /// When there is no backend of that name.
    fn drain(&self, name: &str) -> Result<BackendState, ChangeError>;

    /// Sends requests to a drained backend again.
    ///
    /// # Errors
    /// When there is no backend of that name.
    fn resume(&self, name: &str) -> Result<BackendState, ChangeError>;

    /// Changes the weight of a backend.
    ///
    /// # Errors
    /// When there is no backend of that name, or the weight is out of range.
    fn set_weight(&self, name: &str, weight: u32) -> Result<BackendState, ChangeError>;

    /// Reads the configuration again and applies it.
    ///
    /// # Errors
    /// Every reason why it is not valid, one sentence each. Nothing has changed then.
    fn reload(&self) -> Result<Reloaded, Vec<String>>;

    /// Returns whether a request would be served.
    ///
    /// # Errors
    /// The reason why it would not, in a few words.
    fn ready(&self) -> Result<(), &'static str>;
}

/// Reads the state of the running balancer.
pub trait Insight: Send + Sync {
    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written in that format.
    fn metrics(&self) -> Result<String, prometheus::Error>;

    /// Returns the balancer and its backends at this moment.
    fn state(&self) -> State;

    /// Returns the samples of the last two minutes with a number above `after`.
    fn history(&self, after: u64) -> Samples;
}

/// Changes of the demo's backends and traffic at run time.
pub trait DemoControls: Send + Sync {
    /// Returns the demo's traffic and backends.
    fn show(&self) -> DemoState;

    /// Changes the traffic, and returns the state after the change.
    ///
    /// # Errors
    /// When the demo is stopping, or a thread cannot be started.
    fn change_traffic(&self, change: TrafficChange) -> Result<DemoState, ChangeError>;

    /// Changes, stops or starts a backend, and returns the state after the change.
    ///
    /// # Errors
    /// When there is no backend of that name, or its port is in use by now. Nothing has changed then.
    fn change_backend(&self, name: &str, change: BackendChange) -> Result<DemoState, ChangeError>;

    /// Ends the traffic and all delays, so that the balancer can stop. No change is made after this.
    fn clear(&self);
}

/// A change of the demo's traffic. `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficChange {
    /// Requests a second in all; 0 ends the traffic.
    pub rate: Option<u32>,
    /// Clients that make them.
    pub clients: Option<u32>,
}

/// A change of a demo backend. `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendChange {
    /// Delay of each response, including responses that are being delayed already.
    pub delay: Option<Duration>,
    /// Responses of a hundred that are a 500.
    pub error_percent: Option<u32>,
    /// Whether it runs.
    pub running: Option<bool>,
}

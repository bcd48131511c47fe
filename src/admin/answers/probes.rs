//! The answers to `GET /healthz` and `GET /readyz`.

use serde::{Deserialize, Serialize};

/// Whether the balancer is alive, or ready for traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// `ok`; `ready` or `not ready`.
    pub status: String,
    /// The reason why it is not ready; left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

//! Whether a failed try may be repeated, and where: one pure function with a table of cases.

use http::Method;

/// The facts of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFailure {
    /// Whether a connection was open. Without one, nothing reached the backend.
    pub connected: bool,
    /// Whether it was opened for this try. A pooled one may have been closed by the backend just before.
    pub fresh: bool,
    /// Whether any byte of a reply arrived.
    pub received: bool,
    /// Whether it timed out. The backend may still be working on it.
    pub timed_out: bool,
    /// Whether it was the client's upload that failed.
    pub client: bool,
}

/// Whether sending a request again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatability {
    /// Whether its method is idempotent (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// Whether its body is empty or unread.
    pub body_untouched: bool,
}

/// The action after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Send it again to the same backend over a new connection. Counted neither against its health nor as a retry.
    Redial,
    /// Try another backend, if one is left and the limits allow it.
    TryAnother,
    /// Answer the client with an error.
    GiveUp,
}

/// Returns the action after a failed try.
pub fn decide(failure: AttemptFailure, request: Repeatability) -> RetryDecision {
    let repeatable = request.idempotent && request.body_untouched;
    match failure {
        AttemptFailure { client: true, .. } => RetryDecision::GiveUp,
        AttemptFailure { connected: false, .. } => RetryDecision::TryAnother,
        AttemptFailure { timed_out: true, .. } | AttemptFailure { received: true, .. } => {
            RetryDecision::GiveUp
        }
        _ if !repeatable => RetryDecision::GiveUp,
        AttemptFailure { fresh: false, .. } => RetryDecision::Redial,
        AttemptFailure { fresh: true, .. } => RetryDecision::TryAnother,
    }
}

/// Returns whether this method is idempotent (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: AttemptFailure =
        AttemptFailure { connected: true, fresh: true, received: false, timed_out: false, client: false };
    const GET: Repeatability = Repeatability { idempotent: true, body_untouched: true };
    const POST: Repeatability = Repeatability { idempotent: false, body_untouched: true };
    const SENT_PUT: Repeatability = Repeatability { idempotent: true, body_untouched: false };

    #[test]
    fn the_rule_follows_the_table() {
        let refused = AttemptFailure { connected: false, ..LOST };
        let connect_timeout = AttemptFailure { timed_out: true, ..refused };
        let stale = AttemptFailure { fresh: false, ..LOST };
        let cut = AttemptFailure { received: true, ..LOST };
        let slow = AttemptFailure { timed_out: true, ..LOST };
        let client = AttemptFailure { client: true, ..LOST };
        use RetryDecision::{GiveUp, Redial, TryAnother};
        for (failure, get, post, sent_put) in [
            (refused, TryAnother, TryAnother, TryAnother),
            (connect_timeout, TryAnother, TryAnother, TryAnother),
            (stale, Redial, GiveUp, GiveUp),
            (LOST, TryAnother, GiveUp, GiveUp),
            (cut, GiveUp, GiveUp, GiveUp),
            (AttemptFailure { received: true, ..stale }, GiveUp, GiveUp, GiveUp),
            (slow, GiveUp, GiveUp, GiveUp),
            (AttemptFailure { timed_out: true, ..stale }, GiveUp, GiveUp, GiveUp),
            (client, GiveUp, GiveUp, GiveUp),
            (AttemptFailure { client: true, ..refused }, GiveUp, GiveUp, GiveUp),
        ] {
            let verdicts = [GET, POST, SENT_PUT].map(|request| decide(failure, request));
            assert_eq!(verdicts, [get, post, sent_put], "{failure:?}");
        }
    }

    #[test]
    fn posts_and_patches_are_not_idempotent() {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            assert!(is_idempotent(&method.parse().unwrap()), "{method}");
        }
        for method in ["POST", "PATCH", "PROPFIND", "LOCK"] {
            assert!(!is_idempotent(&method.parse().unwrap()), "{method}");
        }
    }
}

//! May a failed try be repeated, and where? The rule is one pure function with a table of its own.

use http::Method;

/// What is known of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Was there a connection? If not, the backend cannot have seen anything.
    pub connected: bool,
    /// Was it opened for this try? If not, it came out of the pool, and the backend may have closed
    /// it just before.
    pub fresh: bool,
    /// Was any byte of a reply seen?
    pub received: bool,
    /// Was it a wait that took too long? The backend may still be at work on it.
    pub timed_out: bool,
    /// Was the client the one who failed, in its upload?
    pub client: bool,
}

/// What is known of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Doing it twice is the same as doing it once (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// Its body is empty, or nobody has read of it.
    pub body_untouched: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Once more to the same backend, over a new connection. Not the backend's fault, so neither its
    /// health nor the count of retries is touched.
    Redial,
    /// Another backend, if one is left and the count allows it.
    Another,
    /// The client gets an error.
    GiveUp,
}

/// The rule.
pub fn next(failure: Failure, request: Request) -> Next {
    let repeatable = request.idempotent && request.body_untouched;
    match failure {
        Failure { client: true, .. } => Next::GiveUp,
        Failure { connected: false, .. } => Next::Another,
        Failure { timed_out: true, .. } | Failure { received: true, .. } => Next::GiveUp,
        _ if !repeatable => Next::GiveUp,
        Failure { fresh: false, .. } => Next::Redial,
        Failure { fresh: true, .. } => Next::Another,
    }
}

/// Is doing it twice the same as doing it once? (RFC 9110 §9.2.2)
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Failure =
        Failure { connected: true, fresh: true, received: false, timed_out: false, client: false };
    const GET: Request = Request { idempotent: true, body_untouched: true };
    const POST: Request = Request { idempotent: false, body_untouched: true };
    const SENT_PUT: Request = Request { idempotent: true, body_untouched: false };

    #[test]
    fn the_table() {
        let refused = Failure { connected: false, ..LOST };
        let connect_timeout = Failure { timed_out: true, ..refused };
        let stale = Failure { fresh: false, ..LOST };
        let cut = Failure { received: true, ..LOST };
        let slow = Failure { timed_out: true, ..LOST };
        let client = Failure { client: true, ..LOST };
        use Next::{Another, GiveUp, Redial};
        for (failure, get, post, sent_put) in [
            (refused, Another, Another, Another),
            (connect_timeout, Another, Another, Another),
            (stale, Redial, GiveUp, GiveUp),
            (LOST, Another, GiveUp, GiveUp),
            (cut, GiveUp, GiveUp, GiveUp),
            (Failure { received: true, ..stale }, GiveUp, GiveUp, GiveUp),
            (slow, GiveUp, GiveUp, GiveUp),
            (Failure { timed_out: true, ..stale }, GiveUp, GiveUp, GiveUp),
            (client, GiveUp, GiveUp, GiveUp),
            (Failure { client: true, ..refused }, GiveUp, GiveUp, GiveUp),
        ] {
            let verdicts = [GET, POST, SENT_PUT].map(|request| next(failure, request));
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

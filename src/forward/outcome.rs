//! The outcome of one try on one backend.

use crate::error::Refusal;
use crate::forward::retry::AttemptFailure;
use http::response;
use ureq::BodyReader;

/// A reply whose head has arrived.
pub struct BackendReply {
    /// Its status and headers.
    pub head: response::Parts,
    /// The length of its body, or `None` if the backend did not declare one.
    pub length: Option<u64>,
    /// Its body, streamed as it arrives.
    pub body: BodyReader<'static>,
}

/// A failed try.
#[derive(Debug)]
pub struct FailedAttempt {
    /// The facts that the retry rule needs.
    pub failure: AttemptFailure,
    /// The client's answer if this was the last try.
    pub refusal: Refusal,
    /// The cause, for the log.
    pub cause: String,
}

//! The way in which a request ended, as one word.

use crate::edge::relay::RelayError;
use crate::error::Refusal;
use std::io::{self, ErrorKind};

/// The way in which a request ended. The words are part of the access log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client was sent the whole reply of a backend, whatever its status.
    Ok,
    /// The client disconnected during its upload or its reply.
    ClientGone,
    /// The client sent or read nothing until a timeout.
    ClientSlow,
    /// The backend broke off its reply after the head had been relayed.
    BackendBrokeOff,
    /// Every backend that was tried failed before it began a reply.
    BackendFailed,
    /// The backend did not send the head of its reply, or the next part of its body, in time.
    Timeout,
    /// The balancer refused it. The log has the reason in another field.
    Rejected,
    /// Its worker panicked, which is a fault of the balancer.
    Panicked,
}

impl Ended {
    /// All variants.
    #[cfg(test)]
    pub const ALL: [Ended; 8] = [
        Ended::Ok,
        Ended::ClientGone,
        Ended::ClientSlow,
        Ended::BackendBrokeOff,
        Ended::BackendFailed,
        Ended::Timeout,
        Ended::Rejected,
        Ended::Panicked,
    ];

    /// Returns its word in the access log and the admin API.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Ok => "ok",
            Ended::ClientGone => "client_gone",
            Ended::ClientSlow => "client_slow",
            Ended::BackendBrokeOff => "backend_broke_off",
            Ended::BackendFailed => "backend_failed",
            Ended::Timeout => "timeout",
            Ended::Rejected => "rejected",
            Ended::Panicked => "panicked",
        }
    }

    /// Returns how a request ended whose reply was relayed with this result.
    pub fn after_relay(outcome: &Result<(), RelayError>) -> Self {
        match outcome {
            Ok(()) => Ended::Ok,
            Err(RelayError::Backend(error)) if is_timeout(error) => Ended::Timeout,
            Err(RelayError::Backend(_)) => Ended::BackendBrokeOff,
            Err(RelayError::Client(error)) if is_timeout(error) => Ended::ClientSlow,
            Err(RelayError::Client(_)) => Ended::ClientGone,
        }
    }
}

/// Returns how a request ended that was refused.
impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ClientGone => Ended::ClientGone,
            Refusal::HeadTooSlow | Refusal::ClientTooSlow => Ended::ClientSlow,
            Refusal::BadGateway => Ended::BackendFailed,
            Refusal::BackendTooSlow => Ended::Timeout,
            _ => Ended::Rejected,
        }
    }
}

/// Returns whether a timeout caused the error. A socket reports `WouldBlock` for it, and ureq an error of its own.
fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
        || matches!(inner, Some(ureq::Error::Timeout(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_distinct() {
        let words: BTreeSet<_> = Ended::ALL.iter().map(|ended| ended.word()).collect();
        assert_eq!(words.len(), Ended::ALL.len());
    }

    #[test]
    fn a_refusal_maps_to_the_word_of_its_status() {
        for refusal in Refusal::ALL {
            let expected = match refusal.status().as_u16() {
                502 => Ended::BackendFailed,
                504 => Ended::Timeout,
                408 => Ended::ClientSlow,
                _ if refusal == Refusal::ClientGone => Ended::ClientGone,
                _ => Ended::Rejected,
            };
            assert_eq!(Ended::from(refusal), expected, "{refusal:?}");
        }
    }

    #[test]
    fn a_failed_relay_names_the_side_at_fault() {
        let error = |kind: ErrorKind| io::Error::from(kind);
        for (outcome, expected) in [
            (Ok(()), Ended::Ok),
            (Err(RelayError::Backend(error(ErrorKind::UnexpectedEof))), Ended::BackendBrokeOff),
            (Err(RelayError::Backend(error(ErrorKind::TimedOut))), Ended::Timeout),
            (Err(RelayError::Client(error(ErrorKind::BrokenPipe))), Ended::ClientGone),
            (Err(RelayError::Client(error(ErrorKind::WouldBlock))), Ended::ClientSlow),
        ] {
            assert_eq!(Ended::after_relay(&outcome), expected, "{outcome:?}");
        }
    }
}

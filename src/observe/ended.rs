//! How a request ended, in one word.

use crate::edge::relay::RelayError;
use crate::error::Refusal;
use std::io::{self, ErrorKind};

/// How a request ended. The words are the access log's, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client has got the whole reply of a backend, whatever its status.
    Ok,
    /// The client went away: during its upload, or before it had its whole reply.
    ClientGone,
    /// The client sent or took nothing for too long.
    ClientSlow,
    /// The backend broke off its reply, after the client had got its head.
    BackendBrokeOff,
    /// Every backend that was tried failed before it had begun a reply.
    BackendFailed,
    /// The backend was too slow: with the head of its reply, or between two pieces of it.
    Timeout,
    /// The balancer did not serve it. The reason is beside it in the log.
    Rejected,
    /// A fault in the balancer.
    Panicked,
}

impl Ended {
    /// One of each kind.
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

    /// The word.
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

    /// After a reply of a backend's was relayed, or not to its end.
    pub fn after_relay(outcome: &Result<(), RelayError>) -> Self {
        match outcome {
            Ok(()) => Ended::Ok,
            Err(RelayError::Backend(error)) if is_late(error) => Ended::Timeout,
            Err(RelayError::Backend(_)) => Ended::BackendBrokeOff,
            Err(RelayError::Client(error)) if is_late(error) => Ended::ClientSlow,
            Err(RelayError::Client(_)) => Ended::ClientGone,
        }
    }
}

/// After an answer of the balancer's own.
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

/// A socket says that it would block when its timeout is over; ureq says so in an error of its own.
fn is_late(error: &io::Error) -> bool {
    let within = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
        || matches!(within, Some(ureq::Error::Timeout(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_end_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Ended::ALL.iter().map(|ended| ended.word()).collect();
        assert_eq!(words.len(), Ended::ALL.len());
    }

    #[test]
    fn what_a_refusal_is_called_goes_with_its_status() {
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
    fn a_relay_ends_by_whose_fault_it_was() {
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

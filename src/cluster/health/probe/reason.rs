//! The reason why a probe failed, in one line for the log. Pure.

use std::io::{self, ErrorKind};
use std::time::Duration;

/// The longest reason, in characters of the original text.
pub(super) const LONGEST_REASON: usize = 200;

pub(super) fn of_ureq(error: &ureq::Error, connected: bool, timeout: Duration) -> String {
    let awaited = if connected { "reply" } else { "connection" };
    match error {
        ureq::Error::Timeout(_) => timed_out(awaited, timeout),
        ureq::Error::Io(error) if is_timeout(error) => timed_out(awaited, timeout),
        ureq::Error::Io(error) => of_io(error),
        ureq::Error::Protocol(error) => plain(&format!("no valid reply: {error}")),
        ureq::Error::LargeResponseHeader(_, most) => format!("the reply's head is longer than {most} bytes"),
        error => plain(&error.to_string()),
    }
}

pub(super) fn of_io(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "connection closed before a reply".to_owned(),
        // Without the error number, and in the same words on every system.
        kind @ (ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::BrokenPipe) => kind.to_string(),
        _ => plain(&error.to_string()),
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

pub(super) fn timed_out(awaited: &str, timeout: Duration) -> String {
    format!("no {awaited} within {timeout:?}")
}

/// Returns one line that is safe for a log and a terminal, whatever the text contains.
pub(super) fn plain(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().take(LONGEST_REASON) {
        match character {
            ' '..='~' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

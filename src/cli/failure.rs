//! Why a command ended without success: what it says on standard error, and its exit code.

use crate::error::StartError;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// The exit code of a command that could not do its work.
const COULD_NOT_START: u8 = 1;

/// The exit code of a wrong command line; clap uses the same one.
const WRONG_USAGE: u8 = 2;

/// A command that failed, with one sentence for each reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    reasons: Vec<String>,
}

impl Failure {
    /// Returns the failure of a command that could not do its work.
    pub fn new(reasons: Vec<String>) -> Self {
        Failure { code: COULD_NOT_START, reasons }
    }

    /// Returns the failure of a command line that is wrong.
    pub fn wrong_usage(reasons: Vec<String>) -> Self {
        Failure { code: WRONG_USAGE, reasons }
    }

    /// Writes each reason to standard error, on a line with the program's name, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        let mut out = std::io::stderr().lock();
        for reason in &self.reasons {
            // Standard error may be closed, and then there is no other place for it.
            let _ = writeln!(out, "turnwheel: {reason}");
        }
        ExitCode::from(self.code)
    }
}

/// One reason per line, without the program's name.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("\n"))
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Failure::new(vec![reason])
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::from(error.to_string())
    }
}

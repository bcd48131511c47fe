//! What a command says on standard output.

use std::fmt;
use std::io::Write;

/// Writes a line to standard output. A pipe that is closed does not end the command.
pub fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

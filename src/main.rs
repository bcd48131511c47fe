//! The program: arguments, then the command, then the exit code.

use std::process::ExitCode;
use turnwheel::internals::{arguments, logging, run};

fn main() -> ExitCode {
    let command = arguments::parse();
    logging::to_standard_error();
    match run::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

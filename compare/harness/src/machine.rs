//! The machine and the time of a run.

use crate::results::Machine;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Returns a description of this machine.
pub fn describe() -> Machine {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kib = value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Machine {
        processor: value(&processors, "model name").unwrap_or_else(|| "unknown".into()),
        processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
        memory_mib: kib.unwrap_or_default() / 1024,
        kernel: first_line_of("uname", &["-sr"], Path::new("/")),
        rustc: first_line_of("rustc", &["--version"], Path::new("/")),
        load_average: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
    }
}

/// Returns the version of the sources in `folder`, as `git describe` prints it.
pub fn commit(folder: &Path) -> String {
    first_line_of("git", &["describe", "--always", "--dirty"], folder)
}

/// Returns the current time in UTC as RFC 3339, to the second.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Returns the first line that a program prints, or "unknown".
fn first_line_of(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

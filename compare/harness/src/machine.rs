//! Where and when a run is made.

use crate::results::Machine;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// This machine, now.
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
        kernel: said_by("uname", &["-sr"], Path::new("/")),
        rustc: said_by("rustc", &["--version"], Path::new("/")),
        load_average: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
    }
}

/// The version of the sources in this folder.
pub fn commit(folder: &Path) -> String {
    said_by("git", &["describe", "--always", "--dirty"], folder)
}

/// The time, to the second.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The first line that a program prints.
fn said_by(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

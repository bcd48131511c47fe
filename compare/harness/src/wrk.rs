//! Cross-checks the load generator: wrk and the harness's own load, in turn, on the same balancer.

use crate::cell::Cell;
use crate::measure::Trial;
use crate::program::{Programs, installed};
use crate::results::{CrossCheck, Settings};
use crate::variant::Variant;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::process::Command;

/// Duration of one measurement in seconds; wrk takes whole seconds only.
const SECONDS: u64 = 2;

const ROUNDS: u32 = 3;

/// Measures parked in the base cell with both load generators. Returns `None` if wrk is not installed.
///
/// # Errors
/// Returns an error if a program does not start, or wrk's output has no rate.
pub fn cross_check(programs: &Programs) -> Result<Option<CrossCheck>> {
    let Some(wrk) = installed("wrk") else { return Ok(None) };
    let settings = Settings { quick: true, rounds: ROUNDS, warm_up_ms: 200, window_ms: SECONDS * 1000 };
    let (variant, cell) = (Variant::Parked, &Cell::base());
    let trial = Trial { programs, variant, cell, settings, capacity: None };
    let mut check = CrossCheck::default();
    for round in 1..=ROUNDS {
        let load = trial.measure(round, None)?.load;
        check.own.push(load.good as f64 / load.seconds);
        let backends =
            [programs.backend("a", cell.body, cell.delay)?, programs.backend("b", cell.body, cell.delay)?];
        let balancer =
            programs.balancer(variant, cell, backends.each_ref().map(|backend| backend.address))?;
        let mut command = Command::new(&wrk);
        command.args(["-t1", &format!("-c{}", cell.connections), &format!("-d{SECONDS}s")]);
        check.wrk.push(rate(&mut command, balancer.address)?);
    }
    Ok(Some(check))
}

fn rate(command: &mut Command, address: SocketAddr) -> Result<f64> {
    let output = command.arg(format!("http://{address}/")).output().context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "wrk received replies other than 2xx: {text}");
    rate_in(&text).with_context(|| format!("wrk printed no rate: {text}"))
}

fn rate_in(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_rate_from_the_output_of_wrk() {
        assert_eq!(rate_in("  2 threads\nRequests/sec:  47123.45\nTransfer/sec: 6MB\n"), Some(47123.45));
        assert_eq!(rate_in("unable to connect"), None);
    }
}

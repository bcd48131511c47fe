//! A second opinion on the load: wrk, in turn with our own, on the same balancer.

use crate::cell::Cell;
use crate::measure::Subject;
use crate::program::{Programs, installed};
use crate::results::{SecondOpinion, Settings};
use crate::variant::Variant;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::process::Command;

/// How long each has its turn, in seconds: wrk counts in whole ones.
const TURN: u64 = 2;

const ROUNDS: u32 = 3;

/// What both say of the base cell, if wrk is there.
///
/// # Errors
/// When something does not start, or wrk does not say what it is known to say.
pub fn second_opinion(programs: &Programs) -> Result<Option<SecondOpinion>> {
    let Some(wrk) = installed("wrk") else { return Ok(None) };
    let settings = Settings { quick: true, rounds: ROUNDS, warm_up_ms: 200, window_ms: TURN * 1000 };
    let (variant, cell) = (Variant::Parked, &Cell::base());
    let subject = Subject { programs, variant, cell, settings, capacity: None };
    let mut opinion = SecondOpinion::default();
    for round in 1..=ROUNDS {
        let load = subject.measure(round, None)?.load;
        opinion.own.push(load.good as f64 / load.seconds);
        let backends =
            [programs.backend("a", cell.body, cell.delay)?, programs.backend("b", cell.body, cell.delay)?];
        let balancer =
            programs.balancer(variant, cell, backends.each_ref().map(|backend| backend.address))?;
        let mut command = Command::new(&wrk);
        command.args(["-t1", &format!("-c{}", cell.connections), &format!("-d{TURN}s")]);
        opinion.wrk.push(rate(&mut command, balancer.address)?);
    }
    Ok(Some(opinion))
}

fn rate(command: &mut Command, address: SocketAddr) -> Result<f64> {
    let output = command.arg(format!("http://{address}/")).output().context("wrk does not run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "wrk got other replies than 2xx: {text}");
    rate_in(&text).with_context(|| format!("wrk says no rate: {text}"))
}

fn rate_in(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_in_what_wrk_prints() {
        assert_eq!(rate_in("  2 threads\nRequests/sec:  47123.45\nTransfer/sec: 6MB\n"), Some(47123.45));
        assert_eq!(rate_in("unable to connect"), None);
    }
}

//! Which plots there are, and from which cells.

mod bars;
mod lines;
mod look;

use super::document::Plot;
use super::findings::Findings;
use crate::cell::{Arrivals, Beside, Cell};
use crate::prediction::Figure;
use crate::summary::Spread;
use crate::variant::Variant;
use anyhow::{Result, anyhow};
use lines::{Axis, Lines, Scale};

/// All that there can be.
pub const NAMES: [&str; 5] = ["throughput", "p99", "memory", "latency", "cost"];

/// A variant, and its points in order.
type Series = (Variant, Vec<(f64, Spread)>);

/// Draws those for which the run has figures.
///
/// # Errors
/// When one cannot be drawn.
pub fn draw(findings: &Findings) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (name, question, lines) in all_lines(findings) {
        // A line needs two points, and two cells are needed for anything to vary.
        if lines.series.iter().any(|(_, points)| points.len() > 1) {
            let svg = lines.draw().map_err(|error| anyhow!("cannot draw {name}: {error}"))?;
            plots.push(Plot { name, question, title: lines.title, svg });
        }
    }
    let bars: Vec<_> =
        findings.summary.rows("base").filter_map(|(variant, row)| Some((variant, row.processor?))).collect();
    if !bars.is_empty() {
        let title = "Processor time a reply, in the base cell";
        let svg = bars::draw(title, "microseconds a reply", &bars)
            .map_err(|error| anyhow!("cannot draw cost: {error}"))?;
        plots.push(Plot { name: "cost", question: "connections", title, svg });
    }
    Ok(plots)
}

fn all_lines(findings: &Findings) -> [(&'static str, &'static str, Lines); 4] {
    let clients = || Axis { title: "connections", scale: Scale::Log2 };
    let p99 = || Axis { title: "p99, milliseconds (logarithmic)", scale: Scale::Log10 };
    let throughput = Lines {
        title: "Goodput against the number of connections that ask",
        x: clients(),
        y: Axis { title: "good replies a second", scale: Scale::Linear },
        series: series(findings, "connections", connections, Figure::Goodput, 1.0),
    };
    let latency_of_closed_loops = Lines {
        title: "p99 latency against the number of connections that ask",
        x: clients(),
        y: p99(),
        series: series(findings, "connections", connections, Figure::P99, 1e-3),
    };
    let memory = Lines {
        title: "Memory against the number of idle connections",
        x: Axis { title: "idle connections", scale: Scale::Linear },
        y: Axis { title: "memory, MiB (logarithmic)", scale: Scale::Log10 },
        series: series(findings, "idle", idle, Figure::Memory, 1.0),
    };
    let latency = Lines {
        title: "p99 latency, from when a request was due, against the offered load",
        x: Axis { title: "requests offered a second", scale: Scale::Linear },
        y: p99(),
        series: series(findings, "offered", offered, Figure::P99, 1e-3),
    };
    [
        ("throughput", "connections", throughput),
        ("p99", "connections", latency_of_closed_loops),
        ("memory", "idle", memory),
        ("latency", "offered", latency),
    ]
}

fn connections(cell: &Cell) -> Option<f64> {
    Some(cell.connections as f64)
}

fn idle(cell: &Cell) -> Option<f64> {
    if let Beside::Idle(count) = cell.beside { Some(count as f64) } else { Some(0.0) }
}

fn offered(cell: &Cell) -> Option<f64> {
    if let Arrivals::Rate(rate) = cell.arrivals { Some(rate) } else { None }
}

/// This figure in a question's cells, times a unit. Of latency and memory, what is not above zero is left out: it
/// has no place on their logarithmic axis.
fn series(
    findings: &Findings,
    question: &str,
    x: fn(&Cell) -> Option<f64>,
    figure: Figure,
    unit: f64,
) -> Vec<Series> {
    let cells = findings.questions.iter().filter(|one| one.id == question).flat_map(|one| &one.cells);
    let cells: Vec<_> = cells.filter_map(|cell| Some((x(cell)?, &cell.id))).collect();
    let point = |variant, (x, id): &(f64, &String)| {
        let Spread { median, least, most } = findings.summary.figure(figure, id, variant)?;
        let spread = Spread { median: median * unit, least: least * unit, most: most * unit };
        (least > 0.0 || figure == Figure::Goodput).then_some((*x, spread))
    };
    let series =
        Variant::ALL.map(|variant| (variant, cells.iter().filter_map(|cell| point(variant, cell)).collect()));
    series.into_iter().filter(|(_, points): &Series| !points.is_empty()).collect()
}

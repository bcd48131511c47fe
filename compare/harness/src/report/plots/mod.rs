//! The plots of a report.

mod bars;
mod lines;
mod style;

use super::document::Plot;
use super::findings::Findings;
use crate::cell::{Arrivals, Background, Cell};
use crate::prediction::Figure;
use crate::summary::Spread;
use crate::variant::Variant;
use anyhow::{Result, anyhow};
use lines::{Axis, LinePlot, Scale, Series};

/// Names of all plots.
pub const NAMES: [&str; 5] = ["throughput", "p99", "memory", "latency", "cost"];

/// Draws the plots for which the run has figures.
///
/// # Errors
/// Returns an error if a plot cannot be drawn.
pub fn draw(findings: &Findings) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (name, question, lines) in all_lines(findings) {
        // A line needs two points.
        if lines.series.iter().any(|(_, points)| points.len() > 1) {
            let svg = lines.draw().map_err(|error| anyhow!("cannot draw {name}: {error}"))?;
            plots.push(Plot { name, question, title: lines.title, svg });
        }
    }
    let bars: Vec<_> =
        findings.summary.rows("base").filter_map(|(variant, row)| Some((variant, row.processor?))).collect();
    if !bars.is_empty() {
        let title = "Processor time per reply, in the base cell";
        let svg = bars::draw(title, "microseconds per reply", &bars)
            .map_err(|error| anyhow!("cannot draw cost: {error}"))?;
        plots.push(Plot { name: "cost", question: "connections", title, svg });
    }
    Ok(plots)
}

fn all_lines(findings: &Findings) -> [(&'static str, &'static str, LinePlot); 4] {
    let clients = || Axis { title: "connections", scale: Scale::Log2 };
    let p99 = || Axis { title: "p99, milliseconds (logarithmic)", scale: Scale::Log10 };
    let throughput = LinePlot {
        title: "Goodput against the number of connections",
        x: clients(),
        y: Axis { title: "good replies per second", scale: Scale::Linear },
        series: series(findings, "connections", connections, Figure::Goodput, 1.0),
    };
    let latency_of_closed_loops = LinePlot {
        title: "p99 latency against the number of connections",
        x: clients(),
        y: p99(),
        series: series(findings, "connections", connections, Figure::P99, 1e-3),
    };
    let memory = LinePlot {
        title: "Memory against the number of idle connections",
        x: Axis { title: "idle connections", scale: Scale::Linear },
        y: Axis { title: "memory, MiB (logarithmic)", scale: Scale::Log10 },
        series: series(findings, "idle", idle, Figure::Memory, 1.0),
    };
    let latency = LinePlot {
        title: "p99 latency, counted from the due time, against the offered load",
        x: Axis { title: "requests offered per second", scale: Scale::Linear },
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
    if let Background::Idle(count) = cell.background { Some(count as f64) } else { Some(0.0) }
}

fn offered(cell: &Cell) -> Option<f64> {
    if let Arrivals::Rate(rate) = cell.arrivals { Some(rate) } else { None }
}

/// Returns a figure in a question's cells, multiplied by `unit`. Zero is left out except for goodput, because
/// the other axes are logarithmic.
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

//! What was expected, in a form that the run itself can judge.

use crate::numbers::grouped;
use crate::variant::Variant;
use std::fmt;

/// A figure that a measurement has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Good replies a second.
    Goodput,
    /// The 99th percentile of latency.
    P99,
    /// Processor time a reply.
    Processor,
    /// Context switches a reply.
    Switches,
    /// Memory at most.
    Memory,
    /// Threads at most.
    Threads,
    /// Requests that failed, of all.
    Errors,
}

/// "In this cell, this variant's figure is between these bounds": by itself, as a ratio to another
/// variant's in the same cell, or as a ratio to its own in another cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The cell.
    pub cell: &'static str,
    /// The figure.
    pub figure: Figure,
    /// Whose.
    pub of: Variant,
    /// Over whose.
    pub over: Option<Variant>,
    /// Over its own in which cell.
    pub since: Option<&'static str>,
    /// At least.
    pub least: f64,
    /// At most.
    pub most: f64,
}

impl Prediction {
    /// About this figure.
    pub fn of(cell: &'static str, figure: Figure, of: Variant) -> Self {
        Prediction { cell, figure, of, over: None, since: None, least: 0.0, most: f64::INFINITY }
    }

    /// As a ratio to this variant's.
    pub fn over(self, other: Variant) -> Self {
        Prediction { over: Some(other), ..self }
    }

    /// As a ratio to its own in this cell.
    pub fn since(self, cell: &'static str) -> Self {
        Prediction { since: Some(cell), ..self }
    }

    /// Its bounds.
    pub fn between(self, least: f64, most: f64) -> Self {
        Prediction { least, most, ..self }
    }

    /// Has it come true?
    pub fn holds(&self, value: f64) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

impl Figure {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Goodput => "goodput",
            Figure::P99 => "p99",
            Figure::Processor => "processor time a reply",
            Figure::Switches => "context switches a reply",
            Figure::Memory => "memory",
            Figure::Threads => "threads",
            Figure::Errors => "share of errors",
        }
    }
}

impl fmt::Display for Prediction {
    /// As a sentence, without the cell.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prediction { figure, of, .. } = self;
        let (least, most) = (bound(self.least), bound(self.most));
        write!(out, "{of}: {} is ", figure.name())?;
        match (self.over, self.since) {
            (Some(other), _) => write!(out, "{least} to {most} times that of {other}"),
            (None, Some(cell)) => write!(out, "{least} to {most} times its own in {cell}"),
            (None, None) if least == most => write!(out, "{least}"),
            (None, None) => write!(out, "{least} to {most}"),
        }
    }
}

/// As it was written down.
fn bound(value: f64) -> String {
    if value < 1000.0 { value.to_string() } else { grouped(value as u64) }
}

//! Predictions written down before a run, in a form that the run can judge.

use crate::numbers::{grouped, ratio, rounded, time};
use crate::variant::Variant;
use std::fmt;

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Good replies per second.
    Goodput,
    /// The 99th percentile of latency.
    P99,
    /// Processor time per reply.
    Processor,
    /// Context switches per reply.
    Switches,
    /// Memory at the end of the window.
    Memory,
    /// Threads at the end of the window.
    Threads,
    /// Failed requests as a share of all.
    Errors,
}

/// States that a variant's figure in a cell lies within bounds: by itself, as a ratio to another variant in
/// the same cell, or as a ratio to the same variant in another cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The cell.
    pub cell: &'static str,
    /// The figure.
    pub figure: Figure,
    /// The variant.
    pub of: Variant,
    /// The variant to divide by.
    pub over: Option<Variant>,
    /// The cell of the same variant to divide by.
    pub over_cell: Option<&'static str>,
    /// Lower bound, inclusive.
    pub least: f64,
    /// Upper bound, inclusive.
    pub most: f64,
}

impl Prediction {
    /// Returns a prediction without bounds.
    pub fn of(cell: &'static str, figure: Figure, of: Variant) -> Self {
        Prediction { cell, figure, of, over: None, over_cell: None, least: 0.0, most: f64::INFINITY }
    }

    /// Makes it a ratio to another variant in the same cell.
    pub fn over(self, other: Variant) -> Self {
        Prediction { over: Some(other), ..self }
    }

    /// Makes it a ratio to the same variant in another cell.
    pub fn over_cell(self, cell: &'static str) -> Self {
        Prediction { over_cell: Some(cell), ..self }
    }

    /// Sets the bounds.
    pub fn between(self, least: f64, most: f64) -> Self {
        Prediction { least, most, ..self }
    }

    /// Returns whether a value is within the bounds.
    pub fn holds(&self, value: f64) -> bool {
        (self.least..=self.most).contains(&value)
    }

    /// Formats the measured value of the predicted figure, with as many digits as it takes to show on which side
    /// of a bound the value is.
    pub fn format(&self, value: f64) -> String {
        let is_ratio = self.over.is_some() || self.over_cell.is_some();
        match self.figure {
            _ if is_ratio => {}
            Figure::P99 => return time(value),
            Figure::Memory => return format!("{} MiB", rounded(value)),
            Figure::Goodput => return format!("{} /s", rounded(value)),
            Figure::Threads => return grouped(value.round() as u64),
            _ => {}
        }
        let shows_side = |text: &String| {
            text.replace(',', "").parse().is_ok_and(|shown| self.holds(shown) == self.holds(value))
        };
        [ratio(value), format!("{value:.4}")]
            .into_iter()
            .find(shows_side)
            .unwrap_or_else(|| value.to_string())
    }
}

impl Figure {
    /// Returns the name used in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Goodput => "goodput",
            Figure::P99 => "p99",
            Figure::Processor => "processor time per reply",
            Figure::Switches => "context switches per reply",
            Figure::Memory => "memory",
            Figure::Threads => "threads",
            Figure::Errors => "share of errors",
        }
    }
}

impl fmt::Display for Prediction {
    /// Formats the prediction as a sentence, without the cell.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prediction { figure, of, .. } = self;
        let (least, most) = (bound(self.least), bound(self.most));
        write!(out, "{of}: {} is ", figure.name())?;
        match (self.over, self.over_cell) {
            (Some(other), _) => write!(out, "{least} to {most} times that of {other}"),
            (None, Some(cell)) => write!(out, "{least} to {most} times its own in {cell}"),
            (None, None) if least == most => write!(out, "{least}"),
            (None, None) => write!(out, "{least} to {most}"),
        }
    }
}

/// Formats a bound.
fn bound(value: f64) -> String {
    if value < 1000.0 { value.to_string() } else { grouped(value as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_enough_digits_to_tell_on_which_side_of_a_bound_a_value_is() {
        let prediction =
            Prediction::of("base", Figure::Goodput, Variant::Parked).over(Variant::Async).between(0.5, 1.0);
        for (value, text) in [(0.934, "0.93"), (1.0, "1.00"), (1.004, "1.0040"), (0.4999, "0.4999")] {
            assert_eq!(prediction.format(value), text);
        }
    }
}

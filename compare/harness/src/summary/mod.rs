//! Summarizes a run: for each variant in each cell, the median and the range of every figure over the rounds.

use crate::prediction::{Figure, Prediction};
use crate::results::{Load, Measurement, Run, Usage};
use crate::variant::Variant;
use std::collections::BTreeMap;

/// Largest deviation of the Little's law ratio from 1. Rounding, and requests in flight at the edges of the
/// window, stay well below it.
const LITTLE_TOLERANCE: f64 = 0.05;

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Minimum.
    pub least: f64,
    /// Maximum.
    pub most: f64,
}

impl Spread {
    /// Summarizes the finite values. Returns `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median, least, most })
    }

    /// Returns whether the two ranges overlap.
    pub fn overlaps(self, other: Spread) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

/// The figures of one variant in one cell. A figure that was not measured or has no meaning is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of rounds.
    pub rounds: usize,
    /// Requests due per second.
    pub offered: Option<Spread>,
    /// Good replies per second.
    pub goodput: Option<Spread>,
    /// Their bodies in MiB per second.
    pub mib: Option<Spread>,
    /// Median latency in microseconds. Latencies are of rounds with good replies only.
    pub p50: Option<Spread>,
    /// 99th percentile of latency in microseconds.
    pub p99: Option<Spread>,
    /// 99.9th percentile of latency in microseconds.
    pub p999: Option<Spread>,
    /// Longest latency in microseconds.
    pub max: Option<Spread>,
    /// Processor time in seconds per million good replies, equal to microseconds per reply.
    pub processor: Option<Spread>,
    /// Context switches per reply.
    pub switches: Option<Spread>,
    /// System calls per reply.
    pub calls: Option<f64>,
    /// Memory in MiB.
    pub memory: Option<Spread>,
    /// Threads.
    pub threads: Option<Spread>,
    /// Failed requests as a share of all. The median is the share over all rounds together, because a true
    /// median would hide failures in one round of three.
    pub failed: Option<Spread>,
    /// Failures by kind, over all rounds.
    pub errors: BTreeMap<String, u64>,
    /// Open-loop requests without a reply at the end of the window, in the worst round.
    pub unanswered: Option<u64>,
    /// Connections without a good reply, in the worst round.
    pub nothing: u64,
    /// Fewest good replies of a connection in any round.
    pub fewest: u64,
    /// Most good replies of a connection in any round.
    pub most: u64,
    /// Ratio of Little's law.
    pub little: Option<Spread>,
}

impl Row {
    /// Summarizes the measured rounds and the round that counted system calls.
    fn of(rounds: &[&Measurement], counting: Option<&Measurement>) -> Row {
        let load = |figure: fn(&Load) -> f64| Spread::of(rounds.iter().map(|round| figure(&round.load)));
        let latency = |figure: fn(&Load) -> f64| {
            Spread::of(rounds.iter().filter(|round| round.load.good > 0).map(|round| figure(&round.load)))
        };
        let usage = |figure: fn(&Usage, &Load) -> f64| {
            let with_usage = rounds.iter().filter_map(|round| Some((round.usage.as_ref()?, &round.load)));
            Spread::of(with_usage.map(|(usage, load)| figure(usage, load)))
        };
        let maybe = |figure: fn(&Load) -> Option<f64>| {
            Spread::of(rounds.iter().filter_map(|round| figure(&round.load)))
        };
        Row {
            rounds: rounds.len(),
            offered: maybe(|load| load.offered),
            goodput: load(|load| load.good as f64 / load.seconds),
            mib: load(|load| load.bytes as f64 / load.seconds / f64::from(1 << 20)),
            p50: latency(|load| load.latency.p50),
            p99: latency(|load| load.latency.p99),
            p999: latency(|load| load.latency.p999),
            max: latency(|load| load.latency.max),
            processor: usage(|usage, load| usage.processor / load.good as f64 * 1e6),
            switches: usage(|usage, load| usage.switches as f64 / load.replies_ever as f64),
            calls: counting.and_then(calls_a_reply),
            memory: usage(|usage, _| usage.memory_kib as f64 / 1024.0),
            threads: usage(|usage, _| usage.threads as f64),
            failed: failed(rounds),
            errors: errors(rounds),
            unanswered: rounds.iter().filter_map(|round| round.load.unanswered).max(),
            nothing: rounds.iter().map(|round| round.load.nothing).max().unwrap_or_default(),
            fewest: rounds.iter().map(|round| round.load.fewest).min().unwrap_or_default(),
            most: rounds.iter().map(|round| round.load.most).max().unwrap_or_default(),
            little: maybe(|load| load.little),
        }
    }

    /// Returns the ratio of Little's law in the worst round if it deviates too far from 1, or `None`.
    pub fn violation(&self) -> Option<f64> {
        let little = self.little?;
        let off = |ratio: &f64| (ratio - 1.0).abs();
        let worst = [little.least, little.most].into_iter().max_by(|a, b| off(a).total_cmp(&off(b)))?;
        Some(worst).filter(|ratio| off(ratio) > LITTLE_TOLERANCE)
    }
}

fn calls_a_reply(counting: &Measurement) -> Option<f64> {
    let calls = counting.usage.as_ref()?.calls?;
    (counting.load.replies_ever > 0).then(|| calls as f64 / counting.load.replies_ever as f64)
}

fn errors(rounds: &[&Measurement]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (kind, count) in rounds.iter().flat_map(|round| &round.load.errors).filter(|(_, count)| **count > 0) {
        *sums.entry(kind.clone()).or_default() += count;
    }
    sums
}

fn failed(rounds: &[&Measurement]) -> Option<Spread> {
    let errors = |round: &Measurement| round.load.errors.values().sum::<u64>();
    let share = |errors: u64, good: u64| errors as f64 / (errors + good) as f64;
    let each = Spread::of(rounds.iter().map(|round| share(errors(round), round.load.good)))?;
    let all = rounds.iter().map(|round| errors(round)).sum();
    let good = rounds.iter().map(|round| round.load.good).sum();
    Some(Spread { median: share(all, good), ..each })
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    cells: BTreeMap<String, BTreeMap<Variant, Row>>,
}

impl Summary {
    /// Summarizes the measurements so far.
    pub fn of(run: &Run) -> Summary {
        let mut taken: BTreeMap<(&str, Variant), Vec<&Measurement>> = BTreeMap::new();
        for measurement in &run.measurements {
            taken.entry((&measurement.cell, measurement.variant)).or_default().push(measurement);
        }
        let mut summary = Summary::default();
        for ((cell, variant), measurements) in taken {
            let (rounds, counting): (Vec<_>, Vec<_>) =
                measurements.into_iter().partition(|one| one.round > 0);
            if !rounds.is_empty() {
                let row = Row::of(&rounds, counting.first().copied());
                summary.cells.entry(cell.to_owned()).or_default().insert(variant, row);
            }
        }
        summary
    }

    /// Returns the variants measured in a cell, in the order of the tables.
    pub fn rows(&self, cell: &str) -> impl Iterator<Item = (Variant, &Row)> {
        self.cells.get(cell).into_iter().flatten().map(|(variant, row)| (*variant, row))
    }

    /// Returns the figures of one variant in one cell, or `None` if it was not measured.
    pub fn row(&self, cell: &str, variant: Variant) -> Option<&Row> {
        self.cells.get(cell)?.get(&variant)
    }

    /// Returns one figure, in the unit of its [`Row`] field, or `None` if it was not measured.
    pub fn figure(&self, figure: Figure, cell: &str, variant: Variant) -> Option<Spread> {
        let row = self.row(cell, variant)?;
        match figure {
            Figure::Goodput => row.goodput,
            Figure::P99 => row.p99,
            Figure::Processor => row.processor,
            Figure::Switches => row.switches,
            Figure::Memory => row.memory,
            Figure::Threads => row.threads,
            Figure::Errors => row.failed,
        }
    }
}

/// Returns the value that a prediction is about and whether the prediction held, or `None` if something was
/// not measured or the divisor is zero.
pub fn judge(prediction: &Prediction, summary: &Summary) -> Option<(f64, bool)> {
    let Prediction { cell, figure, of, over, over_cell, .. } = *prediction;
    let median = |cell, variant| summary.figure(figure, cell, variant).map(|spread| spread.median);
    let value = median(cell, of)?
        / match (over, over_cell) {
            (Some(other), _) => median(cell, other)?,
            (None, Some(earlier)) => median(earlier, of)?,
            (None, None) => 1.0,
        };
    value.is_finite().then(|| (value, prediction.holds(value)))
}

/// The agreement of two runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Number of figures that both runs have.
    pub common: usize,
    /// Figures whose ranges do not overlap.
    pub disagreements: Vec<Disagreement>,
}

/// A figure on which two runs disagree.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Disagreement {
    pub cell: String,
    pub variant: Variant,
    pub figure: Figure,
    pub a: Spread,
    pub b: Spread,
}

/// Compares the ranges of goodput and p99 for every cell and variant that both runs have.
pub fn agreement(a: &Summary, b: &Summary) -> Agreement {
    let mut agreement = Agreement::default();
    for (cell, rows) in &a.cells {
        for &variant in rows.keys() {
            for figure in [Figure::Goodput, Figure::P99] {
                let both = a.figure(figure, cell, variant).zip(b.figure(figure, cell, variant));
                let Some((a, b)) = both else { continue };
                agreement.common += 1;
                if !a.overlaps(b) {
                    agreement.disagreements.push(Disagreement { cell: cell.clone(), variant, figure, a, b });
                }
            }
        }
    }
    agreement
}

#[cfg(test)]
mod tests;

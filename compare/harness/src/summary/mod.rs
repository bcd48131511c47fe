//! What came of a run: for each variant in each cell, every figure's median over the rounds, and how far apart
//! the rounds are.

use crate::prediction::{Figure, Prediction};
use crate::results::{Load, Measurement, Run, Usage};
use crate::variant::Variant;
use std::collections::BTreeMap;

/// Further than this from 1, the ratio of Little's law says that the load generator did not see what it thinks
/// it saw. Rounding, and requests under way at the window's edges, stay well below it.
const LITTLE_TOLERANCE: f64 = 0.05;

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least of them.
    pub least: f64,
    /// The most of them.
    pub most: f64,
}

impl Spread {
    /// Of these values. Nothing when there are none; what is no number (a rate over nothing) is left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median, least, most })
    }

    /// Have they a value in common?
    pub fn overlaps(self, other: Spread) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

/// One variant in one cell. What could not be measured, or has no meaning there, is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// How many rounds it has had.
    pub rounds: usize,
    /// Requests a second that were to be sent.
    pub offered: Option<Spread>,
    /// Good replies a second.
    pub goodput: Option<Spread>,
    /// Their bodies, in MiB a second.
    pub mib: Option<Spread>,
    /// Latency's median, in microseconds. As all latencies, of rounds with good replies only.
    pub p50: Option<Spread>,
    /// Its 99th percentile.
    pub p99: Option<Spread>,
    /// Its 99.9th percentile.
    pub p999: Option<Spread>,
    /// The longest.
    pub max: Option<Spread>,
    /// Processor time in seconds for a million good replies, which is microseconds a reply.
    pub processor: Option<Spread>,
    /// Context switches a reply.
    pub switches: Option<Spread>,
    /// System calls a reply.
    pub calls: Option<f64>,
    /// Memory at most, in MiB.
    pub memory: Option<Spread>,
    /// Threads at most.
    pub threads: Option<Spread>,
    /// Requests that failed, of all. In the middle stands the share over all rounds together, because a median
    /// would say that nothing failed when something failed in one round of three.
    pub failed: Option<Spread>,
    /// What failed, and how often, over all rounds.
    pub errors: BTreeMap<String, u64>,
    /// Requests of an open loop that had no reply when the window ended, in the worst round.
    pub unanswered: Option<u64>,
    /// How many connections got nothing good, in the worst round.
    pub nothing: u64,
    /// The fewest good replies that a connection got in any round.
    pub fewest: u64,
    /// The most.
    pub most: u64,
    /// Requests under way by Little's law over those that really were.
    pub little: Option<Spread>,
}

impl Row {
    /// From the rounds that count, and the round in which system calls were counted.
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

    /// The ratio of Little's law in the worst round, where it is too far from 1.
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

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    cells: BTreeMap<String, BTreeMap<Variant, Row>>,
}

impl Summary {
    /// Of this run, as far as it has come.
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

    /// What was measured in a cell, in the order of tables.
    pub fn rows(&self, cell: &str) -> impl Iterator<Item = (Variant, &Row)> {
        self.cells.get(cell).into_iter().flatten().map(|(variant, row)| (*variant, row))
    }

    /// One variant in one cell.
    pub fn row(&self, cell: &str, variant: Variant) -> Option<&Row> {
        self.cells.get(cell)?.get(&variant)
    }

    /// One figure of it: a second, microseconds, seconds a million, MiB, or a plain number.
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

/// What a prediction's value is, and whether it came true. Nothing when it cannot be told: something was not
/// measured, or is to be divided by zero.
pub fn judge(prediction: &Prediction, summary: &Summary) -> Option<(f64, bool)> {
    let Prediction { cell, figure, of, over, since, .. } = *prediction;
    let median = |cell, variant| summary.figure(figure, cell, variant).map(|spread| spread.median);
    let value = median(cell, of)?
        / match (over, since) {
            (Some(other), _) => median(cell, other)?,
            (None, Some(earlier)) => median(earlier, of)?,
            (None, None) => 1.0,
        };
    value.is_finite().then(|| (value, prediction.holds(value)))
}

/// Whether two runs came to the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// How many figures both have.
    pub common: usize,
    /// Those whose ranges have nothing in common.
    pub apart: Vec<Apart>,
}

/// A figure on which two runs do not agree.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Apart {
    pub cell: String,
    pub variant: Variant,
    pub figure: Figure,
    pub a: Spread,
    pub b: Spread,
}

/// Do the ranges of goodput and p99 overlap, in every cell and for every variant that both runs have?
pub fn agreement(a: &Summary, b: &Summary) -> Agreement {
    let mut agreement = Agreement::default();
    for (cell, rows) in &a.cells {
        for &variant in rows.keys() {
            for figure in [Figure::Goodput, Figure::P99] {
                let both = a.figure(figure, cell, variant).zip(b.figure(figure, cell, variant));
                let Some((a, b)) = both else { continue };
                agreement.common += 1;
                if !a.overlaps(b) {
                    agreement.apart.push(Apart { cell: cell.clone(), variant, figure, a, b });
                }
            }
        }
    }
    agreement
}

#[cfg(test)]
mod tests;

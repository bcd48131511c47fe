//! Ratios of turnwheel's two edges to async and nginx, in every cell where both variants were measured.

use super::document::{Block, Table, Text};
use super::findings::Findings;
use crate::numbers::{NONE, ratio};
use crate::prediction::Figure;
use crate::summary::{Spread, Summary};
use crate::variant::Variant::{self, Async, Nginx, Parked, TinyHttp};

const PAIRS: [(Variant, Variant); 4] =
    [(Parked, Async), (Parked, Nginx), (TinyHttp, Async), (TinyHttp, Nginx)];

const FIGURES: [(Figure, &str); 4] = [
    (Figure::Goodput, "goodput"),
    (Figure::P99, "p99"),
    (Figure::Processor, "processor"),
    (Figure::Memory, "memory"),
];

/// Medians closer than this differ by chance: in an open loop, goodput equals the offered load.
const MARGIN: f64 = 0.02;

/// Comparison of the goodput of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    More,
    Less,
    Neither,
}

/// Two variants, and the cells where both were measured.
struct Pair<'a> {
    pair: (Variant, Variant),
    cells: Vec<(&'a str, Verdict)>,
}

/// Returns a summary line for each pair.
pub fn lines(findings: &Findings) -> Vec<Text> {
    pairs(findings).map(|pair| pair.line()).collect()
}

/// Returns a heading and a table for each pair.
pub fn blocks(findings: &Findings) -> Vec<Block> {
    pairs(findings)
        .flat_map(|pair| {
            let heading = Block::Heading(3, pair.anchor(), pair.name());
            [heading, Block::Table(pair.table(&findings.summary))]
        })
        .collect()
}

fn pairs<'a>(findings: &'a Findings) -> impl Iterator<Item = Pair<'a>> {
    let verdict = |id: &str, (of, over): (Variant, Variant)| {
        let goodput = |variant| findings.summary.figure(Figure::Goodput, id, variant);
        Some(Verdict::of(goodput(of)?, goodput(over)?))
    };
    PAIRS
        .into_iter()
        .map(move |pair| {
            let ids = findings.cells.iter().map(|cell| cell.id.as_str());
            Pair { pair, cells: ids.filter_map(|id| Some((id, verdict(id, pair)?))).collect() }
        })
        .filter(|pair| !pair.cells.is_empty())
}

impl Verdict {
    fn of(this: Spread, other: Spread) -> Verdict {
        match () {
            () if this.overlaps(other) || (this.median / other.median - 1.0).abs() < MARGIN => {
                Verdict::Neither
            }
            () if this.median > other.median => Verdict::More,
            () => Verdict::Less,
        }
    }

    fn text(self) -> Text {
        match self {
            Verdict::More => Text::default().strong("more"),
            Verdict::Less => Text::default().strong("less"),
            Verdict::Neither => "no difference".into(),
        }
    }
}

impl Pair<'_> {
    fn name(&self) -> String {
        format!("{} over {}", self.pair.0, self.pair.1)
    }

    fn anchor(&self) -> String {
        self.name().replace(' ', "-")
    }

    fn line(&self) -> Text {
        let count = |verdict| self.cells.iter().filter(|(_, this)| *this == verdict).count();
        Text::default().link(self.name(), self.anchor()).plain(format!(
            ", in {} cells: more goodput in {}, less in {}, no difference in {}.",
            self.cells.len(),
            count(Verdict::More),
            count(Verdict::Less),
            count(Verdict::Neither)
        ))
    }

    fn table(&self, summary: &Summary) -> Table {
        let (of, over) = self.pair;
        let over_rival = |id: &str, figure| {
            let median = |variant| summary.figure(figure, id, variant).map(|spread| spread.median);
            let over = median(of)? / median(over)?;
            over.is_finite().then(|| ratio(over))
        };
        let row = |&(id, verdict): &(&str, Verdict)| {
            let ratios = FIGURES.map(|(figure, _)| over_rival(id, figure).map_or(NONE.into(), Text::from));
            let mut row = vec![Text::default().link(id, id)];
            row.extend(ratios);
            row.push(verdict.text());
            row
        };
        let names = FIGURES.map(|(_, name)| name);
        let columns = ["cell"].into_iter().chain(names).chain(["goodput is"]).map(Text::from).collect();
        Table { columns, rows: self.cells.iter().map(row).collect(), is_text: false }
    }
}

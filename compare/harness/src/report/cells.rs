//! A cell: what it is, and its figures.

use super::document::{Table, Text};
use super::findings::Findings;
use crate::cell::{Arrivals, Beside, Cell, Delay, Event};
use crate::numbers::{self, NONE, grouped, three, time};
use crate::cluster::snapshot::Question;
use crate::prediction::Figure;
use crate::summary::{Row, Spread};
use crate::variant::Variant;

/// Bodies from here on are what moves, and worth a column of their own.
const LARGE_BODY: usize = 1 << 10;

/// A column of a cell's table.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    text: fn(&Cell, &Row) -> Text,
}

/// All that a cell's table can have, in order.
pub const COLUMNS: [Column; 16] = [
    Column {
        name: "offered /s",
        meaning: "requests that were due each second; open loops only",
        text: |_, row| middle(row.offered, three),
    },
    Column {
        name: "goodput /s",
        meaning: "whole replies with a status of 2xx, each second",
        text: |_, row| spread(row.goodput, three),
    },
    Column {
        name: "MiB/s",
        meaning: "their bodies; only where these are large",
        text: |cell, row| middle(row.mib.filter(|_| cell.body > LARGE_BODY), three),
    },
    Column {
        name: "p50",
        meaning: "latency of good replies: the median",
        text: |_, row| middle(row.p50, time),
    },
    Column { name: "p99", meaning: "what 99 of 100 do not exceed", text: |_, row| spread(row.p99, time) },
    Column {
        name: "p99.9",
        meaning: "what 999 of 1,000 do not exceed",
        text: |_, row| middle(row.p999, time),
    },
    Column { name: "max", meaning: "the longest in a round", text: |_, row| middle(row.max, time) },
    Column {
        name: "processor s/M",
        meaning: "processor time of the balancer in seconds for a million good replies, which is microseconds a reply",
        text: |_, row| spread(row.processor, three),
    },
    Column {
        name: "switches",
        meaning: "context switches a reply",
        text: |_, row| middle(row.switches, three),
    },
    Column {
        name: "calls",
        meaning: "system calls a reply",
        text: |_, row| row.calls.map_or(none(), |calls| three(calls).into()),
    },
    Column { name: "memory MiB", meaning: "as the window ends", text: |_, row| middle(row.memory, three) },
    Column {
        name: "threads",
        meaning: "as the window ends",
        text: |_, row| middle(row.threads, |count| grouped(count as u64)),
    },
    Column {
        name: "a connection got",
        meaning: "the fewest and the most good replies of one connection, over all rounds",
        text: |_, row| format!("{}–{}", grouped(row.fewest), grouped(row.most)).into(),
    },
    Column {
        name: "got nothing",
        meaning: "connections without any good reply, in the worst round",
        text: |_, row| grouped(row.nothing).into(),
    },
    Column {
        name: "errors",
        meaning: "by kind, over all rounds, and their share of all requests",
        text: |_, row| errors(row),
    },
    Column {
        name: "Little",
        meaning: "the ratio of Little's law; 1 is right; closed loops only",
        text: |_, row| little(row),
    },
];

/// Its figures, with a row for each variant that was measured there. A column that says nothing of any is left
/// out. Nothing when nothing was measured.
pub fn table(cell: &Cell, findings: &Findings) -> Option<Table> {
    let rows: Vec<_> = findings.summary.rows(&cell.id).collect();
    if rows.is_empty() {
        return None;
    }
    let says_something = |column: &&Column| rows.iter().any(|(_, row)| (column.text)(cell, row) != none());
    let columns: Vec<&Column> = COLUMNS.iter().filter(says_something).collect();
    let names = [Text::from("variant")].into_iter().chain(columns.iter().map(|column| column.name.into()));
    let texts = |(variant, row): &(Variant, &Row)| {
        let figures = columns.iter().map(|column| (column.text)(cell, row));
        [Text::from(variant.name())].into_iter().chain(figures).collect()
    };
    Some(Table { columns: names.collect(), rows: rows.iter().map(texts).collect(), is_text: false })
}

/// A question's cells beside each other: goodput, p99, and memory where something is expected of it.
pub fn glance(question: &Question, findings: &Findings) -> Table {
    let memory = shows_memory(question);
    let is_asked = |variant: &Variant| question.only.is_empty() || question.only.contains(variant);
    let was_measured = |variant: &Variant| {
        question.cells.iter().any(|cell| findings.summary.row(&cell.id, *variant).is_some())
    };
    let figures = |cell: &Cell, variant| {
        let row = findings.summary.row(&cell.id, variant)?;
        let figure =
            |spread: Option<Spread>, format: fn(f64) -> String| spread.map(|spread| format(spread.median));
        let goodput = figure(row.goodput, |value| format!("{} /s", three(value)));
        let memory = figure(row.memory.filter(|_| memory), |value| format!("{} MiB", three(value)));
        Some([goodput, figure(row.p99, time), memory].into_iter().flatten().collect::<Vec<_>>().join(" · "))
    };
    let row = |variant| {
        let texts = question.cells.iter().map(|cell| figures(cell, variant).map_or(none(), Text::from));
        [Text::from(variant.name())].into_iter().chain(texts).collect()
    };
    let columns = question.cells.iter().map(|cell| Text::default().link(&cell.label, &cell.id));
    Table {
        columns: [Text::from("variant")].into_iter().chain(columns).collect(),
        rows: Variant::ALL.into_iter().filter(is_asked).filter(was_measured).map(row).collect(),
        is_text: false,
    }
}

/// What stands in it, in words.
pub fn glanced(question: &Question) -> &'static str {
    if shows_memory(question) { "goodput, p99 and memory" } else { "goodput and p99" }
}

fn shows_memory(question: &Question) -> bool {
    question.predictions.iter().any(|prediction| prediction.figure == Figure::Memory)
        || question.cells.iter().any(|cell| matches!(cell.beside, Beside::Idle(_)))
}

/// What makes it differ from the base cell, in words.
pub fn description(cell: &Cell) -> String {
    let differences = differences(cell);
    if differences.is_empty() {
        return "64 connections in a closed loop, kept alive; replies of 64 bytes, which backends send at once; \
                each balancer as it is by default, with room for more than 10,000 connections."
            .into();
    }
    format!("Like base, but: {}.", differences.join("; "))
}

fn differences(cell: &Cell) -> Vec<String> {
    let base = Cell::base();
    let mut all = Vec::new();
    if cell.connections != base.connections {
        let count = grouped(cell.connections as u64);
        all.push(if count == "1" { "one connection".into() } else { format!("{count} connections") });
    }
    match cell.arrivals {
        Arrivals::Closed => {}
        Arrivals::Rate(rate) => {
            all.push(format!("an open loop of {} requests a second", numbers::tick(rate)))
        }
        Arrivals::TimesCapacity(times) => {
            all.push(format!("an open loop of {times} times the variant's own goodput in base"));
        }
    }
    if !cell.keep_alive {
        all.push("a connection for each request".into());
    }
    match cell.delay {
        Delay::None => {}
        Delay::Fixed(delay) => all.push(format!("backends take {delay:?}")),
        Delay::Either(short, long) => all.push(format!("backends take {short:?}, or {long:?} once in 20")),
    }
    if cell.body != base.body {
        let kib = cell.body >> 10;
        all.push(if kib < 1024 {
            format!("replies of {kib} KiB")
        } else {
            format!("replies of {} MiB", kib >> 10)
        });
    }
    all.extend(cell.workers.map(|workers| format!("{workers} workers, where there is a pool of them")));
    all.extend(company(cell.beside));
    match cell.event {
        Event::None => {}
        Event::Stall => all
            .push("one of the two backends stops a third into the window, and keeps its connections".into()),
        Event::Kill => all.push("one of the two backends is killed a third into the window".into()),
    }
    if cell.patience != base.patience {
        all.push(format!("balancers wait {:?} for a backend", cell.patience));
    }
    all
}

fn company(beside: Beside) -> Option<String> {
    match beside {
        Beside::Nobody => None,
        Beside::Idle(count) => Some(format!("{} idle connections beside them", grouped(count as u64))),
        Beside::SlowReaders(count) => {
            Some(format!("{count} clients beside them that hardly read their 16 MiB"))
        }
        Beside::TrickledHeads(count) => {
            Some(format!("{count} clients beside them that send a head a byte at a time"))
        }
    }
}

fn none() -> Text {
    NONE.into()
}

fn middle(figure: Option<Spread>, format: fn(f64) -> String) -> Text {
    figure.map_or(none(), |figure| format(figure.median).into())
}

fn spread(figure: Option<Spread>, format: fn(f64) -> String) -> Text {
    let Some(figure) = figure else { return none() };
    let text = Text::from(format(figure.median));
    match numbers::range(figure.least, figure.most, format) {
        Some(range) => text.small(range),
        None => text,
    }
}

fn errors(row: &Row) -> Text {
    let kinds = row.errors.iter().map(|(kind, count)| Text::from(format!("{kind} {}", grouped(*count))));
    let share = row.failed.map_or(0.0, |failed| failed.median);
    let failed = match share {
        0.0 => "0".into(),
        share => Text::joined(kinds).small(format!("{} %", three(share * 100.0))),
    };
    match row.unanswered.filter(|count| *count > 0) {
        Some(count) => failed.plain(format!("; unanswered {}", grouped(count))),
        None => failed,
    }
}

fn little(row: &Row) -> Text {
    match (row.violation(), row.little) {
        (Some(ratio), _) => Text::default().alarm(format!("{ratio:.2} violated")),
        (None, Some(ratio)) => format!("{:.2}", ratio.median).into(),
        (None, None) => none(),
    }
}

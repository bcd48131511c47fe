//! Describes a cell and tabulates its figures.

use super::document::{Table, Text};
use super::findings::Findings;
use crate::cell::{Arrivals, Background, Cell, Delay, Event};
use crate::numbers::{self, NONE, grouped, rounded, time};
use crate::plan::Question;
use crate::prediction::Figure;
use crate::summary::{Row, Spread};
use crate::variant::Variant;

/// Body size in bytes above which a table has a throughput column.
const LARGE_BODY: usize = 1 << 10;

/// A column of a cell's table.
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// Explanation for the reader.
    pub meaning: &'static str,
    text: fn(&Cell, &Row) -> Text,
}

/// Every column that a cell's table can have, in order.
pub const COLUMNS: [Column; 16] = [
    Column {
        name: "offered /s",
        meaning: "requests due per second; open loops only",
        text: |_, row| median(row.offered, rounded),
    },
    Column {
        name: "goodput /s",
        meaning: "complete replies with a 2xx status per second",
        text: |_, row| spread(row.goodput, rounded),
    },
    Column {
        name: "MiB/s",
        meaning: "throughput of reply bodies; only with large bodies",
        text: |cell, row| median(row.mib.filter(|_| cell.body > LARGE_BODY), rounded),
    },
    Column { name: "p50", meaning: "median latency of good replies", text: |_, row| median(row.p50, time) },
    Column { name: "p99", meaning: "99th percentile of latency", text: |_, row| spread(row.p99, time) },
    Column { name: "p99.9", meaning: "99.9th percentile of latency", text: |_, row| median(row.p999, time) },
    Column { name: "max", meaning: "longest latency of a round", text: |_, row| median(row.max, time) },
    Column {
        name: "processor s/M",
        meaning: "processor time of the balancer in seconds per million good replies, equal to microseconds per reply",
        text: |_, row| spread(row.processor, rounded),
    },
    Column {
        name: "switches",
        meaning: "context switches per reply",
        text: |_, row| median(row.switches, rounded),
    },
    Column {
        name: "calls",
        meaning: "system calls per reply",
        text: |_, row| row.calls.map_or(none(), |calls| rounded(calls).into()),
    },
    Column {
        name: "memory MiB",
        meaning: "at the end of the window",
        text: |_, row| median(row.memory, rounded),
    },
    Column {
        name: "threads",
        meaning: "at the end of the window",
        text: |_, row| median(row.threads, |count| grouped(count as u64)),
    },
    Column {
        name: "replies per connection",
        meaning: "fewest and most good replies of one connection, over all rounds",
        text: |_, row| format!("{}–{}", grouped(row.fewest), grouped(row.most)).into(),
    },
    Column {
        name: "unserved",
        meaning: "connections without a good reply, in the worst round",
        text: |_, row| grouped(row.nothing).into(),
    },
    Column {
        name: "errors",
        meaning: "failed requests by kind, over all rounds, and their share of all requests",
        text: |_, row| errors(row),
    },
    Column {
        name: "Little",
        meaning: "ratio of Little's law, ideally 1; closed loops only",
        text: |_, row| little(row),
    },
];

/// Returns a cell's table with a row for each measured variant, or `None` if none was measured. Empty columns
/// are left out.
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

/// Returns a table of a question's cells: goodput, p99, and memory where a prediction is about memory.
pub fn overview(question: &Question, findings: &Findings) -> Table {
    let memory = shows_memory(question);
    let is_asked = |variant: &Variant| question.only.is_empty() || question.only.contains(variant);
    let was_measured = |variant: &Variant| {
        question.cells.iter().any(|cell| findings.summary.row(&cell.id, *variant).is_some())
    };
    let figures = |cell: &Cell, variant| {
        let row = findings.summary.row(&cell.id, variant)?;
        let figure =
            |spread: Option<Spread>, format: fn(f64) -> String| spread.map(|spread| format(spread.median));
        let goodput = figure(row.goodput, |value| format!("{} /s", rounded(value)));
        let memory = figure(row.memory.filter(|_| memory), |value| format!("{} MiB", rounded(value)));
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

/// Names the figures in the overview table.
pub fn overview_figures(question: &Question) -> &'static str {
    if shows_memory(question) { "goodput, p99 and memory" } else { "goodput and p99" }
}

fn shows_memory(question: &Question) -> bool {
    question.predictions.iter().any(|prediction| prediction.figure == Figure::Memory)
        || question.cells.iter().any(|cell| matches!(cell.background, Background::Idle(_)))
}

/// Describes how a cell differs from the base cell.
pub fn description(cell: &Cell) -> String {
    let differences = differences(cell);
    if differences.is_empty() {
        return "64 keep-alive connections in a closed loop; replies of 64 bytes, sent without delay; each \
                balancer with its defaults, except that it accepts more than 10,000 connections."
            .into();
    }
    format!("Like base, except: {}.", differences.join("; "))
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
            all.push(format!("an open loop of {} requests per second", numbers::tick(rate)))
        }
        Arrivals::TimesCapacity(times) => {
            all.push(format!("an open loop at {times} times the variant's own goodput in base"));
        }
    }
    if !cell.keep_alive {
        all.push("one connection per request".into());
    }
    match cell.delay {
        Delay::None => {}
        Delay::Fixed(delay) => all.push(format!("backend delay of {delay:?}")),
        Delay::Bimodal(short, long) => {
            all.push(format!("backend delay of {short:?}, or {long:?} for one request in 20"))
        }
    }
    if cell.body != base.body {
        let kib = cell.body >> 10;
        all.push(if kib < 1024 {
            format!("replies of {kib} KiB")
        } else {
            format!("replies of {} MiB", kib >> 10)
        });
    }
    all.extend(cell.workers.map(|workers| format!("{workers} workers, for variants with a pool")));
    all.extend(background(cell.background));
    match cell.event {
        Event::None => {}
        Event::Stall => all.push(
            "one of the two backends is stopped a third into the window, and keeps its connections".into(),
        ),
        Event::Kill => all.push("one of the two backends is killed a third into the window".into()),
    }
    if cell.reply_timeout != base.reply_timeout {
        all.push(format!("a reply timeout of {:?}", cell.reply_timeout));
    }
    all
}

fn background(background: Background) -> Option<String> {
    match background {
        Background::None => None,
        Background::Idle(count) => Some(format!("{} more connections that stay idle", grouped(count as u64))),
        Background::SlowReaders(count) => {
            Some(format!("{count} more clients that read 16 MiB at 50 KiB per second"))
        }
        Background::TrickledHeads(count) => {
            Some(format!("{count} more clients that send a request head one byte at a time"))
        }
    }
}

fn none() -> Text {
    NONE.into()
}

fn median(figure: Option<Spread>, format: fn(f64) -> String) -> Text {
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
        share => Text::joined(kinds).small(format!("{} %", rounded(share * 100.0))),
    };
    match row.unanswered.filter(|count| *count > 0) {
        Some(count) => failed.plain(format!("; unanswered {}", grouped(count))),
        None => failed,
    }
}

fn little(row: &Row) -> Text {
    match (row.violation(), row.little) {
        (Some(ratio), _) => Text::default().warning(format!("{ratio:.2} violated")),
        (None, Some(ratio)) => format!("{:.2}", ratio.median).into(),
        (None, None) => none(),
    }
}

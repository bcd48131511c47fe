//! The conditions of a run, and how to read its figures.

use super::cells::COLUMNS;
use super::document::{Block, Table, Text};
use crate::numbers::{grouped, rounded};
use crate::results::{Header, Settings};
use crate::summary::Spread;
use crate::variant::Variant;
use clap::ValueEnum;

/// Explanations for the reader.
const READING: [(&str, &str); 9] = [
    (
        "Closed loop",
        "Each connection sends its next request when the previous reply is complete. This shows throughput. It \
         says little about latency: while a balancer is slow, fewer requests are sent, and the requests that \
         independent clients would have sent in that time appear in no figure (coordinated omission).",
    ),
    (
        "Open loop",
        "Requests are due at random times, independent of each other and of the replies, and latency counts \
         from the time a request is due, not from the time it is sent. It therefore includes the wait for a free \
         connection, as clients of a busy service experience it. Requests that were due and had no reply at the end \
         of the window are counted as unanswered and are in no latency figure: if there are many, the latencies \
         are those of the requests that were served.",
    ),
    (
        "direct",
        "No balancer: the load generator connects to the backends directly. This is the ceiling of the \
         measurement, and a variant close to it may be faster than its figures say.",
    ),
    (
        "Shared processors",
        "The load generator, the balancer and the backends share the same processors, so goodput depends on all \
         three. Processor time is the balancer's alone.",
    ),
    (
        "Processor time, switches, calls",
        "Processor time is the balancer's within the window, divided by its good replies. Context switches are \
         counted from the first request to the end of the window, and divided by all replies in that time; \
         where each connection carries one request they are counted to the program's exit, because its threads \
         may end with the connections. System calls are counted in a separate round, with perf or strace, \
         because counting slows the program down; that round is used for nothing else.",
    ),
    (
        "Memory, threads",
        "Read at the end of the window, with all connections open. Memory is the proportional set size (PSS): pages \
         shared by a balancer's processes count once.",
    ),
    (
        "Errors",
        "Every outcome of a request other than a complete reply with a 2xx status. After an error the connection \
         pauses for 10 ms. The share is over all rounds together, because a median would hide errors that occur \
         in one round only.",
    ),
    (
        "Little's law",
        "In a closed loop, the rate times the mean latency equals the number of connections. Their ratio checks \
         the load generator. If it deviates from 1 by more than 5 % in any round, the row reports a violation: \
         either the generator is wrong, or requests were stuck at the start or the end of the window, as when a \
         backend stops responding. Rate and latency are then not consistent.",
    ),
    (
        "Predictions",
        "Written with bounds before this run, as part of the measured version's sources. A prediction holds if the \
         ratio of the medians, or the median itself, is within its bounds. Predictions that did not hold are kept.",
    ),
];

/// Returns the section on the machine, the settings and the variants.
pub fn conditions(header: &Header) -> Vec<Block> {
    let Header { begun, commit, machine, settings, variants, left_out, calls_counted_with, .. } = header;
    let rows = [
        ("processor", machine.processor.clone()),
        ("processors", machine.processors.to_string()),
        ("memory", format!("{} MiB", grouped(machine.memory_mib))),
        ("kernel", machine.kernel.clone()),
        ("compiler", machine.rustc.clone()),
        ("load average at the start", format!("{:.2}", machine.load_average)),
        ("questions", if settings.quick { "quick selection" } else { "all" }.into()),
        ("rounds", settings.rounds.to_string()),
        ("warm-up", seconds(settings.warm_up_ms)),
        ("window", seconds(settings.window_ms)),
        (
            "system calls",
            calls_counted_with.as_ref().map_or("not counted".into(), |tool| format!("counted with {tool}")),
        ),
        ("load generator check", cross_check(header)),
        ("begun", begun.clone()),
        ("commit", commit.clone()),
    ];
    let rows = rows.map(|(name, what)| vec![name.into(), what.into()]).into();
    let measured = variants.iter().map(|(variant, version)| {
        vec![variant.name().into(), description(*variant).into(), version.as_str().into()]
    });
    let not_measured = left_out.iter().map(|(variant, why)| {
        vec![variant.name().into(), description(*variant).into(), format!("not measured: {why}").into()]
    });
    vec![
        heading("conditions", "The machine and the settings"),
        Block::Table(Table::of_text(&["item", "value"], rows)),
        Block::Table(Table::of_text(
            &["variant", "description", "version"],
            measured.chain(not_measured).collect(),
        )),
    ]
}

/// Formats the goodput of parked in the base cell by both load generators.
fn cross_check(header: &Header) -> String {
    let rate = |rates: &[f64]| Spread::of(rates.iter().copied()).map(|spread| rounded(spread.median));
    let rates = header.cross_check.as_ref().and_then(|both| Some((rate(&both.own)?, rate(&both.wrk)?)));
    rates.map_or("not done: wrk or parked is not installed".into(), |(own, wrk)| {
        format!(
            "parked in the base cell, in turn: {own} /s with the harness's load generator, {wrk} /s with wrk"
        )
    })
}

/// Returns the section on the method and the columns.
pub fn reading(settings: &Settings) -> Vec<Block> {
    let columns = COLUMNS.iter().map(|column| vec![column.name.into(), column.meaning.into()]).collect();
    let mut blocks = vec![heading("reading", "Method, and how to read the tables")];
    let method = method(settings);
    let paragraphs = [("Cells", method.as_str())].into_iter().chain(READING);
    blocks.extend(paragraphs.map(|(topic, words)| {
        Block::Paragraph(Text::default().strong(format!("{topic}.")).plain(format!(" {words}")))
    }));
    blocks.push(Block::Paragraph("Columns of the cell tables; empty ones are left out:".into()));
    blocks.push(Block::Table(Table::of_text(&["column", "meaning"], columns)));
    blocks
}

fn method(settings: &Settings) -> String {
    let Settings { rounds, warm_up_ms, window_ms, .. } = settings;
    let (warm_up, window) = (seconds(*warm_up_ms), seconds(*window_ms));
    let measured = if *rounds == 1 { "once".into() } else { format!("{rounds} times") };
    format!(
        "A cell is a combination of load, backends and conditions. It differs from the base cell in one respect, \
         or in two where one alone shows nothing. Each variant is measured {measured} in each cell, once per \
         pass over all cells, with new processes each time: a warm-up of {warm_up} (plus eight times the backend \
         delay), then a window of {window} (three times as long where a backend fails, a third into it). A figure \
         is the median of the rounds; if the minimum and the maximum differ, they follow in parentheses or small \
         print."
    )
}

/// Returns the variant's description from the command line's help.
fn description(variant: Variant) -> String {
    let value = variant.to_possible_value();
    value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
}

fn heading(id: &str, text: &str) -> Block {
    Block::Heading(2, id.into(), text.into())
}

fn seconds(milliseconds: u64) -> String {
    let seconds = milliseconds as f64 / 1e3;
    if seconds.fract() == 0.0 { format!("{seconds} s") } else { format!("{} s", rounded(seconds)) }
}

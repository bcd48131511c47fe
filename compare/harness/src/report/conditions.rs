//! Under what conditions a run was measured, and what its figures can say.

use super::cells::COLUMNS;
use super::document::{Block, Table, Text};
use crate::numbers::{grouped, three};
use crate::results::{Header, Settings};
use crate::summary::Spread;
use crate::variant::Variant;
use clap::ValueEnum;

/// What one has to know to read the figures.
const READING: [(&str, &str); 9] = [
    (
        "Closed loop",
        "Each connection sends its next request when the reply to the last one is there. This shows how much \
         goes through. Of latency it shows little: while a balancer is slow, fewer requests are sent, and \
         those that clients would have sent meanwhile, and would have waited for, are in no figure.",
    ),
    (
        "Open loop",
        "Requests are due at random times, independently of each other and of the replies, and latency counts \
         from when a request was due, not from when it could be sent. So waiting for a free connection is in \
         it: these are the latencies that clients of a busy service see. What was due and had no reply when the \
         window ended is counted as unanswered and is in no latency: where there is much of it, the latencies \
         are those of the lucky ones.",
    ),
    (
        "direct",
        "No balancer: the load generator asks the backends themselves. It is the ceiling of what can be \
         measured here, and a variant close to it may be faster than its figures say.",
    ),
    (
        "Shared processors",
        "The load generator, the balancer and the backends share the same processors. What a balancer leaves, \
         the others use: goodput is that of all three together, processor time is the balancer's alone.",
    ),
    (
        "Processor time, switches, calls",
        "Processor time is the balancer's within the window, over its good replies. Context switches are \
         counted from the load's first request to the end of the window, and divided by all replies of that time; \
         where each connection carries one request they are counted to the program's end, because its threads \
         may end with the connections. System calls are counted in a round of their own, with perf or strace, \
         because counting slows down what is counted; nothing else of that round is used.",
    ),
    (
        "Memory, threads",
        "As the window ends, with all connections open. Pages that a balancer's processes share are counted once \
         (PSS).",
    ),
    (
        "Errors",
        "Whatever else came of a request than a whole reply with a status of 2xx. The connection then rests for \
         10 ms. Their share is that of all \
         rounds together, so that one round's errors do not vanish in a median.",
    ),
    (
        "Little's law",
        "In a closed loop, the rate times the mean latency is the number of connections. The ratio of the two \
         says whether the load generator saw what it thinks it saw. Further than 5 % from 1 in any round the law is \
         violated, and the row says so: either the generator is wrong, or requests hung when the window ended \
         (or had hung before it began), which is what happens where a backend stalls. Rate and latency then \
         do not belong together.",
    ),
    (
        "Predictions",
        "Written down with bounds before this run, as part of the sources that it was made from. One holds when the ratio of the medians, or \
         the median itself, is within its bounds. Those that did not hold stay.",
    ),
];

/// The machine and the settings, and who was measured.
pub fn conditions(header: &Header) -> Vec<Block> {
    let Header { begun, commit, machine, settings, variants, left_out, calls_counted_with, .. } = header;
    let rows = [
        ("processor", machine.processor.clone()),
        ("processors", machine.processors.to_string()),
        ("memory", format!("{} MiB", grouped(machine.memory_mib))),
        ("kernel", machine.kernel.clone()),
        ("compiler", machine.rustc.clone()),
        ("load average as it began", format!("{:.2}", machine.load_average)),
        ("questions", if settings.quick { "the quick run's" } else { "all" }.into()),
        ("rounds", settings.rounds.to_string()),
        ("warm-up", seconds(settings.warm_up_ms)),
        ("window", seconds(settings.window_ms)),
        (
            "system calls",
            calls_counted_with.as_ref().map_or("not counted".into(), |tool| format!("counted with {tool}")),
        ),
        ("the load beside wrk", second_opinion(header)),
        ("begun", begun.clone()),
        ("commit", commit.clone()),
    ];
    let rows = rows.map(|(name, what)| vec![name.into(), what.into()]).into();
    let who = variants.iter().map(|(variant, version)| {
        vec![variant.name().into(), description(*variant).into(), version.as_str().into()]
    });
    let not = left_out.iter().map(|(variant, why)| {
        vec![variant.name().into(), description(*variant).into(), format!("not measured: {why}").into()]
    });
    vec![
        heading("conditions", "The machine and the settings"),
        Block::Table(Table::of_text(&["what", "value"], rows)),
        Block::Table(Table::of_text(&["variant", "what it is", "version"], who.chain(not).collect())),
    ]
}

/// Replies a second of parked in the base cell, by our own load and by wrk's.
fn second_opinion(header: &Header) -> String {
    let rate = |rates: &[f64]| Spread::of(rates.iter().copied()).map(|spread| three(spread.median));
    let rates = header.second_opinion.as_ref().and_then(|both| Some((rate(&both.own)?, rate(&both.wrk)?)));
    rates.map_or("not compared: wrk or parked is not there".into(), |(own, wrk)| {
        format!("parked in the base cell, in turn: {own} /s by the load generator used here, {wrk} /s by wrk")
    })
}

/// How it was measured, and how to read it.
pub fn reading(settings: &Settings) -> Vec<Block> {
    let columns = COLUMNS.iter().map(|column| vec![column.name.into(), column.meaning.into()]).collect();
    let mut blocks = vec![heading("reading", "How it was measured, and how to read it")];
    let turns = turns(settings);
    let paragraphs = [("Cells", turns.as_str())].into_iter().chain(READING);
    blocks.extend(paragraphs.map(|(subject, words)| {
        Block::Paragraph(Text::default().strong(format!("{subject}.")).plain(format!(" {words}")))
    }));
    blocks.push(Block::Paragraph(
        "The columns of the cells' tables. One in which nothing stands is left out.".into(),
    ));
    blocks.push(Block::Table(Table::of_text(&["column", "what it says"], columns)));
    blocks
}

fn turns(settings: &Settings) -> String {
    let Settings { rounds, warm_up_ms, window_ms, .. } = settings;
    let (warm_up, window) = (seconds(*warm_up_ms), seconds(*window_ms));
    let turns = if *rounds == 1 { "one turn".into() } else { format!("{rounds} turns") };
    format!(
        "A cell is one way of asking: one load, one kind of backend, one state of the world. It differs from \
         the base cell in one thing, and in two only where one alone shows nothing. In each cell each variant \
         has {turns}, one in each pass over all cells, with new processes each time: load for {warm_up} that \
         does not count (and eight times the backends' delay), then load for {window} that does (three times as long where something befalls a \
         backend, a third into it). A figure is \
         the median of its rounds; where the least and the most of them differ, they stand behind it in \
         parentheses, or small below it."
    )
}

/// What the command line's help says of it, too.
fn description(variant: Variant) -> String {
    let value = variant.to_possible_value();
    value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
}

fn heading(id: &str, text: &str) -> Block {
    Block::Heading(2, id.into(), text.into())
}

fn seconds(milliseconds: u64) -> String {
    let seconds = milliseconds as f64 / 1e3;
    if seconds.fract() == 0.0 { format!("{seconds} s") } else { format!("{} s", three(seconds)) }
}

//! The exercises of docs/lessons.md: a few measurements each, printed as a table.

use crate::cell::{Arrivals, Background, Cell, Delay, Event};
use crate::measure::Trial;
use crate::numbers::quantity;
use crate::program::Programs;
use crate::results::{Measurement, Settings};
use crate::variant::Variant::{self, Async, Parked, Threads, TinyHttp};
use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

const SETTINGS: Settings = Settings { quick: true, rounds: 1, warm_up_ms: 500, window_ms: 3000 };

/// An exercise.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Lesson {
    /// Pool size against backend delay: where is the knee?
    PoolSize,
    /// One slow request and the requests queued behind it
    HeadOfLine,
    /// Idle connections against threads
    Idle,
    /// Refusing or queuing when the queue is full
    FullQueue,
    /// A backend that freezes
    Freeze,
}

/// Runs an exercise: measures and prints the table.
///
/// # Errors
/// Returns an error if a measurement cannot be started.
pub fn run(programs: &Programs, lesson: Lesson) -> Result<()> {
    let (about, cells) = match lesson {
        Lesson::PoolSize => pool_size(),
        Lesson::HeadOfLine => head_of_line(),
        Lesson::Idle => idle(),
        Lesson::FullQueue => full_queue(),
        Lesson::Freeze => freeze(),
    };
    println!("{about}");
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "",
        "",
        "good/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "threads",
        "memory MiB",
        "errors",
    ]);
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    for (variant, cell) in &cells {
        let trial = Trial { programs, variant: *variant, cell, settings: SETTINGS, capacity: None };
        programs.check_running()?;
        match trial.measure(1, None) {
            Ok(measured) => table.add_row(row(cell, &measured)),
            // A failure is an answer too.
            Err(error) => table.add_row(vec![variant.to_string(), cell.label.clone(), format!("{error:#}")]),
        };
    }
    println!("{table}");
    Ok(())
}

fn row(cell: &Cell, measured: &Measurement) -> Vec<String> {
    let Measurement { variant, load, usage, .. } = measured;
    let ms = |us: f64| format!("{:.1}", us / 1000.0);
    let unanswered = load.unanswered.filter(|count| *count > 0).map(|count| format!("unanswered {count}"));
    let errors = load.errors.iter().map(|(kind, count)| format!("{kind} {count}"));
    let errors: Vec<_> = errors.chain(unanswered).collect();
    vec![
        variant.to_string(),
        cell.label.clone(),
        format!("{:.0}", load.good as f64 / load.seconds),
        ms(load.latency.p50),
        ms(load.latency.p90),
        ms(load.latency.p99),
        ms(load.latency.max),
        usage.map_or(String::new(), |usage| usage.threads.to_string()),
        usage.map_or(String::new(), |usage| format!("{:.1}", usage.memory_kib as f64 / 1024.0)),
        errors.join(", "),
    ]
}

/// The heading of an exercise, and what it measures.
type Exercise = (&'static str, Vec<(Variant, Cell)>);

fn pool_size() -> Exercise {
    let cell = |count| Cell {
        label: quantity(count, "worker"),
        connections: 16,
        delay: Delay::Fixed(50 * MILLISECOND),
        workers: Some(count),
        ..Cell::base()
    };
    (
        "16 clients, backends with a delay of 50 ms:",
        [1, 2, 4, 8, 16, 32].map(|count| (Parked, cell(count))).into(),
    )
}

fn head_of_line() -> Exercise {
    let cell = |count| Cell {
        label: quantity(count, "worker"),
        connections: 8,
        delay: Delay::Bimodal(MILLISECOND, 100 * MILLISECOND),
        workers: Some(count),
        ..Cell::base()
    };
    (
        "8 clients, backends with a delay of 1 ms, and of 100 ms for one request in twenty:",
        [1, 2, 4, 8].map(|count| (Parked, cell(count))).into(),
    )
}

fn idle() -> Exercise {
    let cell = |count| Cell {
        label: quantity(count, "idle connection"),
        connections: 8,
        background: if count == 0 { Background::None } else { Background::Idle(count) },
        ..Cell::base()
    };
    let variants = [Threads, TinyHttp, Parked, Async];
    let cells = variants.into_iter().flat_map(|variant| [0, 1000, 4000].map(|count| (variant, cell(count))));
    ("8 busy clients besides idle ones:", cells.collect())
}

fn full_queue() -> Exercise {
    let cell = |queue| Cell {
        label: format!("a queue of {queue}"),
        connections: 1024,
        arrivals: Arrivals::Rate(320.0),
        delay: Delay::Fixed(50 * MILLISECOND),
        workers: Some(8),
        queue: Some(queue),
        ..Cell::base()
    };
    (
        "320 requests per second for 8 workers and backends with a delay of 50 ms, whose capacity is 160 per second:",
        [8, 64, 1024].map(|queue| (Parked, cell(queue))).into(),
    )
}

fn freeze() -> Exercise {
    let cell = |event, label: &str, count| Cell {
        label: format!("{label}, {}", quantity(count, "worker")),
        connections: 32,
        delay: Delay::Fixed(10 * MILLISECOND),
        workers: Some(count),
        health: false,
        event,
        reply_timeout: Duration::from_secs(1),
        ..Cell::base()
    };
    let ejecting = Cell { health: true, ..cell(Event::Stall, "one freezes, is ejected", 32) };
    (
        "32 clients, two backends with a delay of 10 ms; one freezes a third into the run, and the timeout is one second:",
        vec![
            (Parked, cell(Event::None, "both healthy", 32)),
            (Parked, cell(Event::Stall, "one freezes", 32)),
            (Parked, cell(Event::Stall, "one freezes", 128)),
            (Async, cell(Event::Stall, "one freezes", 32)),
            (Parked, ejecting),
        ],
    )
}

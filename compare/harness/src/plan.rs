//! The questions of a run, the cells that answer them, and the predictions made before the run.
//!
//! A cell differs from the base cell in one respect. Only the cells about an undersized pool differ in two.

use crate::cell::{Arrivals, Background, Cell, Delay, Event};
use crate::numbers::{grouped, quantity};
use crate::prediction::{Figure, Prediction};
use crate::variant::Variant::{self, Async, AsyncOne, Nginx, Parked, Threads, TinyHttp};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A question and its cells.
#[derive(Clone, Debug)]
pub struct Question {
    /// ID.
    pub id: &'static str,
    /// The question.
    pub text: &'static str,
    /// The property that differs between its cells.
    pub varies: &'static str,
    /// Cells that answer it, in order. The base cell may be among them.
    pub cells: Vec<Cell>,
    /// Predictions made before the run.
    pub predictions: Vec<Prediction>,
    /// Variants to measure; empty for all.
    pub only: &'static [Variant],
}

/// Returns the questions of the full or the quick run.
pub fn questions(quick: bool) -> Vec<Question> {
    if quick {
        return vec![connections(&[1, 256]), delay(&[10], None), body(&[16 << 10]), idle(&[1000])];
    }
    vec![
        connections(&[1, 8, 256, 1024]),
        delay(&[10, 100], Some(100)),
        pool(),
        body(&[16 << 10, 1 << 20]),
        keep_alive(),
        workers(),
        offered(),
        idle(&[1000, 5000, 10_000]),
        slow_clients(),
        backend_failures(),
        overload(),
    ]
}

/// Returns every cell once, the base cell first.
pub fn cells(questions: &[Question]) -> Vec<(Cell, &'static [Variant])> {
    let mut cells: Vec<(Cell, &'static [Variant])> = vec![(Cell::base(), &[])];
    for question in questions {
        for cell in &question.cells {
            if cells.iter().all(|(known, _)| known.id != cell.id) {
                cells.push((cell.clone(), question.only));
            }
        }
    }
    cells
}

fn connections(counts: &[usize]) -> Question {
    let mut cells: Vec<_> = counts
        .iter()
        .map(|&connections| Cell {
            id: format!("connections-{connections}"),
            label: quantity(connections, "connection"),
            connections,
            ..Cell::base()
        })
        .chain([Cell { label: "64 connections".into(), ..Cell::base() }])
        .collect();
    cells.sort_by_key(|cell| cell.connections);
    Question {
        id: "connections",
        text: "How do throughput and latency change with the number of connections?",
        varies: "connections",
        cells,
        predictions: vec![
            Prediction::of("base", Figure::Goodput, Parked).over(Async).between(0.85, 1.05),
            Prediction::of("base", Figure::Goodput, TinyHttp).over(Async).between(0.5, 0.8),
            Prediction::of("base", Figure::Goodput, Threads).over(Parked).between(0.9, 1.3),
            Prediction::of("base", Figure::Processor, Parked).over(Async).between(1.0, 1.4),
            Prediction::of("base", Figure::Processor, AsyncOne).over(Async).between(0.8, 1.0),
            Prediction::of("base", Figure::Switches, Parked).between(1.0, 1.6),
            Prediction::of("connections-256", Figure::P99, Parked).over(Async).between(0.7, 1.2),
            Prediction::of("connections-1024", Figure::Goodput, Threads).over_cell("base").between(0.6, 1.0),
            Prediction::of("connections-1024", Figure::Goodput, Parked).over(Async).between(0.85, 1.1),
        ],
        only: &[],
    }
}

/// `rare` is the delay of one request in twenty in milliseconds; the others take 1 ms.
fn delay(milliseconds: &[u32], rare: Option<u32>) -> Question {
    let fixed = milliseconds.iter().map(|&ms| Cell {
        id: format!("delay-{ms}ms"),
        label: format!("{ms} ms"),
        delay: Delay::Fixed(ms * MILLISECOND),
        ..Cell::base()
    });
    let either = rare.map(|ms| Cell {
        id: "delay-bimodal".into(),
        label: format!("1 ms, or {ms} ms once in 20"),
        delay: Delay::Bimodal(MILLISECOND, ms * MILLISECOND),
        ..Cell::base()
    });
    Question {
        id: "delay",
        text: "How much of the difference remains with slow backends and a worker per client?",
        varies: "backend delay",
        cells: [Cell { label: "none".into(), ..Cell::base() }]
            .into_iter()
            .chain(fixed)
            .chain(either)
            .collect(),
        predictions: vec![
            Prediction::of("delay-10ms", Figure::Goodput, Parked).over(Async).between(0.95, 1.02),
            Prediction::of("delay-100ms", Figure::Goodput, Parked).over(Async).between(0.98, 1.02),
            Prediction::of("delay-100ms", Figure::Goodput, TinyHttp).over(Async).between(0.98, 1.02),
            Prediction::of("delay-bimodal", Figure::Goodput, Parked).over(Async).between(0.9, 1.05),
        ],
        only: &[],
    }
}

fn pool() -> Question {
    let cell = |workers: usize| Cell {
        id: format!("pool-{workers}"),
        label: quantity(workers, "worker"),
        connections: 256,
        delay: Delay::Fixed(100 * MILLISECOND),
        workers: Some(workers),
        ..Cell::base()
    };
    Question {
        id: "pool",
        text: "How much goodput remains with four clients per worker? (256 connections, 100 ms; variants without a pool are measured twice)",
        varies: "workers",
        cells: vec![cell(64), cell(256)],
        predictions: vec![
            Prediction::of("pool-64", Figure::Goodput, Parked).over(Async).between(0.22, 0.28),
            Prediction::of("pool-256", Figure::Goodput, Parked).over(Async).between(0.95, 1.05),
            Prediction::of("pool-256", Figure::Memory, Parked).over(Async).between(1.0, 3.0),
            Prediction::of("pool-64", Figure::Goodput, Threads).over(Async).between(0.95, 1.05),
        ],
        only: &[],
    }
}

fn body(sizes: &[usize]) -> Question {
    let name = |size: usize| {
        if size < 1 << 20 { format!("{} KiB", size >> 10) } else { format!("{} MiB", size >> 20) }
    };
    let cells = sizes.iter().map(|&size| Cell {
        id: format!("body-{}", name(size).replace(' ', "").to_lowercase()),
        label: name(size),
        body: size,
        ..Cell::base()
    });
    Question {
        id: "body",
        text: "What does relaying large bodies cost?",
        varies: "body size",
        cells: [Cell { label: "64 B".into(), ..Cell::base() }].into_iter().chain(cells).collect(),
        predictions: vec![
            Prediction::of("body-16kib", Figure::Goodput, Parked).over(Async).between(0.8, 1.1),
            Prediction::of("body-1mib", Figure::Goodput, Parked).over(Async).between(0.6, 1.0),
            Prediction::of("body-1mib", Figure::Goodput, Threads).over(Async).between(0.8, 1.3),
        ],
        only: &[],
    }
}

fn keep_alive() -> Question {
    let cell = Cell {
        id: "one-request".into(),
        label: "one connection per request".into(),
        keep_alive: false,
        ..Cell::base()
    };
    Question {
        id: "keep-alive",
        text: "What does a connection cost when it carries a single request?",
        varies: "keep-alive",
        cells: vec![Cell { label: "keep-alive".into(), ..Cell::base() }, cell],
        predictions: vec![
            Prediction::of("one-request", Figure::Goodput, Parked).over(Async).between(0.8, 1.2),
            Prediction::of("one-request", Figure::Goodput, Threads).over(Async).between(0.4, 0.9),
            Prediction::of("one-request", Figure::Goodput, TinyHttp).over(Async).between(0.3, 0.8),
        ],
        only: &[],
    }
}

fn workers() -> Question {
    let cell = |workers: usize| Cell {
        id: format!("workers-{workers}"),
        label: quantity(workers, "worker"),
        workers: Some(workers),
        ..Cell::base()
    };
    Question {
        id: "workers",
        text: "How many workers do fast backends need?",
        varies: "workers",
        cells: vec![cell(2), cell(8), Cell { label: "64 workers".into(), ..Cell::base() }, cell(256)],
        predictions: vec![
            Prediction::of("workers-2", Figure::Goodput, Parked).over_cell("base").between(0.6, 1.0),
            Prediction::of("workers-8", Figure::Goodput, Parked).over_cell("base").between(0.9, 1.1),
            Prediction::of("workers-256", Figure::Goodput, Parked).over_cell("base").between(0.85, 1.05),
        ],
        only: &[Parked, TinyHttp],
    }
}

fn offered() -> Question {
    let cell = |rate: f64| Cell {
        id: format!("offered-{rate}"),
        label: format!("{} requests per second", grouped(rate as u64)),
        connections: 256,
        arrivals: Arrivals::Rate(rate),
        ..Cell::base()
    };
    Question {
        id: "offered",
        text: "What is the latency under a load that does not depend on the replies? (Counted from the time a request is due.)",
        varies: "offered load",
        cells: [2000.0, 5000.0, 10_000.0, 15_000.0, 20_000.0].map(cell).into(),
        predictions: vec![
            Prediction::of("offered-5000", Figure::P99, Parked).over(Async).between(0.6, 1.6),
            Prediction::of("offered-10000", Figure::P99, TinyHttp).over(Parked).between(1.0, 3.0),
        ],
        only: &[],
    }
}

fn idle(counts: &[usize]) -> Question {
    let cells = counts.iter().map(|&count| Cell {
        id: format!("idle-{count}"),
        label: quantity(count, "idle connection"),
        background: Background::Idle(count),
        ..Cell::base()
    });
    Question {
        id: "idle",
        text: "What do idle clients cost?",
        varies: "idle connections in addition to the 64",
        cells: [Cell { label: "none".into(), ..Cell::base() }].into_iter().chain(cells).collect(),
        predictions: vec![
            Prediction::of("idle-10000", Figure::Memory, Parked).over(Async).between(0.05, 0.6),
            Prediction::of("idle-10000", Figure::Memory, Threads).over(Parked).between(5.0, 40.0),
            Prediction::of("idle-10000", Figure::Threads, TinyHttp).between(10_000.0, 10_400.0),
            Prediction::of("idle-10000", Figure::Goodput, Parked).over_cell("base").between(0.85, 1.1),
        ],
        only: &[],
    }
}

fn slow_clients() -> Question {
    let readers = Cell {
        id: "slow-readers".into(),
        label: "64 slow readers".into(),
        background: Background::SlowReaders(64),
        ..Cell::base()
    };
    let heads = Cell {
        id: "trickled-heads".into(),
        label: "256 trickled heads".into(),
        background: Background::TrickledHeads(256),
        ..Cell::base()
    };
    Question {
        id: "slow-clients",
        text: "Do slow clients hold up fast ones?",
        varies: "slow clients",
        cells: vec![Cell { label: "none".into(), ..Cell::base() }, readers, heads],
        predictions: vec![
            Prediction::of("slow-readers", Figure::Goodput, Parked).over_cell("base").between(0.6, 1.05),
            Prediction::of("slow-readers", Figure::Goodput, TinyHttp).over_cell("base").between(0.0, 0.1),
            Prediction::of("slow-readers", Figure::Goodput, Async).over_cell("base").between(0.8, 1.05),
            Prediction::of("trickled-heads", Figure::Goodput, Parked).over_cell("base").between(0.75, 1.05),
            Prediction::of("trickled-heads", Figure::Goodput, TinyHttp).over_cell("base").between(0.5, 1.05),
        ],
        only: &[],
    }
}

fn backend_failures() -> Question {
    let cell = |event, id: &str, label: &str| Cell {
        id: id.into(),
        label: label.into(),
        event,
        reply_timeout: Duration::from_secs(1),
        ..Cell::base()
    };
    Question {
        id: "backend-failures",
        text: "What happens when one of the two backends stops responding, or is killed? (The reply timeout is one second.)",
        varies: "backend failure",
        cells: vec![
            Cell { label: "nothing".into(), ..Cell::base() },
            cell(Event::Stall, "backend-stalled", "stopped"),
            cell(Event::Kill, "backend-killed", "killed"),
        ],
        predictions: vec![
            // Two thirds of the run, and part of the last third after the timeout of one second: it ejects, as nginx does.
            Prediction::of("backend-stalled", Figure::Goodput, Parked).over_cell("base").between(0.6, 0.9),
            Prediction::of("backend-stalled", Figure::Goodput, Async).over_cell("base").between(0.3, 0.4),
            Prediction::of("backend-stalled", Figure::Goodput, Nginx).over_cell("base").between(0.3, 0.8),
            Prediction::of("backend-killed", Figure::Goodput, Parked).over_cell("base").between(0.6, 1.1),
            Prediction::of("backend-killed", Figure::Errors, Parked).between(0.0, 0.0),
            Prediction::of("backend-killed", Figure::Errors, Async).between(0.0, 0.0),
        ],
        only: &[],
    }
}

fn overload() -> Question {
    let cell = Cell {
        id: "overload".into(),
        label: "twice the capacity, over 1,024 connections".into(),
        connections: 1024,
        arrivals: Arrivals::TimesCapacity(2.0),
        ..Cell::base()
    };
    Question {
        id: "overload",
        text: "What goodput remains at twice the capacity?",
        varies: "offered load",
        cells: vec![Cell { label: "closed loop of 64".into(), ..Cell::base() }, cell],
        predictions: vec![
            Prediction::of("overload", Figure::Goodput, Parked).over_cell("base").between(0.7, 1.05),
            Prediction::of("overload", Figure::Goodput, Async).over_cell("base").between(0.7, 1.05),
            Prediction::of("overload", Figure::Goodput, Threads).over_cell("base").between(0.4, 1.0),
        ],
        only: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_names_a_cell_of_the_plan() {
        let questions = questions(false);
        let cells = cells(&questions);
        let is_there = |id: &str| cells.iter().any(|(cell, _)| cell.id == id);
        for prediction in questions.iter().flat_map(|question| &question.predictions) {
            assert!(is_there(prediction.cell), "{prediction:?}");
            assert!(prediction.over_cell.is_none_or(is_there), "{prediction:?}");
        }
    }

    #[test]
    fn cells_have_unique_names_and_differ_from_the_base() {
        for quick in [false, true] {
            let cells = cells(&questions(quick));
            assert_eq!(cells[0].0, Cell::base());
            for (n, (cell, _)) in cells.iter().enumerate().skip(1) {
                assert!(cells[..n].iter().all(|(other, _)| other.id != cell.id), "{cell:?}");
                let renamed = Cell { id: "base".into(), label: "base".into(), ..cell.clone() };
                assert_ne!(renamed, Cell::base());
            }
        }
    }
}

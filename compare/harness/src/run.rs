//! A run: every variant in every cell, in turn, round after round, so that what the machine does meanwhile
//! befalls all alike. What is measured is written down at once, and a run that was stopped goes on.

use crate::calls::Counter;
use crate::cell::{Beside, Cell, Event};
use crate::machine;
use crate::measure::Subject;
use crate::cluster::snapshot;
use crate::program::Programs;
use crate::results::{Header, Load, Machine, Measurement, Run, Settings, append};
use crate::smoke;
use crate::variant::Variant;
use crate::wrk;
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::Path;

/// How a run is made.
pub struct Options {
    /// How long, and how often.
    pub settings: Settings,
    /// Only these variants. Empty: all that are there.
    pub variants: Vec<Variant>,
    /// Only these cells. Empty: all.
    pub cells: Vec<String>,
    /// Forget what an earlier run has measured.
    pub afresh: bool,
}

/// One thing to measure.
struct Job<'a> {
    cell: &'a Cell,
    variant: Variant,
    round: u32,
}

/// Makes a run, or finishes one that was begun. Its raw data is in `file`.
///
/// # Errors
/// When a variant of the project's own fails the smoke test, or nothing can be written, or it is stopped.
pub fn run(programs: &Programs, options: &Options, file: &Path) -> Result<Run> {
    let counter = Counter::find();
    let header = header(programs, options, counter.as_ref())?;
    let mut run = begun(programs, header, options, file)?;
    let mut out = run.write(file)?;
    let cells = snapshot::cells(&snapshot::questions(options.settings.quick));
    if let Some(unknown) = options.cells.iter().find(|name| cells.iter().all(|(cell, _)| cell.id != **name)) {
        let names: Vec<_> = cells.iter().map(|(cell, _)| cell.id.as_str()).collect();
        bail!("there is no cell {unknown:?} in this run; there are {}", names.join(", "));
    }
    let jobs = jobs(&cells, &run.header, options, counter.is_some());
    if !jobs.is_empty() && jobs.iter().all(|job| run.has(job)) {
        println!("Everything has been measured by an earlier run; --afresh measures it again.");
    }
    let progress = progress(jobs.len());
    for job in jobs {
        progress.set_message(format!("{} in {}", job.variant, job.cell.id));
        if !run.has(&job) {
            let measurement = measure(programs, &run, &job, counter.as_ref(), &progress);
            if let Err(stopped) = programs.go_on() {
                progress.abandon();
                return Err(stopped.context("the same command goes on from here"));
            }
            append(&mut out, &measurement)?;
            run.measurements.push(measurement);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(run)
}

/// Finds out what there is to be measured, and whether it does what it must.
fn header(programs: &Programs, options: &Options, counter: Option<&Counter>) -> Result<Header> {
    let (mut variants, mut left_out) = (BTreeMap::new(), BTreeMap::new());
    let is_wanted = |variant: &Variant| options.variants.is_empty() || options.variants.contains(variant);
    for variant in Variant::ALL.into_iter().filter(is_wanted) {
        let Some(version) = programs.version(variant) else {
            if variant.is_own() {
                bail!("{variant} is not built; `make compare` builds it");
            }
            left_out.insert(variant, "it is not installed".to_owned());
            continue;
        };
        match smoke::check(programs, variant) {
            Ok(()) => drop(variants.insert(variant, version)),
            Err(error) if variant.is_own() => return Err(error),
            Err(error) => drop(left_out.insert(variant, format!("{error:#}"))),
        }
    }
    for (variant, why) in &left_out {
        eprintln!("{variant} is left out: {why}");
    }
    Ok(Header {
        begun: machine::now(),
        commit: machine::commit(&programs.root),
        fingerprint: programs.fingerprint()?,
        machine: machine::describe(),
        settings: options.settings,
        variants,
        left_out,
        calls_counted_with: counter.map(|counter| counter.name().to_owned()),
        second_opinion: None,
    })
}

/// The run in this file, if it is the same one, or a new one.
fn begun(programs: &Programs, header: Header, options: &Options, file: &Path) -> Result<Run> {
    if options.afresh || !file.exists() {
        let second_opinion = if header.variants.contains_key(&Variant::Parked) {
            wrk::second_opinion(programs)?
        } else {
            None
        };
        return Ok(Run { header: Header { second_opinion, ..header }, measurements: Vec::new() });
    }
    let mut earlier = Run::read(file)?;
    if conditions(&earlier.header) != conditions(&header) {
        bail!(
            "{} holds a run under other conditions (settings, programs or machine); --afresh replaces it",
            file.display()
        );
    }
    // What could not be measured may be measurable now.
    earlier.measurements.retain(|done| done.load.seconds > 0.0);
    Ok(earlier)
}

/// What must be the same for figures to be set beside each other.
fn conditions(header: &Header) -> impl PartialEq {
    let Machine { processor, processors, kernel, .. } = header.machine.clone();
    (header.settings, header.fingerprint.clone(), header.variants.clone(), processor, processors, kernel)
}

/// Round by round, so that what changes in the course of a run is in every cell's spread; cell by cell in each,
/// everybody in turn, and not always in the same order. Then one more round for the system calls.
fn jobs<'a>(
    cells: &'a [(Cell, &'static [Variant])],
    header: &Header,
    options: &Options,
    counts: bool,
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let is_wanted = |cell: &Cell| options.cells.is_empty() || options.cells.contains(&cell.id);
    let is_counted = |cell: &Cell| counts && (!options.settings.quick || cell.id == "base");
    let mut order: Vec<_> = header.variants.keys().copied().collect();
    for round in (1..=options.settings.rounds).chain([0]) {
        for (cell, only) in
            cells.iter().filter(|(cell, _)| is_wanted(cell) && (round > 0 || is_counted(cell)))
        {
            let variants = order.iter().filter(|variant| takes_part(**variant, cell, only));
            let variants = variants.filter(|variant| round > 0 || **variant != Variant::Direct);
            jobs.extend(variants.map(|&variant| Job { cell, variant, round }));
        }
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    jobs
}

fn takes_part(variant: Variant, cell: &Cell, only: &[Variant]) -> bool {
    // Where something befalls backends, or crowds come, the backends alone answer no question.
    let alone = cell.beside == Beside::Nobody && cell.event == Event::None;
    (only.is_empty() || only.contains(&variant)) && (variant != Variant::Direct || alone)
}

/// One measurement. One that cannot be made is written down as that.
fn measure(
    programs: &Programs,
    run: &Run,
    job: &Job<'_>,
    counter: Option<&Counter>,
    progress: &ProgressBar,
) -> Measurement {
    let &Job { cell, variant, round } = job;
    let capacity = run.capacity(variant);
    let subject = Subject { programs, variant, cell, settings: run.header.settings, capacity };
    subject.measure(round, counter.filter(|_| round == 0)).unwrap_or_else(|error| {
        progress.suspend(|| eprintln!("{variant} in {}, round {round}: {error:#}", cell.id));
        let errors = BTreeMap::from([(format!("not measured: {error:#}"), 1)]);
        Measurement {
            cell: cell.id.clone(),
            variant,
            round,
            load: Load { errors, ..Load::default() },
            usage: None,
        }
    })
}

impl Run {
    fn has(&self, job: &Job<'_>) -> bool {
        self.measurements.iter().any(|done| {
            (done.cell.as_str(), done.variant, done.round) == (job.cell.id.as_str(), job.variant, job.round)
        })
    }

    /// The most that a variant could do in the base cell, in replies a second.
    fn capacity(&self, variant: Variant) -> Option<f64> {
        let base = self.measurements.iter().filter(|done| done.cell == "base" && done.variant == variant);
        base.filter(|done| done.round > 0)
            .map(|done| done.load.good as f64 / done.load.seconds)
            .reduce(f64::max)
    }
}

fn progress(jobs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed} of about {duration}  {msg}");
    ProgressBar::new(jobs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

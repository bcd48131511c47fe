//! A run: every variant in every cell, round after round, so that changes of the machine affect all alike.
//! Each measurement is written at once, and an interrupted run resumes.

use crate::calls::Counter;
use crate::cell::{Background, Cell, Event};
use crate::machine;
use crate::measure::Trial;
use crate::plan;
use crate::program::Programs;
use crate::results::{Header, Load, Machine, Measurement, Run, Settings, append};
use crate::smoke;
use crate::variant::Variant;
use crate::wrk;
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::Path;

/// Options of a run.
pub struct RunOptions {
    /// Durations and rounds.
    pub settings: Settings,
    /// Variants to measure; empty for all that are installed.
    pub variants: Vec<Variant>,
    /// Cells to measure; empty for all.
    pub cells: Vec<String>,
    /// Whether to discard an earlier run.
    pub afresh: bool,
}

/// One measurement to take.
struct Job<'a> {
    cell: &'a Cell,
    variant: Variant,
    round: u32,
}

/// Makes a run, or completes an interrupted one, with its raw data in `file`.
///
/// # Errors
/// Returns an error if one of this project's variants fails the smoke test, a file cannot be written, or the
/// run is interrupted.
pub fn run(programs: &Programs, options: &RunOptions, file: &Path) -> Result<Run> {
    let counter = Counter::find();
    let header = header(programs, options, counter.as_ref())?;
    let mut run = resume_or_create(programs, header, options, file)?;
    let mut out = run.write(file)?;
    let cells = plan::cells(&plan::questions(options.settings.quick));
    if let Some(unknown) = options.cells.iter().find(|name| cells.iter().all(|(cell, _)| cell.id != **name)) {
        let names: Vec<_> = cells.iter().map(|(cell, _)| cell.id.as_str()).collect();
        bail!("there is no cell {unknown:?} in this run; the cells are {}", names.join(", "));
    }
    let jobs = jobs(&cells, &run.header, options, counter.is_some());
    if !jobs.is_empty() && jobs.iter().all(|job| run.has(job)) {
        println!("An earlier run has measured everything; --afresh measures it again.");
    }
    let progress = progress(jobs.len());
    for job in jobs {
        progress.set_message(format!("{} in {}", job.variant, job.cell.id));
        if !run.has(&job) {
            let measurement = measure(programs, &run, &job, counter.as_ref(), &progress);
            if let Err(stopped) = programs.check_running() {
                progress.abandon();
                return Err(stopped.context("the same command resumes the run"));
            }
            append(&mut out, &measurement)?;
            run.measurements.push(measurement);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(run)
}

/// Finds the variants to measure and runs the smoke test on each.
fn header(programs: &Programs, options: &RunOptions, counter: Option<&Counter>) -> Result<Header> {
    let (mut variants, mut left_out) = (BTreeMap::new(), BTreeMap::new());
    let is_wanted = |variant: &Variant| options.variants.is_empty() || options.variants.contains(variant);
    for variant in Variant::ALL.into_iter().filter(is_wanted) {
        let Some(version) = programs.version(variant) else {
            if variant.is_own() {
                bail!("{variant} is not built; `make compare` builds it");
            }
            left_out.insert(variant, "not installed".to_owned());
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
        cross_check: None,
    })
}

/// Returns the run in `file` if its conditions are the same, or a new run.
fn resume_or_create(programs: &Programs, header: Header, options: &RunOptions, file: &Path) -> Result<Run> {
    if options.afresh || !file.exists() {
        let cross_check =
            if header.variants.contains_key(&Variant::Parked) { wrk::cross_check(programs)? } else { None };
        return Ok(Run { header: Header { cross_check, ..header }, measurements: Vec::new() });
    }
    let mut earlier = Run::read(file)?;
    if conditions(&earlier.header) != conditions(&header) {
        bail!(
            "{} holds a run under other conditions (settings, programs or machine); --afresh replaces it",
            file.display()
        );
    }
    // A measurement that failed may succeed now.
    earlier.measurements.retain(|done| done.load.seconds > 0.0);
    Ok(earlier)
}

/// Returns the conditions that must be equal for two measurements to be comparable.
fn conditions(header: &Header) -> impl PartialEq {
    let Machine { processor, processors, kernel, .. } = header.machine.clone();
    (header.settings, header.fingerprint.clone(), header.variants.clone(), processor, processors, kernel)
}

/// Returns the measurements to take: round by round, so that slow changes show in every cell's spread, and
/// within a round cell by cell, with the variants in rotating order. A last round counts system calls.
fn jobs<'a>(
    cells: &'a [(Cell, &'static [Variant])],
    header: &Header,
    options: &RunOptions,
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
    // With background clients or a failing backend, measuring the backends alone answers no question.
    let alone = cell.background == Background::None && cell.event == Event::None;
    (only.is_empty() || only.contains(&variant)) && (variant != Variant::Direct || alone)
}

/// Takes one measurement. A failure is recorded as one.
fn measure(
    programs: &Programs,
    run: &Run,
    job: &Job<'_>,
    counter: Option<&Counter>,
    progress: &ProgressBar,
) -> Measurement {
    let &Job { cell, variant, round } = job;
    let capacity = run.capacity(variant);
    let trial = Trial { programs, variant, cell, settings: run.header.settings, capacity };
    trial.measure(round, counter.filter(|_| round == 0)).unwrap_or_else(|error| {
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

    /// Returns the highest goodput of a variant in the base cell in replies per second.
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

//! Measures balancers against the same backends under the same load, in turn. See compare/README.md.

mod backend;
mod background;
mod calls;
mod cell;
mod cli;
mod lessons;
mod load;
mod machine;
mod measure;
mod numbers;
mod plan;
mod prediction;
mod program;
mod report;
mod results;
mod run;
mod smoke;
mod summary;
mod usage;
mod variant;
mod wrk;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Command, RunArgs};
use program::Programs;
use results::{Run, Settings};
use run::RunOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use variant::Variant;

/// Path of the raw data within a run's folder.
const RAW: &str = "comparison/run.jsonl";

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnwheel-compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Result<()> {
    match command {
        Command::Run(options) => measure(options),
        Command::Report { folder } => report::write(&Run::read(&folder.join(RAW))?, &folder),
        Command::Agree { one, other } => {
            println!("{}", report::agreement(&Run::read(&one)?, &Run::read(&other)?));
            Ok(())
        }
        Command::Smoke => with_programs(|programs| {
            for variant in Variant::ALL {
                programs.check_running()?;
                match programs.version(variant) {
                    None => println!("{variant:<10} is not installed"),
                    Some(_) => smoke::check(programs, variant).map(|()| println!("{variant:<10} passes"))?,
                }
            }
            Ok(())
        }),
        Command::Lesson { name } => with_programs(|programs| lessons::run(programs, name)),
        Command::Backend(options) => backend::run(&options),
    }
}

fn measure(options: RunArgs) -> Result<()> {
    let name = if options.quick { "quick" } else { "full" };
    let folder = options.out.unwrap_or_else(|| home().join("compare/results").join(name));
    let raw = folder.join(RAW);
    fs::create_dir_all(raw.parent().unwrap_or(&folder)).context("cannot create the results folder")?;
    let (rounds, warm_up_ms, window_ms) = if options.quick { (3, 150, 500) } else { (5, 250, 1000) };
    let settings =
        Settings { quick: options.quick, rounds: options.rounds.unwrap_or(rounds), warm_up_ms, window_ms };
    let run =
        RunOptions { settings, variants: options.variants, cells: options.cells, afresh: options.afresh };
    let run = with_programs(|programs| run::run(programs, &run, &raw))?;
    report::write(&run, &folder)?;
    println!("{}\nThe report is {}", report::table(&run), folder.join("comparison.html").display());
    Ok(())
}

fn with_programs<T>(work: impl FnOnce(&Programs) -> Result<T>) -> Result<T> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("cannot raise the limit on open files: {error}");
    }
    let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Relaxed)).context("cannot install the Ctrl-C handler")?;
    work(&Programs { root: home(), scratch: scratch.path().to_owned(), stop })
}

/// Returns the repository's root, the parent of `compare/`.
fn home() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

//! The command line.

use crate::backend::BackendOptions;
use crate::variant::Variant;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Measures load balancers under the same loads and writes a report.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure, then write the report
    Run(RunArgs),
    /// Rewrite the report of an earlier run from its raw data
    Report {
        /// The run's folder
        folder: PathBuf,
    },
    /// Print whether two runs agree within the spread of each
    Agree {
        /// Raw data of the first run
        one: PathBuf,
        /// Raw data of the second run
        other: PathBuf,
    },
    /// Check that every balancer passes the smoke test
    Smoke,
    /// Run one of the exercises in docs/lessons.md
    Lesson {
        /// The exercise
        name: crate::lessons::Lesson,
    },
    /// Run a backend that only replies, until its standard input ends
    #[command(hide = true)]
    Backend(BackendOptions),
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Fewer cells, three rounds, half a second per measurement: under three minutes
    #[arg(long)]
    pub quick: bool,
    /// Folder for the report and the raw data [default: results/quick or results/full in compare/]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Measure only this variant; repeatable
    #[arg(long = "variant", value_name = "NAME")]
    pub variants: Vec<Variant>,
    /// Measure only this cell; repeatable
    #[arg(long = "cell", value_name = "NAME")]
    pub cells: Vec<String>,
    /// Measurements per variant and cell [default: 5, with --quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Discard an earlier run in the same folder
    #[arg(long)]
    pub afresh: bool,
}

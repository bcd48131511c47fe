//! The command line.

use crate::backend;
use crate::variant::Variant;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Measures balancers beside each other, and writes down what came of it.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure, and write the report
    Run(Measure),
    /// Write the report of a run anew
    Report {
        /// The run's folder
        folder: PathBuf,
    },
    /// Say whether two runs agree within the spread that each of them shows
    Agree {
        /// A run's raw data
        one: PathBuf,
        /// Another's
        other: PathBuf,
    },
    /// Check that each balancer does what it must
    Smoke,
    /// One of the exercises in docs/lessons.md
    Lesson {
        /// Which
        name: crate::lessons::Lesson,
    },
    /// A backend that does nothing but reply, until its standard input ends
    #[command(hide = true)]
    Backend(backend::Options),
}

/// How to measure.
#[derive(Args, Debug)]
pub struct Measure {
    /// Fewer cells, three rounds, half a second each: under three minutes
    #[arg(long)]
    pub quick: bool,
    /// Folder for the report and the raw data [default: results/quick or results/full in compare/]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Only this variant; repeatable
    #[arg(long = "variant", value_name = "NAME")]
    pub variants: Vec<Variant>,
    /// Only this cell; repeatable
    #[arg(long = "cell", value_name = "NAME")]
    pub cells: Vec<String>,
    /// How often each variant has its turn in each cell [default: 5, quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Begin again, whatever an earlier run has left
    #[arg(long)]
    pub afresh: bool,
}

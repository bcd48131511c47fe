//! Reports of a run: a page in Markdown and in HTML, plots, and tables for a terminal.
//!
//! The page is built once, as a [`document`], and rendered in both formats.

mod cells;
mod conditions;
mod content;
mod document;
mod findings;
mod html;
mod markdown;
mod plots;
mod ratios;
mod terminal;
#[cfg(test)]
mod tests;

use crate::results::Run;
use crate::summary::{self, Summary};
use anyhow::{Context, Result};
use findings::Findings;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Writes `comparison.md`, `comparison.html`, and the plots in `comparison/` into `folder`.
///
/// # Errors
/// Returns an error if a file cannot be written or a plot cannot be drawn.
pub fn write(run: &Run, folder: &Path) -> Result<()> {
    let findings = Findings::of(run);
    let plots = plots::draw(&findings)?;
    let aside = folder.join(document::PLOTS);
    fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
    for name in plots::NAMES {
        match plots.iter().find(|plot| plot.name == name) {
            Some(plot) => save(&aside.join(plot.file()), &plot.svg)?,
            // Left over from an earlier, longer run.
            None => remove(&aside.join(format!("{name}.svg")))?,
        }
    }
    let page = content::page(&findings, plots);
    save(&folder.join("comparison.md"), &markdown::render(&page))?;
    save(&folder.join("comparison.html"), &html::render(&page))
}

/// Returns a short report for a terminal: the overview table of each question, the predictions, and violations
/// of Little's law.
pub fn table(run: &Run) -> String {
    terminal::render(&Findings::of(run))
}

/// Returns a summary of where two runs agree and disagree.
pub fn agreement(one: &Run, other: &Run) -> String {
    terminal::agreement(&summary::agreement(&Summary::of(one), &Summary::of(other)))
}

fn save(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

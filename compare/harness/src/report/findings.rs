//! What a page is written from.

use super::document::{Table, Text};
use crate::cell::Cell;
use crate::numbers;
use crate::cluster::snapshot::{self, Question};
use crate::prediction::Prediction;
use crate::results::{Header, Run};
use crate::summary::{Summary, judge};
use crate::variant::Variant;

/// A run's conditions, its questions, and what came of them.
pub struct Findings<'a> {
    /// The conditions.
    pub header: &'a Header,
    /// What was asked.
    pub questions: Vec<Question>,
    /// Where, each once.
    pub cells: Vec<Cell>,
    /// What came of it.
    pub summary: Summary,
}

impl<'a> Findings<'a> {
    /// Of this run.
    pub fn of(run: &'a Run) -> Findings<'a> {
        let mut questions = snapshot::questions(run.header.settings.quick);
        let cells: Vec<Cell> = snapshot::cells(&questions).into_iter().map(|(cell, _)| cell).collect();
        // A quick run has questions whose predictions are about cells that only the full run has.
        let is_there = |id: &str| cells.iter().any(|cell| cell.id == id);
        for question in &mut questions {
            question.predictions.retain(|one| is_there(one.cell) && one.since.is_none_or(is_there));
        }
        Findings { header: &run.header, questions, cells, summary: Summary::of(run) }
    }

    /// All predictions.
    pub fn predictions(&self) -> impl Iterator<Item = &Prediction> {
        self.questions.iter().flat_map(|question| &question.predictions)
    }

    /// How many came true, how many did not, and of how many it cannot be told.
    pub fn score(&self) -> (usize, usize, usize) {
        self.predictions().fold((0, 0, 0), |(held, failed, open), prediction| {
            match judge(prediction, &self.summary) {
                Some((_, true)) => (held + 1, failed, open),
                Some((_, false)) => (held, failed + 1, open),
                None => (held, failed, open + 1),
            }
        })
    }

    /// The score, as a sentence.
    pub fn score_in_words(&self) -> String {
        let (held, failed, open) = self.score();
        let all = held + failed + open;
        let rest = if open == 0 { String::new() } else { format!(", {open} cannot be judged") };
        format!("Of {all} predictions, {held} held, {failed} did not{rest}.")
    }

    /// What became of these predictions.
    pub fn outcomes<'p>(&self, predictions: impl IntoIterator<Item = &'p Prediction>) -> Table {
        let row = |prediction: &Prediction| {
            let (value, outcome) = match judge(prediction, &self.summary) {
                Some((value, true)) => (numbers::measured(prediction, value), Text::from("held")),
                Some((value, false)) => {
                    (numbers::measured(prediction, value), Text::default().strong("did not hold"))
                }
                None => (numbers::NONE.into(), Text::from("not measured")),
            };
            let cell = Text::default().link(prediction.cell, prediction.cell);
            vec![cell, prediction.to_string().into(), Text::default().strong(value), outcome]
        };
        let rows = predictions.into_iter().map(row).collect();
        Table::of_text(&["cell", "expected", "measured", "outcome"], rows)
    }

    /// Where Little's law is violated, and its ratio there.
    pub fn violations(&self) -> Vec<(&str, Variant, f64)> {
        let rows = self.cells.iter().flat_map(|cell| {
            self.summary.rows(&cell.id).map(|(variant, row)| (cell.id.as_str(), variant, row.violation()))
        });
        rows.filter_map(|(cell, variant, ratio)| Some((cell, variant, ratio?))).collect()
    }
}

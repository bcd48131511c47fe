//! The data that a report is written from.

use super::document::{Table, Text};
use crate::cell::Cell;
use crate::numbers;
use crate::plan::{self, Question};
use crate::prediction::Prediction;
use crate::results::{Header, Run};
use crate::summary::{Summary, judge};
use crate::variant::Variant;

/// A run's conditions, questions and results.
pub struct Findings<'a> {
    /// The conditions.
    pub header: &'a Header,
    /// The questions of the run.
    pub questions: Vec<Question>,
    /// The cells of all questions, each once.
    pub cells: Vec<Cell>,
    /// The results.
    pub summary: Summary,
}

impl<'a> Findings<'a> {
    /// Collects the data of a run.
    pub fn of(run: &'a Run) -> Findings<'a> {
        let mut questions = plan::questions(run.header.settings.quick);
        let cells: Vec<Cell> = plan::cells(&questions).into_iter().map(|(cell, _)| cell).collect();
        // The quick plan shares predictions with the full one, whose cells it may lack.
        let is_there = |id: &str| cells.iter().any(|cell| cell.id == id);
        for question in &mut questions {
            question.predictions.retain(|one| is_there(one.cell) && one.over_cell.is_none_or(is_there));
        }
        Findings { header: &run.header, questions, cells, summary: Summary::of(run) }
    }

    /// Returns every prediction.
    pub fn predictions(&self) -> impl Iterator<Item = &Prediction> {
        self.questions.iter().flat_map(|question| &question.predictions)
    }

    /// Counts the predictions that held, failed, and could not be judged.
    pub fn score(&self) -> (usize, usize, usize) {
        self.predictions().fold((0, 0, 0), |(held, failed, open), prediction| {
            match judge(prediction, &self.summary) {
                Some((_, true)) => (held + 1, failed, open),
                Some((_, false)) => (held, failed + 1, open),
                None => (held, failed, open + 1),
            }
        })
    }

    /// Returns the score as a sentence.
    pub fn score_in_words(&self) -> String {
        let (held, failed, open) = self.score();
        let all = held + failed + open;
        let rest = if open == 0 { String::new() } else { format!(", {open} cannot be judged") };
        format!("Of {all} predictions, {held} held, {failed} did not{rest}.")
    }

    /// Returns a table of predictions and their outcomes.
    pub fn outcomes<'p>(&self, predictions: impl IntoIterator<Item = &'p Prediction>) -> Table {
        let row = |prediction: &Prediction| {
            let (value, outcome) = match judge(prediction, &self.summary) {
                Some((value, true)) => (prediction.format(value), Text::from("held")),
                Some((value, false)) => (prediction.format(value), Text::default().strong("did not hold")),
                None => (numbers::NONE.into(), Text::from("not measured")),
            };
            let cell = Text::default().link(prediction.cell, prediction.cell);
            vec![cell, prediction.to_string().into(), Text::default().strong(value), outcome]
        };
        let rows = predictions.into_iter().map(row).collect();
        Table::of_text(&["cell", "expected", "measured", "outcome"], rows)
    }

    /// Returns the cells and variants that violate Little's law, with the ratio.
    pub fn violations(&self) -> Vec<(&str, Variant, f64)> {
        let rows = self.cells.iter().flat_map(|cell| {
            self.summary.rows(&cell.id).map(|(variant, row)| (cell.id.as_str(), variant, row.violation()))
        });
        rows.filter_map(|(cell, variant, ratio)| Some((cell, variant, ratio?))).collect()
    }
}

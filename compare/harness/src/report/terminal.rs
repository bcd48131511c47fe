//! The short report printed at the end of a run.

use super::cells;
use super::document::{Span, Table, Text};
use super::findings::Findings;
use crate::numbers::{rounded, time};
use crate::prediction::Figure;
use crate::summary::{Agreement, Disagreement, Spread};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, LineStyle};

/// Renders the short report.
pub fn render(findings: &Findings) -> String {
    let questions = findings.questions.iter().map(|question| {
        let table = table(&cells::overview(question, findings));
        format!("{}\n({})\n{table}\n", question.text, cells::overview_figures(question))
    });
    let predictions = table(&findings.outcomes(findings.predictions()));
    let predictions = format!("{predictions}\n{}", findings.score_in_words());
    questions.chain([predictions, violations(findings)]).collect::<Vec<_>>().join("\n")
}

fn violations(findings: &Findings) -> String {
    let violations = findings.violations();
    if violations.is_empty() {
        return "Little's law holds in every closed loop.\n".into();
    }
    let each =
        violations.into_iter().map(|(cell, variant, ratio)| format!("  {cell}, {variant}: {ratio:.2}\n"));
    format!(
        "Little's law is VIOLATED, so rates and latencies are not consistent, in:\n{}",
        each.collect::<String>()
    )
}

/// Renders the comparison of two runs.
pub fn agreement(agreement: &Agreement) -> String {
    let Agreement { common, disagreements } = agreement;
    let mut text = format!(
        "Of {common} ranges of goodput and p99 that both runs have, {} overlap and {} do not.",
        common - disagreements.len(),
        disagreements.len()
    );
    if !disagreements.is_empty() {
        let table = Table::of_text(
            &["cell", "variant", "figure", "first run", "second run"],
            disagreements.iter().map(row).collect(),
        );
        text.push_str(&format!("\n{}", self::table(&table)));
    }
    text
}

fn row(apart: &Disagreement) -> Vec<Text> {
    let Disagreement { cell, variant, figure, a, b } = apart;
    let format = |spread: &Spread| {
        let [least, most] = [spread.least, spread.most]
            .map(|value| if *figure == Figure::P99 { time(value) } else { format!("{} /s", rounded(value)) });
        Text::from(format!("{least} to {most}"))
    };
    vec![cell.into(), variant.name().into(), figure.name().into(), format(a), format(b)]
}

/// Renders a table without wrapping, because the output may be a file. A narrow terminal wraps it.
fn table(table: &Table) -> comfy_table::Table {
    let mut out = comfy_table::Table::new();
    out.load_style(NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    out.set_header(table.columns.iter().map(plain));
    out.add_rows(table.rows.iter().map(|row| row.iter().map(plain)));
    if !table.is_text {
        out.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    out
}

fn plain(text: &Text) -> String {
    let words = |span: &Span| match span {
        Span::Small(words) => format!(" ({words})"),
        Span::Plain(words) | Span::Strong(words) | Span::Warning(words) | Span::Code(words) => words.clone(),
        Span::Link(words, _) => words.clone(),
    };
    text.0.iter().map(words).collect()
}

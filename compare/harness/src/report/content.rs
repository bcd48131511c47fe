//! The content of the page and its order.

use super::document::{Block, Page, Plot, Text};
use super::findings::Findings;
use super::{cells, conditions, ratios};
use crate::cell::Cell;
use crate::plan::Question;

/// Returns the whole page.
pub fn page(findings: &Findings, plots: Vec<Plot>) -> Page {
    let mut blocks = vec![Block::Paragraph(introduction())];
    blocks.extend(in_short(findings));
    blocks.extend(conditions::conditions(findings.header));
    blocks.extend(conditions::reading(&findings.header.settings));
    let mut shown = Vec::new();
    for question in &findings.questions {
        blocks.extend(section(question, findings, &plots, &mut shown));
    }
    blocks.push(heading(2, "ratios", "Ratios to async and to nginx, cell by cell"));
    blocks.push(Block::Paragraph(
        "Ratios of medians, in every cell where both variants were measured. The last column compares goodput: it \
         is more or less if the ranges of the rounds do not overlap and the medians differ by at least 2 %. \
         For p99, processor time and memory, a ratio below 1 is better."
            .into(),
    ));
    blocks.extend(ratios::blocks(findings));
    Page { title: "turnwheel and other load balancers".into(), blocks }
}

fn introduction() -> Text {
    Text::from(
        "Throughput, latency and cost of turnwheel, of the same balancer built on other I/O models, and of widely \
         used balancers, under the same loads on one machine. ",
    )
    .code("make compare")
.plain(" takes the measurements and writes this page; ")
    .code("make compare ARGS=--quick")
.plain(" does so for fewer questions.")
}

fn in_short(findings: &Findings) -> Vec<Block> {
    let mut blocks =
        vec![heading(2, "in-short", "In short"), Block::Paragraph(findings.score_in_words().into())];
    blocks.extend(list(ratios::lines(findings)));
    blocks.push(Block::Paragraph(violations(findings)));
    blocks.push(Block::Paragraph("The questions:".into()));
    let questions =
        findings.questions.iter().map(|question| Text::default().link(question.text, anchor(question)));
    blocks.extend(list(questions.collect()));
    blocks.push(Block::Paragraph("The predictions and their outcomes:".into()));
    blocks.push(Block::Table(findings.outcomes(findings.predictions())));
    blocks
}

fn violations(findings: &Findings) -> Text {
    let violations = findings.violations();
    if violations.is_empty() {
        return Text::default().link("Little's law", "reading").plain(" holds in every closed loop.");
    }
    let each = violations.into_iter().map(|(cell, variant, ratio)| {
        Text::from(format!("{variant} in ")).link(cell, cell).plain(format!(" ({ratio:.2})"))
    });
    let mut text = Text::default().warning("Little's law is violated").plain(" by ");
    text.0.extend(Text::joined(each).0);
    text.plain(
        ". In these cells requests were stuck at the start or the end of the window, so rate and latency are not \
         consistent.",
    )
}

/// Returns the section of a question, with the cells that no earlier section has shown.
fn section(question: &Question, findings: &Findings, plots: &[Plot], shown: &mut Vec<String>) -> Vec<Block> {
    let mut blocks = vec![heading(2, &anchor(question), question.text)];
    blocks.push(Block::Paragraph(format!("Varied: {}.{}", question.varies, asked(question)).into()));
    if !question.predictions.is_empty() {
        blocks.push(Block::Table(findings.outcomes(&question.predictions)));
    }
    blocks.extend(plots.iter().filter(|plot| plot.question == question.id).cloned().map(Block::Plot));
    let glance = cells::overview(question, findings);
    if !glance.rows.is_empty() {
        blocks.push(Block::Paragraph(format!("Overview, {}:", cells::overview_figures(question)).into()));
        blocks.push(Block::Table(glance));
    }
    for cell in &question.cells {
        if !shown.contains(&cell.id) {
            shown.push(cell.id.clone());
            blocks.extend(figures(cell, findings));
        }
    }
    blocks
}

fn asked(question: &Question) -> String {
    let names: Vec<_> = question.only.iter().map(|variant| variant.name()).collect();
    if names.is_empty() { String::new() } else { format!(" Variants: {} only.", names.join(" and ")) }
}

fn figures(cell: &Cell, findings: &Findings) -> Vec<Block> {
    let mut blocks = vec![heading(3, &cell.id, &cell.id), Block::Paragraph(cells::description(cell).into())];
    let Some(table) = cells::table(cell, findings) else {
        blocks.push(Block::Paragraph("Not measured in this run.".into()));
        return blocks;
    };
    blocks.push(Block::Table(table));
    let rounds = findings.header.settings.rounds;
    let fewer: Vec<_> = findings
        .summary
        .rows(&cell.id)
        .filter(|(_, row)| row.rounds < rounds as usize)
        .map(|(variant, row)| format!("{variant} ({})", row.rounds))
        .collect();
    if !fewer.is_empty() {
        blocks.push(Block::Paragraph(format!("Fewer than {rounds} rounds: {}.", fewer.join(", ")).into()));
    }
    blocks
}

/// Returns the link target of a question. Prefixed, because a question and a cell may share a name.
fn anchor(question: &Question) -> String {
    format!("question-{}", question.id)
}

fn heading(level: u8, id: &str, text: &str) -> Block {
    Block::Heading(level, id.into(), text.into())
}

fn list(items: Vec<Text>) -> Option<Block> {
    (!items.is_empty()).then_some(Block::List(items))
}

//! The page: what stands on it, and in which order.

use super::document::{Block, Page, Plot, Text};
use super::findings::Findings;
use super::{cells, conditions, rivals};
use crate::cell::Cell;
use crate::cluster::snapshot::Question;

/// All of it.
pub fn page(findings: &Findings, plots: Vec<Plot>) -> Page {
    let mut blocks = vec![Block::Paragraph(introduction())];
    blocks.extend(in_short(findings));
    blocks.extend(conditions::conditions(findings.header));
    blocks.extend(conditions::reading(&findings.header.settings));
    let mut shown = Vec::new();
    for question in &findings.questions {
        blocks.extend(section(question, findings, &plots, &mut shown));
    }
    blocks.push(heading(2, "rivals", "Over async and over nginx, cell by cell"));
    blocks.push(Block::Paragraph(
        "Medians of the one over medians of the other, in every cell where both were measured. More and less are \
         said of goodput where the rounds' ranges have nothing in common and the medians are at least 2 % apart. \
         For p99, processor time and memory, less \
         than 1 is better."
            .into(),
    ));
    blocks.extend(rivals::blocks(findings));
    Page { title: "turnwheel beside other balancers".into(), blocks }
}

fn introduction() -> Text {
    Text::from(
        "turnwheel, the same balancer built in other ways, and balancers in wide use, under the same loads on one \
         machine: how much goes through, how long it takes, and what it costs. ",
    )
    .code("make compare")
    .plain(" measures it and writes this page; ")
    .code("make compare ARGS=--quick")
    .plain(" does so with fewer questions.")
}

fn in_short(findings: &Findings) -> Vec<Block> {
    let mut blocks =
        vec![heading(2, "in-short", "In short"), Block::Paragraph(findings.score_in_words().into())];
    blocks.extend(list(rivals::lines(findings)));
    blocks.push(Block::Paragraph(violations(findings)));
    blocks.push(Block::Paragraph("The questions:".into()));
    let questions =
        findings.questions.iter().map(|question| Text::default().link(question.asks, anchor(question)));
    blocks.extend(list(questions.collect()));
    blocks.push(Block::Paragraph("What was expected before it was measured, and what came of it:".into()));
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
    let mut text = Text::default().alarm("Little's law is violated").plain(" by ");
    text.0.extend(Text::joined(each).0);
    text.plain(
        ". There, requests hung when the window ended or had hung before it began, and rates and latencies do not \
         belong together.",
    )
}

/// A question, and those of its cells that no question before it has shown.
fn section(question: &Question, findings: &Findings, plots: &[Plot], shown: &mut Vec<String>) -> Vec<Block> {
    let mut blocks = vec![heading(2, &anchor(question), question.asks)];
    blocks.push(Block::Paragraph(format!("What varies: {}.{}", question.varies, asked(question)).into()));
    if !question.predictions.is_empty() {
        blocks.push(Block::Table(findings.outcomes(&question.predictions)));
    }
    blocks.extend(plots.iter().filter(|plot| plot.question == question.id).cloned().map(Block::Plot));
    let glance = cells::glance(question, findings);
    if !glance.rows.is_empty() {
        blocks.push(Block::Paragraph(format!("At a glance, {}:", cells::glanced(question)).into()));
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
    if names.is_empty() { String::new() } else { format!(" Asked of {} only.", names.join(" and ")) }
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

/// A question's name is a cell's, too, in one case.
fn anchor(question: &Question) -> String {
    format!("question-{}", question.id)
}

fn heading(level: u8, id: &str, text: &str) -> Block {
    Block::Heading(level, id.into(), text.into())
}

fn list(items: Vec<Text>) -> Option<Block> {
    (!items.is_empty()).then_some(Block::List(items))
}

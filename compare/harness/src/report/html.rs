//! Renders a page as self-contained HTML, without scripts or external resources.

use super::document::{Block, Page, Span, Table, Text};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Legible on a projector; wide tables scroll on their own.
const STYLE: &str = include_str!("style.css");

/// Renders the page.
pub fn render(page: &Page) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (page.title) }
                    @for one in &page.blocks { (block(one)) "\n" }
                }
            }
        }
    };
    page.into_string()
}

fn block(block: &Block) -> Markup {
    html! {
        @match block {
            Block::Heading(2, id, words) => { h2 id=(id) { (words) } },
            Block::Heading(_, id, words) => { h3 id=(id) { (words) } },
            Block::Paragraph(words) => { p { (text(words)) } },
            Block::List(items) => { ul { @for item in items { li { (text(item)) } } } },
            Block::Table(rows) => { (table(rows)) },
            Block::Plot(plot) => { figure role="img" aria-label=(plot.title) { (PreEscaped(&plot.svg)) } },
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table.words[table.is_text] {
                thead { tr { @for column in &table.columns { th scope="col" { (text(column)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for cell in row { td { (text(cell)) } } }
                    }
                }
            }
        }
    }
}

fn text(text: &Text) -> Markup {
    html! { @for one in &text.0 { (span(one)) } }
}

fn span(span: &Span) -> Markup {
    html! {
        @match span {
            Span::Plain(words) => { (words) },
            Span::Strong(words) => { strong { (words) } },
            Span::Warning(words) => { strong.warning { (words) } },
            Span::Code(words) => { code { (words) } },
            Span::Small(words) => { " " small { (words) } },
            Span::Link(words, heading) => { a href={ "#" (heading) } { (words) } },
        }
    }
}

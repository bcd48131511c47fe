//! Renders a page as GitHub-flavoured Markdown.

use super::document::{Block, PLOTS, Page, Span, Table, Text};
use std::fmt::Write;

/// Renders the page.
pub fn render(page: &Page) -> String {
    let blocks = page.blocks.iter().map(block);
    [format!("# {}\n", escaped(&page.title))].into_iter().chain(blocks).collect::<Vec<_>>().join("\n")
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, id, words) => {
            format!("{} <a id=\"{id}\"></a>{}\n", "#".repeat(usize::from(*level)), escaped(words))
        }
        Block::Paragraph(words) => format!("{}\n", text(words)),
        Block::List(items) => items.iter().map(|item| format!("- {}\n", text(item))).collect(),
        Block::Table(rows) => table(rows),
        Block::Plot(plot) => format!("![{}]({PLOTS}/{})\n", plot.title, plot.file()),
    }
}

fn table(table: &Table) -> String {
    let line = |texts: &[Text]| format!("| {} |\n", texts.iter().map(text).collect::<Vec<_>>().join(" | "));
    let align = |place: usize| if place == 0 || table.is_text { " --- |" } else { " --: |" };
    let mut out = line(&table.columns);
    let _ = writeln!(out, "|{}", (0..table.columns.len()).map(align).collect::<String>());
    out.extend(table.rows.iter().map(|row| line(row)));
    out
}

fn text(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(words) => escaped(words),
        Span::Strong(words) | Span::Warning(words) => format!("**{}**", escaped(words)),
        Span::Code(words) => format!("`{words}`"),
        Span::Small(words) => format!(" ({})", escaped(words)),
        Span::Link(words, heading) => format!("[{}](#{heading})", escaped(words)),
    }
}

/// Escapes characters that have a meaning in Markdown, because processor names and versions are arbitrary text.
fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '\\' | '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '#' => out.extend(['\\', letter]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_markdown_in_external_text() {
        for (words, text) in [
            ("plain 1.0 (x)", "plain 1.0 (x)"),
            ("a|b", "a\\|b"),
            ("<b>*x*", "\\<b\\>\\*x\\*"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(escaped(words), text);
        }
    }

    #[test]
    fn every_line_of_a_table_has_the_same_number_of_columns() {
        let rows = vec![vec!["a|b".into(), Text::from("1").small("0–2"), Text::default().link("c", "d")]];
        let columns = ["x", "y", "z"].map(Text::from).into();
        let lines = table(&Table { columns, rows, is_text: false });
        assert_eq!(lines, "| x | y | z |\n| --- | --: | --: |\n| a\\|b | 1 (0–2) | [c](#d) |\n");
    }
}

//! What workers are at, and what they have done.

use super::model::{Busy, Recent, State};
use super::theme::Theme;
use super::words;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table, Widget};

/// A column for a time, `850µs`.
const TIME: u16 = 5;

/// A backend's name is cut beyond that: the path needs the room.
const LONGEST_NAME: usize = 21;

/// Draws what workers are at, the longest first.
pub fn busy(state: &State, theme: Theme, area: Rect, buf: &mut Buffer) {
    let name = longest_name(state.busy.iter().map(|one| one.backend.as_deref()));
    let widths = [TIME + 1, 9, name, 4].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let rows = state.busy.iter().map(|one: &Busy| {
        let worker = one.worker.map_or_else(|| words::UNKNOWN.to_owned(), |number| format!("#{number}"));
        Row::new([
            Cell::from(format!("{:>6}", words::time(one.for_seconds))),
            Cell::from(words::text(one.phase.as_deref())),
            Cell::from(words::text(one.backend.as_deref())),
            Cell::from(worker),
            Cell::from(request(one.method.as_deref(), one.path.as_deref())),
        ])
    });
    let title = format!("At work: {} workers", words::part(state.workers));
    list(title, Table::new(rows, widths), theme, area, buf);
}

/// Draws requests that have ended, the newest first.
pub fn recent(state: &State, theme: Theme, area: Rect, buf: &mut Buffer) {
    let name = longest_name(state.recent.iter().map(|one| one.backend.as_deref()));
    let widths = [TIME + 5, 3, name, TIME].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let rows = state.recent.iter().map(|one: &Recent| {
        Row::new([
            Cell::from(format!("{:>6} ago", words::span(one.ago))),
            Cell::from(words::count(one.status)).style(theme.status(one.status)),
            Cell::from(words::text(one.backend.as_deref())),
            Cell::from(format!("{:>5}", words::time(one.seconds))),
            Cell::from(format!("{}{}", request(one.method.as_deref(), one.path.as_deref()), remarks(one))),
        ])
    });
    list("Recent requests".to_owned(), Table::new(rows, widths), theme, area, buf);
}

/// A title, and the rows below it as far as there is room.
fn list(title: String, table: Table<'_>, theme: Theme, area: Rect, buf: &mut Buffer) {
    Line::styled(title, theme.title()).render(area, buf);
    let below = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
    Widget::render(table, below, buf);
}

fn request(method: Option<&str>, path: Option<&str>) -> String {
    format!("{} {}", words::text(method), words::text(path))
}

/// How it ended, unless well, and what it took, if that was more than one try.
fn remarks(one: &Recent) -> String {
    let ended = one.ended.as_deref().filter(|word| *word != "ok").map(|word| word.replace('_', " "));
    let tries = one.tries.filter(|tries| *tries > 1).map(|tries| format!("{tries} tries"));
    let all: Vec<_> = ended.into_iter().chain(tries).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join(", ")) }
}

fn longest_name<'a>(names: impl Iterator<Item = Option<&'a str>>) -> u16 {
    let longest = names.map(|name| words::text(name).chars().count()).max();
    longest.unwrap_or_default().clamp(1, LONGEST_NAME) as u16
}

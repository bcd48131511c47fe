//! The lists of busy workers and of requests that have ended.

use super::theme::Theme;
use super::words;
use crate::admin::answers::state::{BusyWorker, EndedRequest, State};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table, Widget};

/// Cells of a time, `850µs`.
const TIME: u16 = 5;

/// Cells of a backend's name; a longer one is cut, so that there is room for the path.
const LONGEST_NAME: usize = 21;

/// Draws the busy workers, in the order of the state.
pub fn busy(state: &State, theme: Theme, area: Rect, buf: &mut Buffer) {
    let name = longest_name(state.busy.iter().map(|one| one.backend.as_deref()));
    let widths = [TIME + 1, 9, name, 4].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let rows = state.busy.iter().map(|one: &BusyWorker| {
        Row::new([
            Cell::from(format!("{:>6}", words::time(Some(one.for_seconds)))),
            Cell::from(one.phase.clone()),
            Cell::from(words::text(one.backend.as_deref()).to_owned()),
            Cell::from(format!("#{}", one.worker)),
            Cell::from(format!("{} {}", one.method, one.path)),
        ])
    });
    let title = format!("Busy: {} workers", words::ratio(state.workers_busy, state.workers));
    list(title, Table::new(rows, widths), theme, area, buf);
}

/// Draws the requests that have ended, in the order of the state.
pub fn recent(state: &State, theme: Theme, area: Rect, buf: &mut Buffer) {
    let name = longest_name(state.recent.iter().map(|one| one.backend.as_deref()));
    let widths = [TIME + 5, 3, name, TIME].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let rows = state.recent.iter().map(|one: &EndedRequest| {
        let (method, path) = (words::text(one.method.as_deref()), words::text(one.path.as_deref()));
        Row::new([
            Cell::from(format!("{:>6} ago", words::span(one.ago_seconds))),
            Cell::from(one.status.to_string()).style(theme.status(one.status)),
            Cell::from(words::text(one.backend.as_deref()).to_owned()),
            Cell::from(format!("{:>5}", words::time(Some(one.seconds)))),
            Cell::from(format!("{method} {path}{}", remarks(one))),
        ])
    });
    list("Recent requests".to_owned(), Table::new(rows, widths), theme, area, buf);
}

/// Draws a title, and below it as many rows as there is room for.
fn list(title: String, table: Table<'_>, theme: Theme, area: Rect, buf: &mut Buffer) {
    Line::styled(title, theme.title()).render(area, buf);
    let below = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
    Widget::render(table, below, buf);
}

/// Returns the fault of a request that did not end well and the number of its tries if there were several; otherwise an
/// empty text.
fn remarks(one: &EndedRequest) -> String {
    let ended = (one.ended != "ok").then(|| one.ended.replace('_', " "));
    let tries = (one.tries > 1).then(|| format!("{} tries", one.tries));
    let all: Vec<_> = ended.into_iter().chain(tries).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join(", ")) }
}

fn longest_name<'a>(names: impl Iterator<Item = Option<&'a str>>) -> u16 {
    let longest = names.map(|name| words::text(name).chars().count()).max();
    longest.unwrap_or_default().clamp(1, LONGEST_NAME) as u16
}

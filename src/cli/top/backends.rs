//! The table of backends. It has as many columns as fit, the most telling ones first.

use super::model::{Backend, State};
use super::theme::Theme;
use super::words;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, StatefulWidget, Table, TableState};

/// Cells of a share's bar; its number needs four.
const BAR: usize = 3;

/// A name is cut beyond that.
const LONGEST_NAME: usize = 30;

/// The arrow, the state, and a gap behind each of these and the name.
const ALWAYS: u16 = 1 + 1 + 1 + STATE + 1;
const STATE: u16 = 8;

/// Where there is so much room left, the reason for the state has it.
const SHORTEST_REASON: u16 = 12;

/// A number that is known of each backend.
struct Column {
    title: &'static str,
    width: u16,
    /// 0 is the last to go when it gets narrow.
    rank: u8,
    text: fn(&Backend) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { title: "wt", width: 3, rank: 7, text: |one| words::count(one.weight) },
    Column { title: "serving", width: 7, rank: 3, text: |one| words::part(one.in_flight) },
    Column { title: "requests", width: 8, rank: 4, text: |one| words::count(one.requests) },
    Column { title: "share", width: 7, rank: 2, text: share },
    Column { title: "req/s", width: 5, rank: 0, text: |one| words::rate(one.lately.rate) },
    Column { title: "p50", width: 5, rank: 6, text: |one| words::time(one.lately.p50) },
    Column { title: "p99", width: 5, rank: 1, text: |one| words::time(one.lately.p99) },
    Column { title: "5xx", width: 6, rank: 5, text: |one| words::count(one.errors) },
];

/// Which columns there are in a place, and what is left for reasons.
struct Plan {
    name: u16,
    columns: Vec<&'static Column>,
    reason: Option<u16>,
}

impl Plan {
    fn of(backends: &[Backend], width: u16) -> Self {
        let longest = backends.iter().map(|one| words::text(one.name.as_deref()).chars().count()).max();
        let name = longest.unwrap_or_default().clamp("backend".len(), LONGEST_NAME) as u16;
        let mut room = width.saturating_sub(ALWAYS + name);
        let mut ranked: Vec<_> = COLUMNS.iter().collect();
        ranked.sort_by_key(|column| column.rank);
        ranked.retain(|column| {
            let fits = column.width < room;
            room -= if fits { column.width + 1 } else { 0 };
            fits
        });
        let is_in = |column: &&Column| ranked.iter().any(|one| one.rank == column.rank);
        let columns = COLUMNS.iter().filter(is_in).collect();
        Plan { name, columns, reason: (room > SHORTEST_REASON).then(|| room - 1) }
    }
}

/// Is there room for the reasons in the table itself?
pub fn has_reasons(backends: &[Backend], width: u16) -> bool {
    Plan::of(backends, width).reason.is_some()
}

/// Draws the table, so that what is chosen can be seen.
pub fn draw(state: &State, selected: Option<usize>, theme: Theme, area: Rect, buf: &mut Buffer) {
    let plan = Plan::of(&state.backends, area.width);
    let titles = plan.columns.iter().map(|column| right(column.title.to_owned()));
    let header = ["", "backend", "state"].map(Cell::from).into_iter().chain(titles);
    let header = Row::new(header.chain(plan.reason.map(|_| Cell::from("why")))).style(theme.title());
    let rows = state.backends.iter().map(|one| row(one, state.next.as_deref(), &plan, theme));
    let widths = [1, plan.name, STATE].into_iter().chain(plan.columns.iter().map(|column| column.width));
    let widths: Vec<_> = widths.chain(plan.reason).map(Constraint::Length).collect();
    let table = Table::new(rows, widths).header(header).row_highlight_style(theme.chosen());
    let mut place = TableState::new().with_selected(selected);
    StatefulWidget::render(table, area, buf, &mut place);
    if state.backends.is_empty() && area.height > 1 {
        buf.set_stringn(area.x + 2, area.y + 1, "there is none", area.width.into(), theme.odd());
    }
}

fn row(one: &Backend, next: Option<&str>, plan: &Plan, theme: Theme) -> Row<'static> {
    let is_next = one.name.is_some() && one.name.as_deref() == next;
    let state = words::text(one.state.as_deref()).to_owned();
    let begin = [
        Cell::from(if is_next { "→" } else { "" }),
        Cell::from(words::text(one.name.as_deref()).to_owned()),
        Cell::from(state).style(theme.state(one.state.as_deref())),
    ];
    let numbers = plan.columns.iter().map(|column| right((column.text)(one)));
    let reason = plan.reason.map(|_| Cell::from(reason(one)));
    Row::new(begin.into_iter().chain(numbers).chain(reason))
}

/// Why it is in its state, and for how long it has been so.
fn reason(one: &Backend) -> String {
    let backup = if one.backup == Some(true) { "a backup; " } else { "" };
    format!("{backup}{}, {}", words::text(one.why.as_deref()), words::span(one.for_seconds))
}

/// The same of the chosen one, in a line of its own.
pub fn detail(one: &Backend) -> Line<'static> {
    let (name, state) = (words::text(one.name.as_deref()), words::text(one.state.as_deref()));
    Line::from(format!("{name} is {state}: {}", reason(one)))
}

fn share(one: &Backend) -> String {
    let share = one.lately.share;
    format!("{}{:>4}", words::bar(share, BAR), words::percent(share))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).alignment(Alignment::Right))
}

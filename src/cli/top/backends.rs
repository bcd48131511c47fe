//! The table of backends. It has as many columns as fit, the most important ones first.

use super::theme::Theme;
use super::words;
use crate::admin::answers::state::{BackendRates, BackendState, State};
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, StatefulWidget, Table, TableState};

/// Cells of a share's bar; its number needs four.
const BAR: usize = 3;

/// Cells of a name; a longer one is cut.
const LONGEST_NAME: usize = 30;

/// Cells of the columns that are always there except for the name: the arrow, the state, and a gap after each of the
/// three.
const FIXED: u16 = 1 + 1 + 1 + STATE + 1;
const STATE: u16 = 8;

/// The least cells for which a column for the reason is added.
const SHORTEST_REASON: u16 = 12;

/// `why` of a backend whose first check has not ended.
const NOT_CHECKED: &str = "not checked yet";

/// A number of each backend.
struct Column {
    title: &'static str,
    width: u16,
    /// Columns are left out from the highest rank down.
    rank: u8,
    text: fn(&BackendState) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { title: "wt", width: 3, rank: 7, text: |one| words::count(one.weight.into()) },
    Column {
        title: "serving",
        width: 7,
        rank: 3,
        text: |one| words::ratio(one.in_flight, one.max_in_flight),
    },
    Column { title: "requests", width: 8, rank: 4, text: |one| words::count(one.requests) },
    Column { title: "share", width: 7, rank: 2, text: |one| share(one.lately) },
    Column { title: "req/s", width: 5, rank: 0, text: |one| words::rate(one.lately.map(|it| it.rates.rate)) },
    Column {
        title: "p50",
        width: 5,
        rank: 6,
        text: |one| words::time(one.lately.and_then(|it| it.rates.p50_seconds)),
    },
    Column {
        title: "p99",
        width: 5,
        rank: 1,
        text: |one| words::time(one.lately.and_then(|it| it.rates.p99_seconds)),
    },
    Column { title: "5xx", width: 6, rank: 5, text: |one| words::count(one.errors) },
];

/// The columns that fit into a width.
struct Columns {
    name: u16,
    numbers: Vec<&'static Column>,
    reason: Option<u16>,
}

impl Columns {
    fn fitting(backends: &[BackendState], width: u16) -> Self {
        let longest = backends.iter().map(|backend| backend.name.chars().count()).max();
        let name = longest.unwrap_or_default().clamp("backend".len(), LONGEST_NAME) as u16;
        let mut room = width.saturating_sub(FIXED + name);
        let mut ranked: Vec<_> = COLUMNS.iter().collect();
        ranked.sort_by_key(|column| column.rank);
        ranked.retain(|column| {
            let fits = column.width < room;
            room -= if fits { column.width + 1 } else { 0 };
            fits
        });
        let is_in = |column: &&Column| ranked.iter().any(|one| one.rank == column.rank);
        let numbers = COLUMNS.iter().filter(is_in).collect();
        Columns { name, numbers, reason: (room > SHORTEST_REASON).then(|| room - 1) }
    }
}

/// Returns whether a table of this width has a column for the reasons.
pub fn has_reasons(backends: &[BackendState], width: u16) -> bool {
    Columns::fitting(backends, width).reason.is_some()
}

/// Draws the table, scrolled so that the selected backend is visible.
pub fn draw(state: &State, selected: Option<usize>, theme: Theme, area: Rect, buf: &mut Buffer) {
    let columns = Columns::fitting(&state.backends, area.width);
    let titles = columns.numbers.iter().map(|column| right(column.title.to_owned()));
    let header = ["", "backend", "state"].map(Cell::from).into_iter().chain(titles);
    let header = Row::new(header.chain(columns.reason.map(|_| Cell::from("why")))).style(theme.title());
    let rows = state.backends.iter().map(|backend| row(backend, state.next.as_deref(), &columns, theme));
    let widths =
        [1, columns.name, STATE].into_iter().chain(columns.numbers.iter().map(|column| column.width));
    let widths: Vec<_> = widths.chain(columns.reason).map(Constraint::Length).collect();
    let table = Table::new(rows, widths).header(header).row_highlight_style(theme.selected());
    let mut position = TableState::new().with_selected(selected);
    StatefulWidget::render(table, area, buf, &mut position);
    if state.backends.is_empty() && area.height > 1 {
        buf.set_stringn(area.x + 2, area.y + 1, "no backends", area.width.into(), theme.warning());
    }
}

fn row(backend: &BackendState, next: Option<&str>, columns: &Columns, theme: Theme) -> Row<'static> {
    let begin = [
        Cell::from(if next == Some(&*backend.name) { "→" } else { "" }),
        Cell::from(backend.name.clone()),
        Cell::from(backend.state.clone()).style(theme.state(&backend.state)),
    ];
    let numbers = columns.numbers.iter().map(|column| right((column.text)(backend)));
    let reason = columns.reason.map(|_| Cell::from(reason(backend)));
    Row::new(begin.into_iter().chain(numbers).chain(reason))
}

/// Returns the reason for the state, and how long the state has lasted.
fn reason(backend: &BackendState) -> String {
    let backup = if backend.backup { "a backup; " } else { "" };
    let why = match (&*backend.state, &*backend.why) {
        ("checking", NOT_CHECKED) => "not checked yet; used meanwhile".to_owned(),
        ("checking", last) => format!("too few checks so far (last: {last}); used meanwhile"),
        (_, why) => why.to_owned(),
    };
    format!("{backup}{why}, {}", words::span(backend.for_seconds))
}

/// Returns a line about one backend, which is shown if the table has no room for reasons.
pub fn detail(backend: &BackendState) -> Line<'static> {
    Line::from(format!("{} is {}: {}", backend.name, backend.state, reason(backend)))
}

fn share(rates: Option<BackendRates>) -> String {
    let share = rates.and_then(|rates| rates.share);
    format!("{}{:>4}", words::bar(share, BAR), words::percent(share))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).alignment(Alignment::Right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::fixture;

    #[test]
    fn says_plainly_what_checking_means() {
        let mut backend = fixture::backend("a:1", "checking");
        for (why, wanted) in [
            (NOT_CHECKED, "a:1 is checking: not checked yet; used meanwhile, 1m"),
            ("connected", "a:1 is checking: too few checks so far (last: connected); used meanwhile, 1m"),
        ] {
            backend.why = why.into();
            assert_eq!(detail(&backend).to_string(), wanted);
        }
        (backend.state, backend.backup) = ("up".into(), true);
        assert_eq!(detail(&backend).to_string(), "a:1 is up: a backup; connected, 1m");
    }
}

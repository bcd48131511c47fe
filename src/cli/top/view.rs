//! Draws the view. Pure: from a screen to the cells of a terminal of any size.

use super::layout::{Areas, FOR_GAPS};
use super::screen::{KEYS, Screen};
use super::theme::Theme;
use super::{backends, header, lists, sparklines, words};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

/// Width of the view when it is printed.
const PRINTED_WIDTH: u16 = 120;

/// The most backends that are printed; a buffer cannot have many more lines.
const MOST_PRINTED: usize = 10_000;

/// The last line when there is no message.
const HINT: &str = "q quit  ↑↓ select  d drain  r resume  p pause  ? keys";

/// Draws the snapshot, and a last line with a message or a hint.
pub fn draw(screen: &Screen, theme: Theme, area: Rect, buf: &mut Buffer) {
    let above = Rect { height: area.height.saturating_sub(1), ..area };
    draw_snapshot(screen, theme, above, buf);
    if screen.unreachable.is_some() {
        buf.set_style(above, theme.stale());
    }
    if screen.help {
        help(theme, above, buf);
    }
    let last = Rect { y: area.y + above.height, height: area.height - above.height, ..area };
    message(screen, theme).render(last, buf);
}

/// Returns the snapshot as plain lines.
pub fn print(screen: &Screen) -> String {
    let state = &screen.snapshot.state;
    let rows = state.backends.len().clamp(1, MOST_PRINTED) + state.busy.len() + state.recent.len();
    let height = u16::try_from(rows + usize::from(FOR_GAPS)).unwrap_or(u16::MAX / 2);
    let area = Rect::new(0, 0, PRINTED_WIDTH, height);
    let mut buf = Buffer::empty(area);
    draw_snapshot(screen, Theme { colours: false }, area, &mut buf);
    let lines = buf.content().chunks(PRINTED_WIDTH.into());
    let lines = lines.map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>());
    let lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n").trim_end().to_owned()
}

fn draw_snapshot(screen: &Screen, theme: Theme, area: Rect, buf: &mut Buffer) {
    let (state, areas) = (&screen.snapshot.state, Areas::of(screen, area));
    header::header(state, theme, area.width).render(areas.header, buf);
    header::totals(state, theme, area.width).render(areas.totals, buf);
    header::gauges(state, theme, area.width).render(areas.gauges, buf);
    sparklines::draw(&screen.snapshot.history, theme, areas.sparklines, buf);
    backends::draw(state, screen.selected, theme, areas.backends, buf);
    if let Some(selected) = screen.selected.and_then(|place| state.backends.get(place)) {
        backends::detail(selected).render(areas.detail, buf);
    }
    lists::busy(state, theme, areas.busy, buf);
    lists::recent(state, theme, areas.recent, buf);
}

/// Draws the keys in the middle of an area.
fn help(theme: Theme, area: Rect, buf: &mut Buffer) {
    let lines = KEYS.iter().map(|(key, effect)| Line::from(format!(" {key:<4} {effect} ")));
    let lines: Vec<_> = lines.collect();
    let widest = lines.iter().map(Line::width).max().unwrap_or_default();
    let (width, height) = (u16::try_from(widest + 2).unwrap_or(u16::MAX), KEYS.len() as u16 + 2);
    let place = area.centered(Constraint::Length(width), Constraint::Length(height)).intersection(area);
    Clear.render(place, buf);
    let frame = Block::bordered().title(Line::styled(" keys ", theme.title()));
    Paragraph::new(lines).block(frame).render(place, buf);
}

/// Returns the last line: the outcome of the last key, else the reason why the balancer does not answer, else the hint.
fn message(screen: &Screen, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    if screen.paused {
        line.push_span(Span::styled(" paused ", theme.selected()));
        line.push_span(" ");
    }
    match (&screen.message, &screen.unreachable) {
        (Some(message), _) => line.push_span(Span::styled(message.clone(), theme.title())),
        (None, Some(reason)) => {
            let age = words::span(screen.received.elapsed().as_secs_f64());
            line.push_span(Span::styled(format!("{age} old: {reason}"), theme.bad()));
        }
        (None, None) => line.push_span(HINT),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::fixture;
    use crate::admin::answers::state::{BackendState, BusyWorker, EndedRequest, State};
    use crate::cli::client::clean_strings;
    use crate::cli::top::poller::Update;
    use crate::cli::top::snapshot::{SampleHistory, Snapshot};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::style::{Color, Modifier};
    use serde_json::json;

    const COLOURS: Theme = Theme { colours: true };

    fn screen(state: State) -> Screen {
        Screen::new(Snapshot::new(state, SampleHistory::default()))
    }

    fn with_backends(backends: Vec<BackendState>) -> State {
        State { backends, ..State::default() }
    }

    fn full() -> Screen {
        let mut history = SampleHistory::default();
        history.append(fixture::samples(1..=120));
        Screen::new(Snapshot::new(fixture::state(), history))
    }

    fn terminal(screen: &Screen, theme: Theme, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(screen, theme, frame.area(), frame.buffer_mut())).unwrap();
        terminal
    }

    fn lines(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let terminal = terminal(screen, COLOURS, width, height);
        let rows = terminal.backend().buffer().content().chunks(width.into());
        rows.map(|cells| cells.iter().map(|cell| cell.symbol()).collect()).collect()
    }

    /// Asserts that one line has all of these words, in this order.
    #[track_caller]
    fn shows(lines: &[String], words: &[&str]) {
        let in_order = |line: &String| {
            let rest = words.iter().try_fold(&**line, |rest, word| Some(rest.split_once(word)?.1));
            rest.is_some()
        };
        assert!(lines.iter().any(in_order), "{words:?} are not in a line:\n{}", lines.join("\n"));
    }

    #[test]
    fn has_every_part_in_80_by_24() {
        let lines = lines(&full(), 80, 24);
        let header = ["turnwheel 0.1.0", "ready", "up 1h 02m", "strategy round-robin", "edge parked"];
        shows(&lines, &header);
        shows(&lines, &["req/s 123", "5xx/s 0.5", "p50 1.2ms", "p99 20ms", "requests so far 12345"]);
        shows(&lines, &["queue", "▕█████", "256/1024", "workers", "3/64"]);
        shows(&lines, &["req/s, two minutes: at most 120", "p99, two minutes: at most 20ms"]);
        shows(&lines, &["█████"]);
        shows(
            &lines,
            &["backend", "state", "wt", "serving", "requests", "share", "req/s", "p50", "p99", "5xx"],
        );
        let numbers = ["5   2/100     6150 █▌  50%    62 1.1ms  20ms     45"];
        shows(&lines, &["  127.0.0.1:8081 up", numbers[0]]);
        shows(&lines, &["→ 127.0.0.1:8082 down", numbers[0]]);
        shows(&lines, &["127.0.0.1:8081 is up: a check was refused, 1m"]);
        shows(&lines, &["Busy: 3/64 workers"]);
        shows(&lines, &["2.5s", "waiting", "127.0.0.1:8081", "#7", "POST /slow"]);
        shows(&lines, &["1.0ms", "choosing", "-", "#0", "GET /quick"]);
        shows(&lines, &["0s ago", "502", "127.0.0.1:8082", "250ms", "GET /new  (backend failed, 3 tries)"]);
        shows(&lines, &["1s ago", "200", "127.0.0.1:8081", "1.3ms", "GET /old"]);
        assert!(lines[23].starts_with(HINT), "{}", lines[23]);
        let place = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
        assert!(place("POST /slow") < place("GET /quick"), "the longest first");
        assert!(place("GET /new") < place("GET /old"), "the newest first");
    }

    #[test]
    fn has_the_most_important_parts_in_40_by_10() {
        let lines = lines(&full(), 40, 10);
        shows(&lines, &["turnwheel 0.1.0", "ready"]);
        shows(&lines, &["req/s 123", "5xx/s 0.5", "p50 1.2ms"]);
        shows(&lines, &["queue", "256/1024", "workers", "3/64"]);
        shows(&lines, &["  127.0.0.1:8081 up", "62  20ms"]);
        shows(&lines, &["→ 127.0.0.1:8082 down"]);
        shows(&lines, &["q quit"]);
    }

    #[test]
    fn has_the_reasons_in_the_table_where_there_is_room() {
        let lines = lines(&full(), 160, 50);
        shows(&lines, &["→ 127.0.0.1:8082 down", "45 a check was refused, 1m"]);
        shows(&lines, &["on 127.0.0.1:8080, [::1]:8080"]);
        assert!(!lines.iter().any(|line| line.contains("is up:")), "and not a second time");
    }

    #[test]
    fn draws_any_state_in_any_size() {
        let mut away = full();
        (away.unreachable, away.help, away.paused) = (Some("nothing listens".into()), true, true);
        let hundred = (0..100).map(|n| fixture::backend(&format!("b{n}:1"), "up")).collect();
        let [empty, blank] = [State::default(), with_backends(vec![BackendState::default(); 2])].map(screen);
        for screen in [full(), away, empty, blank, screen(with_backends(hundred))] {
            for width in [0, 1, 3, 20, 40, 80, 250] {
                for height in [0, 1, 2, 3, 5, 8, 9, 10, 17, 24, 32, 60] {
                    terminal(&screen, COLOURS, width, height);
                }
            }
        }
    }

    #[test]
    fn shows_a_dash_for_what_is_not_known() {
        let state = State {
            edge: "tiny-http".into(),
            busy: vec![BusyWorker { method: "GET".into(), path: "/".into(), ..BusyWorker::default() }],
            recent: vec![EndedRequest { status: 400, ..EndedRequest::default() }],
            ..with_backends(vec![fixture::backend("a:1", "up")])
        };
        let mut unknown = screen(state);
        unknown.snapshot.state.backends[0].lately = None;
        let lines = lines(&unknown, 120, 24);
        shows(&lines, &["p50 -", "p99 -", "connections: not counted by the tiny-http edge"]);
        shows(&lines, &["at most -", "at most -"]);
        shows(&lines, &["  a:1", "up", "2/100", "6150", "-", "-", "-", "-", "45"]);
        shows(&lines, &["0µs", "-", "#0", "GET /"]);
        shows(&lines, &["0s ago", "400", "-", "0µs", "- -"]);
        assert!(!lines.iter().any(|line| line.contains('→')), "no backend is next");
        let lines = self::lines(&screen(State::default()), 80, 24);
        shows(&lines, &["  no backends"]);
    }

    #[test]
    fn says_why_the_balancer_is_not_ready() {
        let state = State { why_not: Some("no backend is usable".into()), ..State::default() };
        let lines = lines(&screen(state), 80, 24);
        shows(&lines, &["not ready: no backend is usable"]);
    }

    #[test]
    fn scrolls_a_hundred_backends_with_the_selection() {
        let backends = (0..100).map(|n| fixture::backend(&format!("host{n:02}:1"), "up")).collect();
        let mut screen = screen(State { backends, ..fixture::state() });
        for chosen in [0, 50, 99] {
            screen.selected = Some(chosen);
            let lines = lines(&screen, 80, 24);
            let row = lines.iter().position(|line| line.contains(&format!("  host{chosen:02}:1 "))).unwrap();
            shows(&lines, &[&format!("host{chosen:02}:1"), "is up: a check"]);
            shows(&lines, &["GET /new"]);
            let terminal = terminal(&screen, COLOURS, 80, 24);
            let cell = terminal.backend().buffer().cell((3, row as u16)).unwrap();
            assert!(cell.modifier.contains(Modifier::REVERSED), "the selected one is visible");
        }
        assert_eq!(print(&screen).lines().filter(|line| line.contains(":1 up")).count(), 100);
    }

    #[test]
    fn writes_no_escape_sequence_of_a_hostile_path() {
        let mut answer = json!(fixture::state());
        let evil = "/\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}x";
        answer["recent"][1]["path"] = evil.into();
        answer["busy"][0]["path"] = evil.into();
        answer["backends"][0]["name"] = evil.into();
        answer["why_not"] = evil.into();
        let screen = screen(serde_json::from_value(clean_strings(answer)).unwrap());
        for text in [lines(&screen, 120, 40).concat(), print(&screen).replace('\n', "")] {
            assert!(text.contains("/·[2J·]0;owned"), "{text}");
            assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
    }

    #[test]
    fn draws_a_stale_snapshot_in_grey() {
        let mut screen = full();
        screen.apply(Update::Unreachable("nothing listens on it".into()));
        let terminal = terminal(&screen, COLOURS, 80, 24);
        let cells = terminal.backend().buffer().content();
        assert!(cells[..80 * 23].iter().all(|cell| cell.fg == Color::DarkGray), "all of them");
        let lines = lines(&screen, 80, 24);
        assert!(lines[23].starts_with("0s old: nothing listens on it"), "{}", lines[23]);
        shows(&lines, &["127.0.0.1:8081 up"]);
    }

    #[test]
    fn shows_a_state_as_word_and_colour_or_without_colours() {
        let place = |terminal: &Terminal<TestBackend>, word: &str| {
            let buffer = terminal.backend().buffer();
            let text: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
            let at = text[..text.find(word).unwrap() + word.len() - 1].chars().count();
            buffer.content()[at].fg
        };
        let coloured = terminal(&full(), COLOURS, 80, 24);
        assert_eq!(place(&coloured, "127.0.0.1:8081 up"), Color::Green);
        assert_eq!(place(&coloured, "127.0.0.1:8082 down"), Color::Red);
        let mut away = full();
        away.apply(Update::Unreachable("gone".into()));
        for screen in [full(), away] {
            let plain = terminal(&screen, Theme { colours: false }, 80, 24);
            let all = plain.backend().buffer().content();
            assert!(all.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        }
    }

    #[test]
    fn shows_the_keys_and_the_pause() {
        let mut screen = full();
        (screen.help, screen.paused, screen.message) = (true, true, Some("refused: no".into()));
        let lines = lines(&screen, 80, 24);
        for (key, meaning) in KEYS {
            shows(&lines, &[key, meaning]);
        }
        assert!(lines[23].starts_with(" paused  refused: no"), "{}", lines[23]);
    }

    #[test]
    fn prints_every_part() {
        let text = print(&full());
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        shows(&lines, &["→ 127.0.0.1:8082 down", "a check was refused, 1m"]);
        shows(&lines, &["GET /quick"]);
        assert!(lines.last().unwrap().ends_with("GET /old"), "{text}");
        assert!(!text.contains("leave") && lines.iter().all(|line| line.trim_end() == line), "{text}");
    }
}

//! Where everything stands. Pure: from what is on the screen to the cells of a terminal of any size.

use super::model::{Part, SAMPLES, Sample, State};
use super::screen::{KEYS, Screen};
use super::theme::Theme;
use super::{backends, lists, words};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline, Widget};

/// How wide the facts are when they are printed.
const PRINTED_WIDTH: u16 = 120;

/// So many backends are printed at most: a terminal has no more lines.
const MOST_PRINTED: usize = 10_000;

/// Heights from which there is room for gauges, for sparklines, and for gaps between the parts.
const FOR_GAUGES: u16 = 8;
const FOR_SPARKLINES: u16 = 17;
const FOR_GAPS: u16 = 32;

/// A line for the name of a sparkline, and two for itself.
const SPARKLINES: usize = 3;

/// Bars are whole numbers: microseconds, and a millionth of a request.
const MILLIONTHS: f64 = 1e6;

/// The hint when there is nothing else to say.
const HINT: &str = "q leave  ↑↓ choose  d drain  r resume  p pause  ? keys";

/// Draws all of it: the facts, and a line for what there is to say.
pub fn draw(screen: &Screen, theme: Theme, area: Rect, buf: &mut Buffer) {
    let facts = Rect { height: area.height.saturating_sub(1), ..area };
    draw_facts(screen, theme, facts, buf);
    if screen.away.is_some() {
        buf.set_style(facts, theme.old());
    }
    if screen.help {
        help(theme, facts, buf);
    }
    let last = Rect { y: area.y + facts.height, height: area.height - facts.height, ..area };
    status(screen, theme).render(last, buf);
}

/// The facts as plain lines.
pub fn print(screen: &Screen) -> String {
    let state = &screen.state;
    let rows = state.backends.len().clamp(1, MOST_PRINTED) + state.busy.len() + state.recent.len();
    let height = u16::try_from(rows + usize::from(FOR_GAPS)).unwrap_or(u16::MAX / 2);
    let area = Rect::new(0, 0, PRINTED_WIDTH, height);
    let mut buf = Buffer::empty(area);
    draw_facts(screen, Theme { colours: false }, area, &mut buf);
    let lines = buf.content().chunks(PRINTED_WIDTH.into());
    let lines = lines.map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>());
    let lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n").trim_end().to_owned()
}

fn draw_facts(screen: &Screen, theme: Theme, area: Rect, buf: &mut Buffer) {
    let state = &screen.state;
    let rooms = Rooms::of(screen, area);
    header(state, theme, area.width).render(rooms.header, buf);
    totals(state, theme, area.width).render(rooms.totals, buf);
    gauges(state, theme, area.width).render(rooms.gauges, buf);
    sparklines(screen, theme, rooms.sparklines, buf);
    backends::draw(state, screen.selected, theme, rooms.backends, buf);
    if let Some(chosen) = screen.selected.and_then(|place| state.backends.get(place)) {
        backends::detail(chosen).render(rooms.detail, buf);
    }
    lists::busy(state, theme, rooms.busy, buf);
    lists::recent(state, theme, rooms.recent, buf);
}

/// The places of the parts. Those that there is no room for are empty.
struct Rooms {
    header: Rect,
    totals: Rect,
    gauges: Rect,
    sparklines: Rect,
    backends: Rect,
    detail: Rect,
    busy: Rect,
    recent: Rect,
}

impl Rooms {
    fn of(screen: &Screen, area: Rect) -> Self {
        let mut rest = area;
        let mut take = |height: usize| {
            let height = u16::try_from(height).unwrap_or(u16::MAX).min(rest.height);
            let room = Rect { height, ..rest };
            rest = Rect { y: rest.y + height, height: rest.height - height, ..rest };
            room
        };
        let gap = if area.height >= FOR_GAPS { 1 } else { 0 };
        let mut part = |height: usize, gap: usize| {
            take(gap.min(height));
            take(height)
        };
        let from = |height: u16, wanted: usize| if area.height >= height { wanted } else { 0 };
        let (header, totals) = (part(1, 0), part(1, 0));
        let (gauges, sparklines) =
            (part(from(FOR_GAUGES, 1), 0), part(from(FOR_SPARKLINES, SPARKLINES), gap));
        let above = gauges.bottom().max(sparklines.bottom()).max(totals.bottom()) - area.y;
        let [table, detail, busy, recent] = share(screen, area.width, (area.height - above).into(), gap);
        let (backends, detail) = (part(table, gap), part(detail, 0));
        let (busy, recent) = (part(busy, gap), part(recent, gap));
        Rooms { header, totals, gauges, sparklines, backends, detail, busy, recent }
    }
}

/// Heights of the table, of the line about the chosen backend, and of both lists. The lists have what the table leaves;
/// where there is enough for all of them, that is half at least.
fn share(screen: &Screen, width: u16, height: usize, gap: usize) -> [usize; 4] {
    let state = &screen.state;
    let wants_detail = screen.selected.is_some() && !backends::has_reasons(&state.backends, width);
    let detail = usize::from(wants_detail && height > 4);
    let room = height.saturating_sub(detail + gap);
    let (busy, recent) = (1 + state.busy.len(), 1 + state.recent.len());
    let wanted = if height > 8 { busy + recent + 2 * gap } else { 0 };
    let table = (1 + state.backends.len().max(1)).min(room - wanted.min(room / 2));
    let lists = if wanted > 0 { (room - table).saturating_sub(2 * gap) } else { 0 };
    let busy = busy.min(lists.saturating_sub(recent).max(lists / 2));
    [table, detail, busy, recent.min(lists - busy)]
}

/// As many of these as fit into a line whole: half a number would be another one.
fn whole(pieces: Vec<Vec<Span<'static>>>, width: u16) -> Line<'static> {
    let mut line = Line::default();
    for piece in pieces {
        let piece = Line::from(piece);
        let gap = if line.spans.is_empty() { 0 } else { 2 };
        if !line.spans.is_empty() && line.width() + gap + piece.width() > width.into() {
            continue;
        }
        line.push_span(" ".repeat(gap));
        line.spans.extend(piece.spans);
    }
    line
}

/// Which balancer it is, and whether it serves.
fn header(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let ready = match (state.ready, &state.why_not) {
        (Some(true), _) => Span::styled("ready", theme.good()),
        (Some(false), Some(why)) => Span::styled(format!("not ready: {why}"), theme.bad()),
        (Some(false), None) => Span::styled("not ready", theme.bad()),
        (None, _) => Span::raw(format!("ready: {}", words::UNKNOWN)),
    };
    let version = format!("turnwheel {}", words::text(state.version.as_deref()));
    let mut pieces = vec![
        vec![Span::styled(version, theme.title())],
        vec![ready],
        vec![format!("up {}", words::span(state.uptime)).into()],
        vec![format!("strategy {}", words::text(state.strategy.as_deref())).into()],
        vec![format!("edge {}", words::text(state.edge.as_deref())).into()],
    ];
    if !state.listen.is_empty() {
        pieces.push(vec![format!("on {}", state.listen.join(", ")).into()]);
    }
    whole(pieces, width)
}

/// The last ten seconds of all.
fn totals(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let lately = &state.lately;
    let failing = lately.errors.is_some_and(|errors| errors > 0.0);
    let piece = |name: &'static str, value: String, style: Style| {
        vec![Span::raw(name), Span::raw(" "), Span::styled(value, style.patch(theme.title()))]
    };
    let plain = |name, value| piece(name, value, Style::new());
    let pieces = vec![
        plain("req/s", words::rate(lately.rate)),
        piece("5xx/s", words::rate(lately.errors), if failing { theme.bad() } else { Style::new() }),
        plain("p50", words::time(lately.p50)),
        plain("p99", words::time(lately.p99)),
        plain("connections", words::count(state.connections)),
        plain("requests so far", words::count(state.requests)),
    ];
    whole(pieces, width)
}

/// How full the queue and the pool are.
fn gauges(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let bar = usize::from(width.saturating_sub(40) / 2).clamp(3, 20);
    let gauge = |name: &'static str, part: Part| {
        let filled = words::filled(part);
        let drawn = Span::styled(words::bar(filled, bar), theme.fill(filled));
        vec![Span::raw(format!("{name} ▕")), drawn, Span::raw(format!("▏{}", words::part(part)))]
    };
    whole(vec![gauge("queue", state.queue), gauge("workers", state.workers)], width)
}

/// The rate and the 99th percentile, side by side.
fn sparklines(screen: &Screen, theme: Theme, area: Rect, buf: &mut Buffer) {
    let half = area.width.saturating_sub(2) / 2;
    let left = Rect { width: half, ..area };
    let right = Rect { x: area.right() - half, width: half, ..area };
    let seconds = screen.history.samples();
    let highest = |value: fn(&Sample) -> Option<f64>| seconds.clone().filter_map(value).reduce(f64::max);
    let (rate, p99) = (|one: &Sample| one.requests, |one: &Sample| one.p99);
    let title = format!("req/s, two minutes: at most {}", words::rate(highest(rate)));
    sparkline(title, bars(screen, half, rate), theme, left, buf);
    let title = format!("p99, two minutes: at most {}", words::time(highest(p99)));
    sparkline(title, bars(screen, half, p99), theme, right, buf);
}

fn sparkline(title: String, bars: Vec<Option<u64>>, theme: Theme, area: Rect, buf: &mut Buffer) {
    let block = Block::new().title_top(Line::styled(title, theme.title()));
    Sparkline::default().block(block).data(bars).style(theme.drawn()).render(area, buf);
}

/// A bar for each cell of the width, the newest one on the right. Where there are fewer cells than seconds, a bar is
/// as high as the highest of its seconds; which seconds those are is a matter of their numbers, so that bars move and
/// do not change.
fn bars(screen: &Screen, width: u16, value: fn(&Sample) -> Option<f64>) -> Vec<Option<u64>> {
    let width = u64::from(width);
    let mut bars = vec![None; width as usize];
    let seconds = (SAMPLES as u64).div_ceil(width.max(1));
    let Some(newest) = screen.history.samples().next_back() else { return bars };
    for sample in screen.history.samples() {
        let ago = newest.number / seconds - sample.number / seconds;
        let place = width.checked_sub(ago + 1).and_then(|place| bars.get_mut(place as usize));
        if let (Some(place), Some(value)) = (place, value(sample)) {
            *place = (*place).max(Some((value * MILLIONTHS) as u64));
        }
    }
    bars
}

/// The keys, in the middle.
fn help(theme: Theme, area: Rect, buf: &mut Buffer) {
    let lines = KEYS.iter().map(|(key, meaning)| Line::from(format!(" {key:<4} {meaning} ")));
    let lines: Vec<_> = lines.collect();
    let widest = lines.iter().map(Line::width).max().unwrap_or_default();
    let (width, height) = (u16::try_from(widest + 2).unwrap_or(u16::MAX), KEYS.len() as u16 + 2);
    let place = area.centered(Constraint::Length(width), Constraint::Length(height)).intersection(area);
    Clear.render(place, buf);
    let frame = Block::bordered().title(Line::styled(" keys ", theme.title()));
    Paragraph::new(lines).block(frame).render(place, buf);
}

/// What there is to say: first that nobody answers, then what came of the last key.
fn status(screen: &Screen, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    if screen.paused {
        line.push_span(Span::styled(" paused ", theme.chosen()));
        line.push_span(" ");
    }
    match (&screen.said, &screen.away) {
        (Some(said), _) => line.push_span(Span::styled(said.clone(), theme.title())),
        (None, Some(why)) => {
            let age = words::span(Some(screen.heard.elapsed().as_secs_f64()));
            line.push_span(Span::styled(format!("{age} old: {why}"), theme.bad()));
        }
        (None, None) => line.push_span(HINT),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::asker::News;
    use super::super::model::{History, fixture};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::style::{Color, Modifier};
    use serde_json::{Value, json};

    const COLOURS: Theme = Theme { colours: true };

    fn screen(state: &Value) -> Screen {
        Screen::new(State::read(state), History::default())
    }

    fn full() -> Screen {
        let mut history = History::default();
        history.take(&fixture::history(1..=120));
        Screen::new(State::read(&fixture::full()), history)
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

    /// There is one line that has all of these, in this order.
    #[track_caller]
    fn shows(lines: &[String], words: &[&str]) {
        let in_order = |line: &String| {
            let rest = words.iter().try_fold(&**line, |rest, word| Some(rest.split_once(word)?.1));
            rest.is_some()
        };
        assert!(lines.iter().any(in_order), "{words:?} are not in a line:\n{}", lines.join("\n"));
    }

    #[test]
    fn eighty_by_twenty_four_has_every_part() {
        let lines = lines(&full(), 80, 24);
        let header = ["turnwheel 0.1.0", "ready", "up 1h 02m", "strategy round-robin", "edge parked"];
        shows(&lines, &header);
        shows(&lines, &["req/s 123", "5xx/s 0.5", "p50 1.2ms", "p99 20ms", "connections 12"]);
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
        shows(&lines, &["At work: 3/64 workers"]);
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
    fn forty_by_ten_has_what_counts() {
        let lines = lines(&full(), 40, 10);
        shows(&lines, &["turnwheel 0.1.0", "ready"]);
        shows(&lines, &["req/s 123", "5xx/s 0.5", "p50 1.2ms"]);
        shows(&lines, &["queue", "256/1024", "workers", "3/64"]);
        shows(&lines, &["  127.0.0.1:8081 up", "62  20ms"]);
        shows(&lines, &["→ 127.0.0.1:8082 down"]);
        shows(&lines, &["q leave"]);
    }

    #[test]
    fn more_room_has_the_reasons_in_the_table() {
        let lines = lines(&full(), 160, 50);
        shows(&lines, &["→ 127.0.0.1:8082 down", "45 a check was refused, 1m"]);
        shows(&lines, &["on 127.0.0.1:8080, [::1]:8080"]);
        assert!(!lines.iter().any(|line| line.contains("is up:")), "and not a second time");
    }

    #[test]
    fn any_size_and_any_facts_can_be_drawn() {
        let mut away = full();
        (away.away, away.help, away.paused) = (Some("nobody listens".into()), true, true);
        let hundred: Vec<_> = (0..100).map(|n| fixture::backend(&format!("b{n}:1"), "up")).collect();
        let hundred = screen(&json!({ "backends": hundred }));
        for screen in [full(), away, screen(&json!({})), screen(&json!({ "backends": [{}, 3] })), hundred] {
            for width in [0, 1, 3, 20, 40, 80, 250] {
                for height in [0, 1, 2, 3, 5, 8, 9, 10, 17, 24, 32, 60] {
                    terminal(&screen, COLOURS, width, height);
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let lines = lines(&screen(&json!({ "backends": [{}] })), 80, 24);
        shows(&lines, &["turnwheel -", "ready: -", "up -", "strategy -", "edge -"]);
        shows(&lines, &["req/s -", "5xx/s -", "p50 -", "p99 -", "connections -", "requests so far -"]);
        shows(&lines, &["queue", "-", "workers", "-"]);
        shows(&lines, &["at most -", "at most -"]);
        shows(&lines, &["  -       -  ", "-", "-", "-", "-", "-", "-", "-"]);
        shows(&lines, &["At work: - workers"]);
        assert!(!lines.iter().any(|line| line.contains('→')), "nobody's turn is nobody's turn");
        let lines = self::lines(&screen(&json!({})), 80, 24);
        shows(&lines, &["  there is none"]);
    }

    #[test]
    fn not_ready_says_why() {
        let lines = lines(&screen(&json!({ "ready": false, "why_not": "no backend is usable" })), 80, 24);
        shows(&lines, &["not ready: no backend is usable"]);
    }

    #[test]
    fn a_hundred_backends_scroll_with_the_choice() {
        let backends: Vec<_> = (0..100).map(|n| fixture::backend(&format!("host{n:02}:1"), "up")).collect();
        let mut state = fixture::full();
        state["backends"] = backends.into();
        let mut screen = screen(&state);
        for chosen in [0, 50, 99] {
            screen.selected = Some(chosen);
            let lines = lines(&screen, 80, 24);
            let row = lines.iter().position(|line| line.contains(&format!("  host{chosen:02}:1 "))).unwrap();
            shows(&lines, &[&format!("host{chosen:02}:1"), "is up: a check"]);
            shows(&lines, &["GET /new"]);
            let terminal = terminal(&screen, COLOURS, 80, 24);
            let cell = terminal.backend().buffer().cell((3, row as u16)).unwrap();
            assert!(cell.modifier.contains(Modifier::REVERSED), "the chosen one can be seen");
        }
        assert_eq!(print(&screen).lines().filter(|line| line.contains(":1 up")).count(), 100);
    }

    #[test]
    fn a_hostile_path_sends_no_escapes() {
        let mut state = fixture::full();
        let evil = "/\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}x";
        state["recent"][1]["path"] = evil.into();
        state["busy"][0]["path"] = evil.into();
        state["backends"][0]["name"] = evil.into();
        state["why_not"] = evil.into();
        let screen = screen(&state);
        for text in [lines(&screen, 120, 40).concat(), print(&screen).replace('\n', "")] {
            assert!(text.contains("/·[2J·]0;owned"), "{text}");
            assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
    }

    #[test]
    fn facts_are_grey_while_nobody_answers() {
        let mut screen = full();
        screen.hear(News::Silence("nobody listens on it".into()));
        let terminal = terminal(&screen, COLOURS, 80, 24);
        let cells = terminal.backend().buffer().content();
        assert!(cells[..80 * 23].iter().all(|cell| cell.fg == Color::DarkGray), "all of them");
        let lines = lines(&screen, 80, 24);
        assert!(lines[23].starts_with("0s old: nobody listens on it"), "{}", lines[23]);
        shows(&lines, &["127.0.0.1:8081 up"]);
    }

    #[test]
    fn a_state_is_a_word_and_a_colour_unless_nobody_wants_colours() {
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
        away.hear(News::Silence("gone".into()));
        for screen in [full(), away] {
            let plain = terminal(&screen, Theme { colours: false }, 80, 24);
            let all = plain.backend().buffer().content();
            assert!(all.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        }
    }

    #[test]
    fn keys_are_shown_when_asked_for_and_a_pause_is_said() {
        let mut screen = full();
        (screen.help, screen.paused, screen.said) = (true, true, Some("refused: no".into()));
        let lines = lines(&screen, 80, 24);
        for (key, meaning) in KEYS {
            shows(&lines, &[key, meaning]);
        }
        assert!(lines[23].starts_with(" paused  refused: no"), "{}", lines[23]);
    }

    #[test]
    fn what_is_printed_is_all_there_is() {
        let text = print(&full());
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        shows(&lines, &["→ 127.0.0.1:8082 down", "a check was refused, 1m"]);
        shows(&lines, &["GET /quick"]);
        assert!(lines.last().unwrap().ends_with("GET /old"), "{text}");
        assert!(!text.contains("leave") && lines.iter().all(|line| line.trim_end() == line), "{text}");
    }

    #[test]
    fn bars_stay_what_they_are_while_time_goes_on() {
        let at = |newest: u64| {
            let mut screen = full();
            screen.history = History::default();
            screen.history.take(&fixture::history(1..=newest));
            bars(&screen, 40, |one| one.requests)
        };
        let million = |count: u64| Some(count * 1_000_000);
        assert_eq!(at(119)[39], million(119));
        assert_eq!(at(120)[38..], [million(119), million(120)]);
        assert_eq!(at(122)[38..], [million(119), million(122)], "three seconds a bar");
        assert_eq!(at(123)[37..], [million(119), million(122), million(123)]);
        assert_eq!(bars(&full(), 0, |one| one.requests), []);
    }
}

//! The lines at the top: the balancer's identity, its recent rates, and the load of its queue and its workers.

use super::theme::Theme;
use super::words;
use crate::admin::answers::state::State;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Returns a line with the pieces that fit into a width as a whole, because a cut number would be a wrong number.
fn fitting(pieces: Vec<Vec<Span<'static>>>, width: u16) -> Line<'static> {
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

/// Returns the line with the balancer's identity and whether it is ready.
pub fn header(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let ready = match (state.ready, &state.why_not) {
        (true, _) => Span::styled("ready", theme.good()),
        (false, Some(why)) => Span::styled(format!("not ready: {why}"), theme.bad()),
        (false, None) => Span::styled("not ready", theme.bad()),
    };
    let mut pieces = vec![
        vec![Span::styled(format!("turnwheel {}", state.version), theme.title())],
        vec![ready],
        vec![format!("up {}", words::span(state.uptime_seconds)).into()],
        vec![format!("strategy {}", state.strategy).into()],
        vec![format!("edge {}", state.edge).into()],
    ];
    if !state.listen.is_empty() {
        let addresses: Vec<_> = state.listen.iter().map(ToString::to_string).collect();
        pieces.push(vec![format!("on {}", addresses.join(", ")).into()]);
    }
    fitting(pieces, width)
}

/// Returns the line with rates and times of the last ten seconds, and totals.
pub fn totals(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let recent = &state.lately;
    let piece = |name: &'static str, value: String, style: Style| {
        vec![Span::raw(name), Span::raw(" "), Span::styled(value, style.patch(theme.title()))]
    };
    let plain = |name, value| piece(name, value, Style::new());
    let error_style = if recent.errors > 0.0 { theme.bad() } else { Style::new() };
    let connections = match state.connections {
        Some(count) => plain("connections", words::count(count as u64)),
        None => vec![Span::raw(format!("connections: not counted by the {} edge", state.edge))],
    };
    let pieces = vec![
        plain("req/s", words::rate(Some(recent.rate))),
        piece("5xx/s", words::rate(Some(recent.errors)), error_style),
        plain("p50", words::time(recent.p50_seconds)),
        plain("p99", words::time(recent.p99_seconds)),
        plain(
            "requests so far",
            words::count(state.requests.values().fold(0, |sum, count| count.saturating_add(sum))),
        ),
        connections,
    ];
    fitting(pieces, width)
}

/// Returns the line with gauges of the queue and of the workers.
pub fn gauges(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let bar = usize::from(width.saturating_sub(40) / 2).clamp(3, 20);
    let gauge = |name: &'static str, now: usize, most: usize| {
        let filled = words::filled(now, most);
        let drawn = Span::styled(words::bar(filled, bar), theme.fill(filled));
        vec![Span::raw(format!("{name} ▕")), drawn, Span::raw(format!("▏{}", words::ratio(now, most)))]
    };
    let queue = gauge("queue", state.queue_depth, state.queue_capacity);
    fitting(vec![queue, gauge("workers", state.workers_busy, state.workers)], width)
}

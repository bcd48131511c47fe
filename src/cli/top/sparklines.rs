//! The sparklines of the last two minutes.

use super::snapshot::{SAMPLES, SampleHistory};
use super::theme::Theme;
use super::words;
use crate::admin::answers::history::Sample;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Sparkline, Widget};

/// Bars are whole numbers: microseconds, and millionths of a request.
const MILLIONTHS: f64 = 1e6;

/// A value of a sample, or `None` where it has none.
type SampleValue = fn(&Sample) -> Option<f64>;

/// Draws the rate and the 99th percentile of the time side by side.
pub fn draw(history: &SampleHistory, theme: Theme, area: Rect, buf: &mut Buffer) {
    let half = area.width.saturating_sub(2) / 2;
    let left = Rect { width: half, ..area };
    let right = Rect { x: area.right() - half, width: half, ..area };
    let highest = |value: SampleValue| history.samples().filter_map(value).reduce(f64::max);
    let (rate, p99): (SampleValue, SampleValue) =
        (|sample| Some(sample.requests as f64), |sample| sample.p99_seconds);
    let title = format!("req/s, two minutes: at most {}", words::rate(highest(rate)));
    sparkline(title, bars(history, half, rate), theme, left, buf);
    let title = format!("p99, two minutes: at most {}", words::time(highest(p99)));
    sparkline(title, bars(history, half, p99), theme, right, buf);
}

fn sparkline(title: String, bars: Vec<Option<u64>>, theme: Theme, area: Rect, buf: &mut Buffer) {
    let block = Block::new().title_top(Line::styled(title, theme.title()));
    Sparkline::default().block(block).data(bars).style(theme.drawn()).render(area, buf);
}

/// Returns a bar for each cell of the width, the newest one on the right. With fewer cells than seconds, a bar is the
/// maximum over several seconds. These are grouped by their numbers, so that a bar moves to the left and keeps its
/// height.
fn bars(history: &SampleHistory, width: u16, value: SampleValue) -> Vec<Option<u64>> {
    let width = u64::from(width);
    let mut bars = vec![None; width as usize];
    let seconds = (SAMPLES as u64).div_ceil(width.max(1));
    let Some(newest) = history.samples().next_back() else { return bars };
    for sample in history.samples() {
        let ago = newest.number / seconds - sample.number / seconds;
        let place = width.checked_sub(ago + 1).and_then(|place| bars.get_mut(place as usize));
        if let (Some(place), Some(value)) = (place, value(sample)) {
            *place = (*place).max(Some((value * MILLIONTHS) as u64));
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::fixture;

    #[test]
    fn keeps_the_height_of_a_bar_while_time_goes_on() {
        let bars_at = |newest: u64, width: u16| {
            let mut history = SampleHistory::default();
            history.append(fixture::samples(1..=newest));
            bars(&history, width, |sample| Some(sample.requests as f64))
        };
        let at = |newest: u64| bars_at(newest, 40);
        let million = |count: u64| Some(count * 1_000_000);
        assert_eq!(at(119)[39], million(119));
        assert_eq!(at(120)[38..], [million(119), million(120)]);
        assert_eq!(at(122)[38..], [million(119), million(122)], "three seconds a bar");
        assert_eq!(at(123)[37..], [million(119), million(122), million(123)]);
        assert_eq!(bars_at(120, 0), []);
    }
}

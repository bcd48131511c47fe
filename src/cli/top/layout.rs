//! The layout of the view. Pure.

use super::backends;
use super::screen::Screen;
use ratatui::layout::Rect;

/// Heights from which there is room for gauges, for sparklines, and for gaps between the parts.
const FOR_GAUGES: u16 = 8;
const FOR_SPARKLINES: u16 = 17;
pub const FOR_GAPS: u16 = 32;

/// Height of a sparkline: a title and two lines of bars.
const SPARKLINES: usize = 3;

/// The areas of the parts. A part without room has an empty area.
pub struct Areas {
    pub header: Rect,
    pub totals: Rect,
    pub gauges: Rect,
    pub sparklines: Rect,
    pub backends: Rect,
    pub detail: Rect,
    pub busy: Rect,
    pub recent: Rect,
}

impl Areas {
    /// Divides an area between the parts.
    pub fn of(screen: &Screen, area: Rect) -> Self {
        let mut rest = area;
        let mut take = |height: usize| {
            let height = u16::try_from(height).unwrap_or(u16::MAX).min(rest.height);
            let taken = Rect { height, ..rest };
            rest = Rect { y: rest.y + height, height: rest.height - height, ..rest };
            taken
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
        Areas { header, totals, gauges, sparklines, backends, detail, busy, recent }
    }
}

/// Returns the heights of the table, of the line about the selected backend, and of both lists. The lists get the rows
/// that the table does not need, and at least half of them if there is room for lists at all.
fn share(screen: &Screen, width: u16, height: usize, gap: usize) -> [usize; 4] {
    let state = &screen.snapshot.state;
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

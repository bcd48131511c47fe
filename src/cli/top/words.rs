//! Numbers as a person reads them, short enough for a column. What nobody knows is `-`. Pure.

use super::model::Part;

/// What stands where nothing is known.
pub const UNKNOWN: &str = "-";

/// Eighths of a cell, from nothing to all of it.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// A text that may be missing.
pub fn text(text: Option<&str>) -> &str {
    text.unwrap_or(UNKNOWN)
}

/// A count: `12345`, `1.2M`.
pub fn count(count: Option<u64>) -> String {
    match count {
        None => UNKNOWN.to_owned(),
        Some(count) if count < 1_000_000 => count.to_string(),
        Some(count) => large(count as f64),
    }
}

/// So many a second, without the unit: `0`, `0.5`, `123`, `12.3k`.
pub fn rate(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 9999.5 => format!("{rate:.0}"),
        Some(rate) => large(rate),
    }
}

fn large(number: f64) -> String {
    let units = [(1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")];
    let fits = |(unit, _): &&(f64, &str)| number / unit < 999.95;
    match units.iter().find(fits) {
        Some((unit, name)) => format!("{:.1}{name}", number / unit),
        None => "many".to_owned(),
    }
}

/// How long a request takes, in five characters: `850µs`, `1.2ms`, `20ms`, `1.5s`, `120s`.
pub fn time(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return UNKNOWN.to_owned() };
    match seconds {
        _ if seconds < 999.5e-6 => format!("{:.0}µs", seconds * 1e6),
        _ if seconds < 9.95e-3 => format!("{:.1}ms", seconds * 1e3),
        _ if seconds < 999.5e-3 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1}s"),
        _ if seconds < 999.5 => format!("{seconds:.0}s"),
        _ => span(Some(seconds)),
    }
}

/// How long something has been so: `12s`, `3m`, `1h 02m`, `5d 03h`.
pub fn span(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return UNKNOWN.to_owned() };
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m"),
        () if days == 0 => format!("{hours}h {:02}m", minutes % 60),
        () if days < 10_000 => format!("{days}d {:02}h", hours % 24),
        () => "ages".to_owned(),
    }
}

/// `3/64`; with nothing known of either, `-`.
pub fn part(part: Part) -> String {
    match (part.now, part.most) {
        (None, None) => UNKNOWN.to_owned(),
        (now, most) => format!("{}/{}", count(now), count(most)),
    }
}

/// How much of it is taken, 0 to 1.
pub fn filled(part: Part) -> Option<f64> {
    let (now, most) = (part.now?, part.most?);
    (most > 0).then(|| (now as f64 / most as f64).min(1.0))
}

/// `50%`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.0}%", share.min(1.0) * 100.0))
}

/// A bar that is full at 1, and so many cells wide with the blanks behind it.
pub fn bar(share: Option<f64>, width: usize) -> String {
    let eighths = (share.unwrap_or(0.0).clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let last = EIGHTHS[eighths % 8];
    let drawn = "█".repeat(eighths / 8) + last;
    format!("{drawn:width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_columns() {
        for (number, wanted) in [(0, "0"), (999_999, "999999"), (1_000_000, "1.0M"), (u64::MAX, "many")] {
            assert_eq!(count(Some(number)), wanted);
        }
        for (number, wanted) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (0.5, "0.5"),
            (9.96, "10"),
            (123.4, "123"),
            (9999.6, "10.0k"),
            (999_949.0, "999.9k"),
            (999_950.0, "1.0M"),
            (f64::MAX, "many"),
        ] {
            assert_eq!(rate(Some(number)), wanted);
        }
        for (seconds, wanted) in [
            (0.0, "0µs"),
            (850e-6, "850µs"),
            (999.6e-6, "1.0ms"),
            (0.00125, "1.2ms"),
            (0.00996, "10ms"),
            (0.9996, "1.0s"),
            (9.96, "10s"),
            (120.0, "120s"),
            (1000.0, "16m"),
            (f64::MAX, "ages"),
        ] {
            assert_eq!(time(Some(seconds)), wanted);
        }
        for (seconds, wanted) in [(0.9, "0s"), (61.0, "1m"), (3725.0, "1h 02m"), (442_800.0, "5d 03h")] {
            assert_eq!(span(Some(seconds)), wanted);
        }
        let unknown = [count(None), rate(None), time(None), span(None), percent(None), part(Part::default())];
        assert!(unknown.iter().all(|text| text == UNKNOWN), "{unknown:?}");
    }

    #[test]
    fn bars_and_parts() {
        assert_eq!(bar(Some(0.5), 3), "█▌ ");
        assert_eq!([bar(None, 3), bar(Some(0.0), 3), bar(Some(7.0), 3)], ["   ", "   ", "███"]);
        assert_eq!(part(Part { now: Some(3), most: None }), "3/-");
        assert_eq!(filled(Part { now: Some(3), most: Some(0) }), None);
        assert_eq!(filled(Part { now: Some(1), most: Some(4) }), Some(0.25));
        assert_eq!(percent(Some(0.333)), "33%");
    }
}

//! Numbers as a person reads them, short enough for a column. A value that is not known is `-`. Pure.

/// Text for a value that is not known.
pub const UNKNOWN: &str = "-";

/// Blocks of zero to eight eighths of a cell.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// Returns the text, or `-` for `None`.
pub fn text(text: Option<&str>) -> &str {
    text.unwrap_or(UNKNOWN)
}

/// Formats a count: `12345`, `1.2M`.
pub fn count(count: u64) -> String {
    if count < 1_000_000 { count.to_string() } else { large(count as f64) }
}

/// Formats a rate without its unit: `0`, `0.5`, `123`, `12.3k`.
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

/// Formats the time of a request in five characters: `850µs`, `1.2ms`, `20ms`, `1.5s`, `120s`.
pub fn time(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return UNKNOWN.to_owned() };
    match seconds {
        _ if seconds < 999.5e-6 => format!("{:.0}µs", seconds * 1e6),
        _ if seconds < 9.95e-3 => format!("{:.1}ms", seconds * 1e3),
        _ if seconds < 999.5e-3 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1}s"),
        _ if seconds < 999.5 => format!("{seconds:.0}s"),
        _ => span(seconds),
    }
}

/// Formats a longer time: `12s`, `3m`, `1h 02m`, `5d 03h`.
pub fn span(seconds: f64) -> String {
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

/// Formats a number and its limit: `3/64`.
pub fn ratio(now: usize, most: usize) -> String {
    format!("{}/{}", count(now as u64), count(most as u64))
}

/// Returns the fraction of a limit that is used, 0 to 1, or `None` if the limit is 0.
pub fn filled(now: usize, most: usize) -> Option<f64> {
    (most > 0).then(|| (now as f64 / most as f64).min(1.0))
}

/// Formats a share, 0 to 1, as a percentage: `50%`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.0}%", share.min(1.0) * 100.0))
}

/// Draws a bar that is full at a share of 1, padded with blanks to the width in cells.
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
    fn formats_numbers_to_fit_their_columns() {
        for (number, wanted) in [(0, "0"), (999_999, "999999"), (1_000_000, "1.0M"), (u64::MAX, "many")] {
            assert_eq!(count(number), wanted);
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
            assert_eq!(span(seconds), wanted);
        }
        let unknown = [text(None).to_owned(), rate(None), time(None), percent(None)];
        assert!(unknown.iter().all(|text| text == UNKNOWN), "{unknown:?}");
    }

    #[test]
    fn draws_bars_and_formats_ratios() {
        assert_eq!(bar(Some(0.5), 3), "█▌ ");
        assert_eq!([bar(None, 3), bar(Some(0.0), 3), bar(Some(7.0), 3)], ["   ", "   ", "███"]);
        assert_eq!(ratio(3, 64), "3/64");
        assert_eq!([filled(3, 0), filled(1, 4), filled(5, 4)], [None, Some(0.25), Some(1.0)]);
        assert_eq!(percent(Some(0.333)), "33%");
    }
}

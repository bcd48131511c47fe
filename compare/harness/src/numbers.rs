//! Formats numbers for people: few digits, grouped thousands, a suitable unit.

/// Placeholder for a missing figure.
pub const NONE: &str = "–";

/// Formats with commas between thousands.
pub fn grouped(whole: u64) -> String {
    let digits = whole.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count and a noun: "1 worker", "1,024 connections".
pub fn quantity(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// Formats with three significant digits: 39,300, 27.1, 0.0123. A few rounds support no more.
pub fn rounded(value: f64) -> String {
    significant(value, 3)
}

/// Formats microseconds in a suitable unit.
pub fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 999.5 => format!("{} µs", rounded(us)),
        us if us < 999_500.0 => format!("{} ms", rounded(us / 1e3)),
        us => format!("{} s", rounded(us / 1e6)),
    }
}

/// Formats a range, with a common unit written once. Returns `None` if both ends look the same.
pub fn range(least: f64, most: f64, format: fn(f64) -> String) -> Option<String> {
    let (least, most) = (format(least), format(most));
    let same_unit = match (least.split_once(' '), most.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => Some(number),
        _ => None,
    };
    (least != most).then(|| format!("{}–{most}", same_unit.unwrap_or(&least)))
}

/// Formats a ratio: 0.93, 12.40, 0.0021.
pub fn ratio(value: f64) -> String {
    match value {
        value if value == 0.0 || value >= 1000.0 => grouped(value.round() as u64),
        value if value >= 0.095 => format!("{value:.2}"),
        value => significant(value, 2),
    }
}

/// Formats a bare number for an axis that names its unit.
pub fn tick(value: f64) -> String {
    if value >= 1000.0 { grouped(value.round() as u64) } else { ((value * 1e6).round() / 1e6).to_string() }
}

fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // Rounded first, because 999.7 to three digits is 1,000, which has four before the point.
    let rounded = format!("{value:.*e}", (digits - 1).max(0) as usize);
    let exponent = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    match usize::try_from(digits - 1 - exponent) {
        Ok(decimals) => format!("{value:.decimals$}"),
        Err(_) => {
            let unit = 10f64.powi(exponent + 1 - digits);
            grouped(((value / unit).round() * unit).round() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_three_significant_digits_and_groups_thousands() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (0.999_9, "1.00"),
            (27.12, "27.1"),
            (999.7, "1,000"),
            (39_287.0, "39,300"),
            (1_234_567.0, "1,230,000"),
        ] {
            assert_eq!(rounded(value), text);
        }
        for (whole, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (10_064, "10,064"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(whole), text);
        }
    }

    #[test]
    fn formats_times_in_a_suitable_unit() {
        for (microseconds, text) in [
            (85.0, "85.0 µs"),
            (999.7, "1.00 ms"),
            (1650.0, "1.65 ms"),
            (999_900.0, "1.00 s"),
            (2.5e6, "2.50 s"),
        ] {
            assert_eq!(time(microseconds), text);
        }
    }

    #[test]
    fn writes_the_common_unit_of_a_range_once() {
        for (least, most, text) in [
            (1650.0, 1700.0, Some("1.65–1.70 ms")),
            (900.0, 1700.0, Some("900 µs–1.70 ms")),
            (1650.0, 1650.1, None),
        ] {
            assert_eq!(range(least, most, time).as_deref(), text);
        }
        assert_eq!(range(1.0, 2.0, rounded).as_deref(), Some("1.00–2.00"));
    }

    #[test]
    fn formats_ratios_with_two_digits() {
        for (value, text) in
            [(0.0, "0"), (0.934, "0.93"), (12.4, "12.40"), (0.0213, "0.021"), (10_064.0, "10,064")]
        {
            assert_eq!(ratio(value), text);
        }
    }
}

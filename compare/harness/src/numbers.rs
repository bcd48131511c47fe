//! Numbers as people read them: few digits, thousands apart, a unit that fits.

use crate::prediction::{Figure, Prediction};

/// What stands where there is no figure.
pub const NONE: &str = "–";

/// With a comma between thousands.
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

/// So many of these: "1 worker", "1,024 connections".
pub fn counted(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// With three digits that count: 39,300, 27.1, 0.0123. Three rounds do not carry more.
pub fn three(value: f64) -> String {
    significant(value, 3)
}

/// Microseconds, in the unit that fits.
pub fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 999.5 => format!("{} µs", three(us)),
        us if us < 999_500.0 => format!("{} ms", three(us / 1e3)),
        us => format!("{} s", three(us / 1e6)),
    }
}

/// From one to the other, with the unit once where it is the same. Nothing where both look the same.
pub fn range(least: f64, most: f64, format: fn(f64) -> String) -> Option<String> {
    let (least, most) = (format(least), format(most));
    let same_unit = match (least.split_once(' '), most.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => Some(number),
        _ => None,
    };
    (least != most).then(|| format!("{}–{most}", same_unit.unwrap_or(&least)))
}

/// A ratio: 0.93, 12.40, 0.0021.
pub fn ratio(value: f64) -> String {
    match value {
        value if value == 0.0 || value >= 1000.0 => grouped(value.round() as u64),
        value if value >= 0.095 => format!("{value:.2}"),
        value => significant(value, 2),
    }
}

/// What was measured where this was predicted. Where two digits would put it on the other side of a bound than
/// it is, it has more of them.
pub fn measured(prediction: &Prediction, value: f64) -> String {
    let is_ratio = prediction.over.is_some() || prediction.since.is_some();
    match prediction.figure {
        _ if is_ratio => {}
        Figure::P99 => return time(value),
        Figure::Memory => return format!("{} MiB", three(value)),
        Figure::Goodput => return format!("{} /s", three(value)),
        Figure::Threads => return grouped(value.round() as u64),
        _ => {}
    }
    let tells = |text: &String| {
        text.replace(',', "").parse().is_ok_and(|shown| prediction.holds(shown) == prediction.holds(value))
    };
    [ratio(value), format!("{value:.4}")].into_iter().find(tells).unwrap_or_else(|| value.to_string())
}

/// A bare number for an axis, whose unit stands beside it.
pub fn tick(value: f64) -> String {
    if value >= 1000.0 { grouped(value.round() as u64) } else { ((value * 1e6).round() / 1e6).to_string() }
}

fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // Rounded first, because 999.7 has four digits before the point when it has three in all.
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
    use crate::variant::Variant;

    #[test]
    fn numbers_are_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (0.999_9, "1.00"),
            (27.12, "27.1"),
            (999.7, "1,000"),
            (39_287.0, "39,300"),
            (1_234_567.0, "1,230,000"),
        ] {
            assert_eq!(three(value), text);
        }
        for (whole, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (10_064, "10,064"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(whole), text);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
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
    fn ranges_say_their_unit_once() {
        for (least, most, text) in [
            (1650.0, 1700.0, Some("1.65–1.70 ms")),
            (900.0, 1700.0, Some("900 µs–1.70 ms")),
            (1650.0, 1650.1, None),
        ] {
            assert_eq!(range(least, most, time).as_deref(), text);
        }
        assert_eq!(range(1.0, 2.0, three).as_deref(), Some("1.00–2.00"));
    }

    #[test]
    fn ratios_have_two_digits() {
        for (value, text) in
            [(0.0, "0"), (0.934, "0.93"), (12.4, "12.40"), (0.0213, "0.021"), (10_064.0, "10,064")]
        {
            assert_eq!(ratio(value), text);
        }
    }

    #[test]
    fn what_does_not_hold_does_not_look_as_if_it_did() {
        let prediction =
            Prediction::of("base", Figure::Goodput, Variant::Parked).over(Variant::Async).between(0.5, 1.0);
        for (value, text) in [(0.934, "0.93"), (1.0, "1.00"), (1.004, "1.0040"), (0.4999, "0.4999")] {
            assert_eq!(measured(&prediction, value), text);
        }
    }
}

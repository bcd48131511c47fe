//! Which statuses are right: `200-399`, or `200,204,300-399`. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What a status can be (RFC 9110 §15).
const ALL: RangeInclusive<u16> = 100..=599;

/// A set of statuses, as a person writes it.
///
/// ```
/// use turnwheel::cluster::health::statuses::Statuses;
///
/// let statuses: Statuses = "200,204,300-399".parse().unwrap();
/// assert!(statuses.contains(204) && !statuses.contains(205));
/// assert_eq!(statuses.to_string(), "200,204,300-399");
/// assert!("200-".parse::<Statuses>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

/// Why a text names no statuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no statuses: {reason}; write them as 200-399 or 200,204,300-399")]
pub struct BadStatuses {
    text: String,
    reason: String,
}

impl Default for Statuses {
    /// 200-399.
    fn default() -> Self {
        Statuses(vec![200..=399])
    }
}

impl Statuses {
    /// Is this one of them?
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl FromStr for Statuses {
    type Err = BadStatuses;

    fn from_str(text: &str) -> Result<Self, BadStatuses> {
        let ranges: Result<_, String> = text.split(',').map(range).collect();
        ranges.map(Statuses).map_err(|reason| BadStatuses { text: text.to_owned(), reason })
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    if first > last {
        return Err(format!("{first} is more than {last}"));
    }
    Ok(first..=last)
}

fn status(text: &str) -> Result<u16, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a number is missing".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is no number")); // `parse` would take a sign
    }
    let status = text.parse().ok().filter(|status| ALL.contains(status));
    status.ok_or_else(|| format!("{text} is not between {} and {}", ALL.start(), ALL.end()))
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn statuses_are_what_is_written() {
        for (text, inside, outside) in [
            ("200", vec![200], vec![199, 201]),
            ("200-399", vec![200, 302, 399], vec![199, 400, 0, 1000]),
            ("200,204,300-399", vec![200, 204, 300, 399], vec![201, 299, 400]),
            (" 200 - 299 , 404 ", vec![200, 299, 404], vec![300, 403]),
            ("100-599", vec![100, 599], vec![99, 600]),
        ] {
            let statuses: Statuses = text.parse().unwrap();
            assert!(inside.iter().all(|status| statuses.contains(*status)), "{text}");
            assert!(!outside.iter().any(|status| statuses.contains(*status)), "{text}");
        }
    }

    #[test]
    fn statuses_that_are_refused_say_why() {
        for (text, reason) in [
            ("", "a number is missing"),
            ("200,", "a number is missing"),
            ("200-", "a number is missing"),
            ("-200", "a number is missing"),
            ("ok", "\"ok\" is no number"),
            ("2xx", "\"2xx\" is no number"),
            ("+200", "\"+200\" is no number"),
            ("200-300-400", "\"300-400\" is no number"),
            ("99", "99 is not between 100 and 599"),
            ("200-600", "600 is not between 100 and 599"),
            ("70000", "70000 is not between 100 and 599"),
            ("399-200", "399 is more than 200"),
        ] {
            let error = text.parse::<Statuses>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("write them as"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_can_be_read_again(pairs in vec((100..=599_u16, 100..=599_u16), 1..5)) {
            let ranges = pairs.into_iter().map(|(one, other)| one.min(other)..=one.max(other));
            let statuses = Statuses(ranges.collect());
            prop_assert_eq!(statuses.to_string().parse::<Statuses>(), Ok(statuses));
        }
    }
}

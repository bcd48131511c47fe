//! The statuses that count as a success: `200-399`, or `200,204,300-399`. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The range of statuses (RFC 9110 §15).
const ALL: RangeInclusive<u16> = 100..=599;

/// A set of statuses, as written in the configuration.
///
/// ```
/// use turnwheel::config::Statuses;
///
/// let statuses: Statuses = "200,204,300-399".parse().unwrap();
/// assert!(statuses.contains(204) && !statuses.contains(205));
/// assert_eq!(statuses.to_string(), "200,204,300-399");
/// assert!("200-".parse::<Statuses>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

/// The reason why a text is not a set of statuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a set of statuses: {reason}; write it as 200-399 or 200,204,300-399")]
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
    /// Returns whether this status is in the set.
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
        return Err(format!("{text:?} is not a number")); // `parse` would accept a sign
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
    fn a_set_contains_what_is_written() {
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
    fn a_refused_set_names_the_reason() {
        for (text, reason) in [
            ("", "a number is missing"),
            ("200,", "a number is missing"),
            ("200-", "a number is missing"),
            ("-200", "a number is missing"),
            ("ok", "\"ok\" is not a number"),
            ("2xx", "\"2xx\" is not a number"),
            ("+200", "\"+200\" is not a number"),
            ("200-300-400", "\"300-400\" is not a number"),
            ("99", "99 is not between 100 and 599"),
            ("200-600", "600 is not between 100 and 599"),
            ("70000", "70000 is not between 100 and 599"),
            ("399-200", "399 is more than 200"),
        ] {
            let error = text.parse::<Statuses>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("write it as"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_displayed_set_can_be_parsed(pairs in vec((100..=599_u16, 100..=599_u16), 1..5)) {
            let ranges = pairs.into_iter().map(|(one, other)| one.min(other)..=one.max(other));
            let statuses = Statuses(ranges.collect());
            prop_assert_eq!(statuses.to_string().parse::<Statuses>(), Ok(statuses));
        }
    }
}

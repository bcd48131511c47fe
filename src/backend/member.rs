//! The configuration of one backend.

use super::address::{BackendUrl, BadBackendUrl};
use std::str::FromStr;

/// A configured backend: its URL and its role.
///
/// On the command line the role follows the URL, after commas.
///
/// ```
/// use turnwheel::config::Member;
///
/// let member: Member = "http://127.0.0.1:8081,weight=3,backup".parse().unwrap();
/// assert_eq!((member.weight, member.backup), (3, true));
/// assert_eq!(member, Member { weight: 3, backup: true, ..Member::from(member.url.clone()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its URL. Each address of a host name is a backend of its own.
    pub url: BackendUrl,
    /// Its share of the requests relative to the others', from 1 to [`MOST_WEIGHT`]. Default: 1.
    pub weight: u32,
    /// Whether it is used only while no other is usable. Default: no.
    pub backup: bool,
}

/// The highest weight. A higher one would leave almost no requests for the other backends.
pub const MOST_WEIGHT: u32 = 1000;

/// The reason why a text is not a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// The URL is not valid.
    #[error(transparent)]
    Url(#[from] BadBackendUrl),
    /// A part after the URL is neither a weight nor `backup`.
    #[error("backend {url} is followed by {part:?}; write ,weight=N or ,backup")]
    Part {
        /// The URL, which is valid.
        url: BackendUrl,
        /// The part that is not understood.
        part: String,
    },
    /// The weight is out of range.
    #[error("the weight of backend {url} is {weight}; it must be from 1 to {MOST_WEIGHT}")]
    Weight {
        /// The URL, which is valid.
        url: BackendUrl,
        /// The weight that is out of range.
        weight: u32,
    },
}

impl Member {
    /// Creates a member.
    ///
    /// # Errors
    /// When the weight is out of range.
    pub fn new(url: BackendUrl, weight: u32, backup: bool) -> Result<Self, BadMember> {
        match weight {
            1..=MOST_WEIGHT => Ok(Member { url, weight, backup }),
            _ => Err(BadMember::Weight { url, weight }),
        }
    }
}

impl From<BackendUrl> for Member {
    fn from(url: BackendUrl) -> Self {
        Member { url, weight: 1, backup: false }
    }
}

impl FromStr for Member {
    type Err = BadMember;

    fn from_str(text: &str) -> Result<Self, BadMember> {
        let mut parts = text.split(',');
        let url: BackendUrl = parts.next().unwrap_or_default().parse()?;
        let (mut weight, mut backup) = (1, false);
        for part in parts {
            match part.trim().strip_prefix("weight=").map(str::parse) {
                Some(Ok(number)) => weight = number,
                None if part.trim() == "backup" => backup = true,
                _ => return Err(BadMember::Part { url, part: part.to_owned() }),
            }
        }
        Member::new(url, weight, backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_role_names_the_reason() {
        for (text, reason) in [
            ("http://a:1,weight=0", "from 1 to 1000"),
            ("http://a:1,weight=1001", "from 1 to 1000"),
            ("http://a:1,weight=-1", "followed by \"weight=-1\""),
            ("http://a:1,weight=", "followed by \"weight=\""),
            ("http://a:1,spare", "followed by \"spare\""),
            ("http://a:1,", "followed by \"\""),
            ("a:1,weight=1", "does not begin with http://"),
        ] {
            let error = text.parse::<Member>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

//! Backends as flags and the file name them.

use crate::backend::member::Member;
use serde::{Deserialize, Serialize};

/// One backend as it was written: a URL, or in the file a table with its weight and its part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendSetting {
    /// The URL. A weight and `backup` may follow it, after commas.
    pub url: String,
    /// The weight, or `None` if the table has none.
    pub weight: Option<u32>,
    /// Whether the table makes it a backup: a backend that is used only when no other is usable.
    pub backup: bool,
}

/// What a backend's table in the file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackendTable {
    /// See [`BackendSetting::url`].
    pub url: Option<String>,
    /// See [`BackendSetting::weight`].
    pub weight: Option<u32>,
    /// See [`BackendSetting::backup`].
    pub backup: Option<bool>,
}

impl BackendSetting {
    /// Returns the backend that is meant.
    ///
    /// # Errors
    /// When the URL or the weight is wrong, with one sentence.
    pub fn member(&self) -> Result<Member, String> {
        let member: Member = self.url.parse().map_err(|error| format!("{error}"))?;
        match (self.weight, self.backup) {
            (None, false) => Ok(member),
            (weight, backup) => {
                Member::new(member.url, weight.unwrap_or(member.weight), backup || member.backup)
                    .map_err(|error| error.to_string())
            }
        }
    }
}

impl From<&str> for BackendSetting {
    fn from(url: &str) -> Self {
        BackendSetting { url: url.to_owned(), weight: None, backup: false }
    }
}

impl BackendTable {
    /// Returns these values where they are set, and the other table's elsewhere.
    pub fn or(self, other: BackendTable) -> Self {
        BackendTable {
            url: self.url.or(other.url),
            weight: self.weight.or(other.weight),
            backup: self.backup.or(other.backup),
        }
    }
}

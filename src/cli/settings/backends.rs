//! Backends in the file: a URL, or a table with its part.

use crate::backend::Member;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One backend as it was written: what a flag has in one text stands in a table's keys in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// The URL; from a flag, with what follows it.
    pub url: String,
    /// Nothing if it was not written down.
    pub weight: Option<u32>,
    /// Only of use when no other is usable.
    pub backup: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    weight: Option<u32>,
    #[serde(default)]
    backup: bool,
}

impl Backend {
    /// What it says, if it says it well.
    ///
    /// # Errors
    /// With one sentence.
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

impl From<&str> for Backend {
    fn from(url: &str) -> Self {
        Backend { url: url.to_owned(), weight: None, backup: false }
    }
}

/// Written out by hand because serde's own way of trying one form after the other forgets what was wrong.
impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Backend;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with url, weight and backup")
            }

            fn visit_str<E: Error>(self, url: &str) -> Result<Backend, E> {
                Ok(Backend::from(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backend, A::Error> {
                let Table { url, weight, backup } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Backend { url, weight, backup })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One backend, or a list of them.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Backend>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<Backend>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a backend or a list of backends")
        }

        fn visit_str<E: Error>(self, url: &str) -> Result<Vec<Backend>, E> {
            Ok(vec![Backend::from(url)])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Backend>, A::Error> {
            Backend::deserialize(MapAccessDeserializer::new(map)).map(|backend| vec![backend])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Backend>, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

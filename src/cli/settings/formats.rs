//! Forms of values: how a flag and a key write an address, a time or a size.

use bytesize::ByteSize;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Reads a time.
///
/// # Errors
/// When the text is no time, with how to write one.
pub fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time as 250ms or 30s".to_owned())
}

/// Reads a size.
///
/// # Errors
/// When the text is no size, with how to write one.
pub fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write a size as 16KiB or 1GiB".to_owned())
}

/// A text, or a number that stands for one: `9000` for `"9000"`.
struct TextOrNumber(&'static str);

impl Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

fn address_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextOrNumber("an address as \"127.0.0.1:8080\", or a port"))
}

/// Reads one address of a list. The reader of the file takes lists apart.
pub fn one_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    address_text(deserializer).map(|text| vec![text])
}

/// Reads an address that need not be set.
pub fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    address_text(deserializer).map(Some)
}

/// Reads one text of a list. The reader of the file takes lists apart.
pub fn one_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    String::deserialize(deserializer).map(|text| vec![text])
}

/// Reads a time that need not be set.
pub fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let advice = |advice| D::Error::custom(format!("{text:?} is not a time; {advice}"));
    time(&text).map(Some).map_err(advice)
}

/// Reads a size that need not be set. A number is one of bytes.
pub fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let text = deserializer.deserialize_any(TextOrNumber("a size as \"16KiB\", or a number of bytes"))?;
    let advice = |advice| D::Error::custom(format!("{text:?} is not a size; {advice}"));
    size(&text).map(Some).map_err(advice)
}

/// Writes a size to the byte. Its usual form is rounded, and two that differ could look alike.
pub fn bytes<S: Serializer>(size: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
    size.map(|size| size.0).serialize(serializer)
}

//! The fields of a request's body: a JSON object, or nothing.

use super::reply::AdminReply;
use crate::error::Refusal;
use http::StatusCode;
use serde_json::{Map, Value};
use std::io::Read;
use std::ops::RangeInclusive;

/// The fields that have not been taken yet.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body to its end. An empty body has no fields.
    ///
    /// # Errors
    /// The reply to the client, when the body is not a JSON object.
    pub fn read(body: &mut dyn Read) -> Result<Self, AdminReply> {
        let mut bytes = Vec::new();
        if let Err(error) = body.read_to_end(&mut bytes) {
            let refusal = Refusal::of_upload(&error);
            return Err(AdminReply::error(refusal.status(), refusal.to_string()));
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(_) => Err(bad("the body must be a JSON object".into())),
            Err(error) => Err(bad(format!("the body cannot be read as JSON: {error}"))),
        }
    }

    /// Takes a string; `None` if the field is missing.
    ///
    /// # Errors
    /// When it is no string.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, AdminReply> {
        self.take(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a whole number; `None` if the field is missing.
    ///
    /// # Errors
    /// When it is no whole number.
    pub fn number(&mut self, name: &str) -> Result<Option<u32>, AdminReply> {
        self.take(name, "a whole number", |value| u32::try_from(value.as_u64()?).ok())
    }

    /// Takes a whole number within a range; `None` if the field is missing.
    ///
    /// # Errors
    /// When it is no whole number (400), or out of range (422).
    pub fn number_within(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, AdminReply> {
        let whole = |value: &Value| (value.is_u64() || value.is_i64()).then(|| value.clone());
        let Some(value) = self.take(name, "a whole number", whole)? else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let outside = || {
            let (least, most) = (range.start(), range.end());
            let sentence = format!("{name:?} is {value}; it must be from {least} to {most}");
            AdminReply::error(StatusCode::UNPROCESSABLE_ENTITY, sentence)
        };
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(outside)
    }

    /// Takes `true` or `false`; `None` if the field is missing.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, AdminReply> {
        self.take(name, "true or false", Value::as_bool)
    }

    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, AdminReply> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| bad(format!("{name:?} must be {kind}")))
    }

    /// Checks that every field has been taken, so that a misspelled field is not mistaken for one that is left out.
    ///
    /// # Errors
    /// When a field has not been taken: the reply names every such field.
    pub fn reject_unknown(&self) -> Result<(), AdminReply> {
        let names: Vec<_> = self.0.keys().map(|name| format!("{name:?}")).collect();
        match names.len() {
            0 => Ok(()),
            1 => Err(bad(format!("{} is not a field of this request", names[0]))),
            _ => Err(bad(format!("{} are not fields of this request", names.join(", ")))),
        }
    }

    /// Returns the reply to a body without a required field.
    pub fn missing(name: &str, example: &str) -> AdminReply {
        bad(format!("{name:?} is missing; write {example}"))
    }
}

fn bad(sentence: String) -> AdminReply {
    AdminReply::error(StatusCode::BAD_REQUEST, sentence)
}

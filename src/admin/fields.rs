//! The fields of a request's body: a small JSON object, or nothing.

use super::reply::Reply;
use crate::error::Refusal;
use http::StatusCode;
use serde_json::{Map, Value};
use std::io::Read;
use std::ops::RangeInclusive;

/// Fields that nobody has asked for yet.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body to its end. An empty one has no fields.
    ///
    /// # Errors
    /// With the answer that the client gets.
    pub fn read(body: &mut dyn Read) -> Result<Self, Reply> {
        let mut bytes = Vec::new();
        if let Err(error) = body.read_to_end(&mut bytes) {
            let refusal = Refusal::of_upload(&error);
            return Err(Reply::error(refusal.status(), refusal.to_string()));
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

    /// A text, if the field is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Reply> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number, if the field is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(&mut self, name: &str) -> Result<Option<u32>, Reply> {
        self.take(name, "a whole number", |value| u32::try_from(value.as_u64()?).ok())
    }

    /// A whole number of this range, if the field is there.
    ///
    /// # Errors
    /// When it is something else; with 422 when it is another number.
    pub fn number_within(&mut self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Reply> {
        let whole = |value: &Value| (value.is_u64() || value.is_i64()).then(|| value.clone());
        let Some(value) = self.take(name, "a whole number", whole)? else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let outside = || {
            let (least, most) = (range.start(), range.end());
            let sentence = format!("{name:?} is {value}; it must be from {least} to {most}");
            Reply::error(StatusCode::UNPROCESSABLE_ENTITY, sentence)
        };
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(outside)
    }

    /// Yes or no, if the field is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Reply> {
        self.take(name, "true or false", Value::as_bool)
    }

    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Reply> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| bad(format!("{name:?} must be {kind}")))
    }

    /// Has every field been asked for? One that is misspelled must not be taken for one that is left out.
    ///
    /// # Errors
    /// With the names of those that have not.
    pub fn are_all_known(&self) -> Result<(), Reply> {
        let names: Vec<_> = self.0.keys().map(|name| format!("{name:?}")).collect();
        match names.len() {
            0 => Ok(()),
            1 => Err(bad(format!("{} means nothing here", names[0]))),
            _ => Err(bad(format!("{} mean nothing here", names.join(", ")))),
        }
    }

    /// The answer where a field should be there.
    pub fn missing(name: &str, example: &str) -> Reply {
        bad(format!("{name:?} is missing; write {example}"))
    }
}

fn bad(sentence: String) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, sentence)
}

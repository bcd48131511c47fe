//! Settings by their keys.

use super::values::Settings;
use serde_json::{Map, Value};

/// Returns every setting under its key.
pub(super) fn named(settings: &Settings) -> Map<String, Value> {
    // Strings, numbers, and lists and tables of them: JSON can hold all of it.
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Returns whether the setting with this key has been set.
pub(super) fn is_set(settings: &Map<String, Value>, key: &str) -> bool {
    let value = settings.get(key).unwrap_or(&Value::Null);
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

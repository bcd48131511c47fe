//! Holds the answers against docs/admin-api.md: each field is described there, and each field described there exists.

#![cfg(test)]

use super::fixture;
use super::state::{BackendState, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin-api.md"));

/// Returns the text from a mark to the next one, both left out.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let begin = text.find(from).unwrap_or_else(|| panic!("{from:?} is not in the document")) + from.len();
    let length = text[begin..].find(to).unwrap_or(text.len() - begin);
    &text[begin..begin + length]
}

/// Returns the field names in a text that stand between two such marks.
fn quoted(text: &str, mark: char) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        !word.is_empty()
            && *word != "null"
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split(mark).skip(1).step_by(2).filter(is_name).map(str::to_owned).collect()
}

/// A row of a table: the fields that it describes, and their meaning.
type Row = (BTreeSet<String>, &'static str);

/// Returns the tables of a text, without their headings.
fn tables(text: &'static str) -> Vec<Vec<Row>> {
    let row = |line: &'static str| {
        let (fields, meaning) = line.strip_prefix('|')?.split_once('|')?;
        Some((quoted(fields, '`'), meaning))
    };
    let lines: Vec<_> = text.lines().map(row).collect();
    let tables = lines.split(Option::is_none).filter(|table| table.len() > 2);
    tables.map(|table| table.iter().skip(2).flatten().cloned().collect()).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    object.keys().cloned().collect()
}

/// Asserts that a table has these keys and no other, each once.
#[track_caller]
fn describes(table: &[Row], value: &Value) {
    let fields: Vec<_> = table.iter().flat_map(|(fields, _)| fields.iter().cloned()).collect();
    assert_eq!(fields.iter().cloned().collect::<BTreeSet<_>>(), keys(value));
    assert_eq!(fields.len(), keys(value).len(), "a field is described once: {fields:?}");
}

/// Returns the meaning of a field according to a table.
fn meaning(table: &[Row], field: &str) -> &'static str {
    table.iter().find(|(fields, _)| fields.contains(field)).map(|(_, meaning)| *meaning).unwrap()
}

/// Returns the text of a section, without its subsections.
fn section(heading: &str) -> &'static str {
    between(DOCUMENT, heading, "\n##")
}

/// Returns the first table of a section.
fn table(heading: &str) -> Vec<Row> {
    tables(section(heading)).into_iter().next().unwrap_or_else(|| panic!("{heading} has no table"))
}

/// Asserts that a section shows an object with these keys and no other, and that its table has no other either.
#[track_caller]
fn shows(heading: &str, value: &Value) {
    assert_eq!(quoted(between(section(heading), "`{", "}`"), '"'), keys(value), "{heading}");
    let fields: BTreeSet<_> = table(heading).into_iter().flat_map(|(fields, _)| fields).collect();
    assert!(fields.is_subset(&keys(value)), "{heading} describes {fields:?}");
}

#[test]
fn the_document_describes_each_field_of_the_state_and_no_other() {
    let (rows, state) = (table("\n## `GET /api/state`"), json!(fixture::state()));
    describes(&rows, &state);
    assert_eq!(quoted(meaning(&rows, "requests"), '`'), keys(&state["requests"]));
    shows("\n### Busy workers", &state["busy"][0]);
    shows("\n### Recent requests", &state["recent"][0]);
    describes(&table("\n### The last ten seconds"), &state["lately"]);
}

#[test]
fn the_document_describes_each_field_of_a_backend_and_no_other() {
    let backend = fixture::backend("127.0.0.1:8081", "up");
    let (rows, mut value) = (table("\n## `GET /api/backends`"), json!(backend));
    describes(&rows, &value);
    assert_eq!(quoted(meaning(&rows, "lately"), '`'), keys(&value["lately"]));
    let listed = BackendState { lately: None, ..backend };
    value.as_object_mut().unwrap().remove("lately");
    assert_eq!(json!(listed), value, "GET /api/backends has all but lately");
}

#[test]
fn the_document_describes_each_field_of_the_history() {
    let section = between(DOCUMENT, "\n## `GET /api/history`", "\n## ");
    let value = json!(fixture::samples(1..=1));
    let objects: Vec<_> = section.split("`{").skip(1).collect();
    assert_eq!(quoted(between(objects[0], "", "}`"), '"'), keys(&value));
    let (sample, _) = objects[1].split_once(": {").expect("a sample has counts by backend");
    assert_eq!(quoted(sample, '"'), keys(&value["samples"][0]));
}

#[test]
fn the_document_shows_the_demo_with_each_field() {
    let section = between(DOCUMENT, "\n## `/api/demo`", "\n## ");
    let block: String = section.lines().filter(|line| line.starts_with("    ")).collect();
    assert_eq!(serde_json::from_str::<Value>(&block).unwrap(), json!(fixture::demo()));
}

#[test]
fn reading_ignores_fields_that_are_added_later() {
    let mut value = json!(fixture::state());
    value["added"] = json!({ "later": 1 });
    value["backends"][0]["added"] = json!(1);
    value["backends"][0]["lately"]["added"] = json!(1);
    value["recent"][0]["added"] = json!([1]);
    assert_eq!(serde_json::from_value::<State>(value).unwrap(), fixture::state());
}

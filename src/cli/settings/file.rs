//! Reads the file key by key, so that one mistake does not hide another one.

use super::backends::{BackendSetting, BackendTable};
use super::mistakes::{Cause, Mistake, Mistakes};
use super::reading::Reading;
use super::values::Settings;
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer};

/// Keys that take one value or a list of them.
const LISTS: [&str; 3] = ["listen", "backend", "trusted_proxies"];

type Key<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Reads a file. Keys and values that cannot be understood are among the mistakes, each with its line.
///
/// # Errors
/// When the file cannot be read, or is not TOML: then nothing is known of its settings.
pub fn read(path: &Path) -> Result<Reading, Mistakes> {
    let failed = |text| Mistakes(vec![Mistake { about: String::new(), text, cause: Cause::File }]);
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a file of this name.
pub fn parse(name: &str, text: &str) -> Result<Reading, Mistakes> {
    let mut reader = Reader { name, text, mistakes: Vec::new() };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            reader.refuse("", &error, 0);
            return Err(reader.mistakes());
        }
    };
    let settings = reader.settings(table);
    Ok(Reading { settings, mistakes: reader.mistakes() })
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    /// Where each one is in the text, what it is about, and its message.
    mistakes: Vec<(usize, String, String)>,
}

impl<'a> Reader<'a> {
    fn settings(&mut self, table: DeTable<'a>) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let is_list = value.get_ref().is_array();
            for value in values(&name, value) {
                if name == "backend" {
                    settings.backend.extend(self.backend(value, is_list));
                } else if let Some(mut one) = self.one::<Settings>(&name, key.clone(), value) {
                    settings.listen.append(&mut one.listen);
                    settings.trusted_proxies.append(&mut one.trusted_proxies);
                    settings = settings.or(one);
                }
            }
        }
        settings
    }

    /// Reads a struct from a table with this key alone.
    fn one<T: DeserializeOwned>(&mut self, setting: &str, key: Key<'a>, value: Value<'a>) -> Option<T> {
        let span = key.span();
        let mut table = DeTable::new();
        table.insert(key, value);
        let read = T::deserialize(Deserializer::from(Spanned::new(span.clone(), table)));
        read.map_err(|error| self.refuse(setting, &error, span.start)).ok()
    }

    fn backend(&mut self, value: Value<'a>, is_in_list: bool) -> Option<BackendSetting> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::String(url) => Some(BackendSetting::from(&*url)),
            DeValue::Table(table) => self.backend_table(table, at),
            other => {
                let expected = match is_in_list {
                    true => "a URL, or a table with url, weight and backup",
                    false => "a backend or a list of backends",
                };
                let text = format!("invalid type: {}, expected {expected}", other.type_str());
                self.add("backend", &text, at);
                None
            }
        }
    }

    fn backend_table(&mut self, table: DeTable<'a>, at: usize) -> Option<BackendSetting> {
        let before = self.mistakes.len();
        let has_url = table.contains_key("url");
        let mut read = BackendTable::default();
        for (key, value) in table {
            if let Some(one) = self.one::<BackendTable>("backend", key, value) {
                read = read.or(one);
            }
        }
        if !has_url {
            self.add("backend", "missing field `url`", at);
        }
        let backup = read.backup.unwrap_or(false);
        let setting = read.url.map(|url| BackendSetting { url, weight: read.weight, backup });
        setting.filter(|_| self.mistakes.len() == before)
    }

    /// Adds what toml says, at the place that it names or else at this one.
    fn refuse(&mut self, setting: &str, error: &toml::de::Error, at: usize) {
        let at = error.span().map_or(at, |span| span.start);
        self.add(setting, &in_plain_words(error.message()), at);
    }

    fn add(&mut self, setting: &str, message: &str, at: usize) {
        self.mistakes.push((at.min(self.text.len()), setting.to_owned(), message.to_owned()));
    }

    /// Returns the mistakes in the order of the file, each with its line. One pass over the text counts the lines, so
    /// that a long file with many mistakes does not take long.
    fn mistakes(mut self) -> Mistakes {
        self.mistakes.sort_by_key(|(at, ..)| *at);
        let (text, name) = (self.text.as_bytes(), self.name);
        let (mut line, mut counted) = (1, 0);
        let described = self.mistakes.into_iter().map(|(at, about, message)| {
            line += text[counted..at].iter().filter(|byte| **byte == b'\n').count();
            counted = at;
            let text = format!("{name}, line {line}: {}", printable(&message));
            Mistake { about, text, cause: Cause::File }
        });
        Mistakes(described.collect())
    }
}

/// Returns a message with escapes in place of control characters, which could steer a terminal.
fn printable(message: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    message.chars().map(escaped).collect()
}

/// Takes a list apart, where the key may have one.
fn values<'a>(name: &str, value: Value<'a>) -> Vec<Value<'a>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(list) if LISTS.contains(&name) => list.into_iter().collect(),
        one => vec![Spanned::new(span, one)],
    }
}

/// Words a message for a reader who does not know Rust's types, on one line.
fn in_plain_words(message: &str) -> String {
    let message = message.replace('\n', " ");
    if let Some((unknown, _)) = message.split_once(", expected one of `listen`") {
        return format!("{unknown}; turnwheel serve --help lists all settings");
    }
    for number in ["usize", "u32", "u64"] {
        if let Some(start) = message.strip_suffix(&format!("expected {number}")) {
            return format!("{start}expected a whole number that is not negative");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::config::{Config, LISTEN};
    use std::time::Duration;

    fn file(text: &str) -> Result<Config, Mistakes> {
        Ok(parse("t.toml", text)?.validate(None)?.into_inner())
    }

    fn problems(text: &str) -> String {
        file(text).err().map(|mistakes| mistakes.texts().join("\n")).unwrap_or_default()
    }

    #[test]
    fn control_characters_of_a_key_are_escaped() {
        assert!(
            problems("\"a\\u001b[31mb\" = 1").contains("`a\\u{1b}[31mb`"),
            "{}",
            problems("\"a\\u001b[31mb\" = 1")
        );
    }

    #[test]
    fn many_mistakes_in_a_long_file_have_their_lines() {
        let text: String = (0..50_000).map(|number| format!("k{number} = 1\n")).collect();
        let mistakes = parse("t.toml", &text).map(|reading| reading.mistakes).unwrap_or_else(|all| all);
        let last = mistakes.0.last().map(|mistake| mistake.text.clone()).unwrap_or_default();
        assert_eq!(mistakes.0.len(), 50_000);
        assert!(last.starts_with("t.toml, line 50000: unknown field"), "{last}");
    }

    #[test]
    fn a_file_sets_what_it_names_and_nothing_else() {
        let config = file(
            "backend = ['http://a:1', 'http://b:2']\nworkers = 3\nqueue_timeout = '250ms'\nmax_body = '2KiB'",
        )
        .unwrap();
        assert_eq!(config.upstream.backends.len(), 2);
        assert_eq!(config.workers, 3);
        assert_eq!(config.queue.timeout, Duration::from_millis(250));
        assert_eq!(config.edge.limits.body, 2048);
        assert_eq!(config.queue.capacity, 1024);
        assert_eq!(config.listen, [LISTEN]);
    }

    #[test]
    fn every_reason_is_given_at_once() {
        let all = problems(
            "backend = ['http://a:1', 'http://a:1', 'https://b:2']\nworkers = 0\nlisten = 'here'\nconnect_timeout = '0s'",
        );
        for part in ["named twice", "TLS", "workers is 0", "\"here\"", "connect_timeout is 0s"] {
            assert!(all.contains(part), "{part} is missing in: {all}");
        }
        assert_eq!(all.lines().count(), 5);
    }

    #[test]
    fn refuses_values_that_would_overflow_or_exhaust() {
        for (setting, part) in [
            ("grace = '18446744073709551615s'", "at most 24h"),
            ("idle_timeout = '1ms'", "at least 10ms"),
            ("max_head = '1TiB'", "at most 1.0 MiB"),
            ("max_headers = 100000", "at most 10000"),
            ("trusted_proxies = '10.0.0.0/99'", "is not a network"),
        ] {
            let all = problems(&format!("backend = 'http://a:1'\n{setting}"));
            assert!(all.contains(part), "{setting}: {all}");
        }
        let config =
            file("backend = 'http://a:1'\ntrusted_proxies = ['::1', '10.0.0.0/8']\ngrace = '0s'").unwrap();
        assert_eq!(config.upstream.trusted_proxies.len(), 2);
    }

    #[test]
    fn refuses_limits_that_tiny_http_cannot_keep() {
        for setting in [
            "client_head_timeout = '5s'",
            "min_body_rate = '1KiB'",
            "max_connections = 100",
            "max_connections_per_client = 10",
            "max_requests_per_connection = 1000",
        ] {
            let of = |edge| problems(&format!("backend = 'http://a:1'\nedge = '{edge}'\n{setting}"));
            let all = of("tiny-http");
            assert!(all.contains("the tiny-http edge cannot enforce"), "{setting}: {all}");
            assert_eq!(of("parked"), "", "{setting}");
        }
    }

    #[test]
    fn every_mistake_of_form_is_given_with_its_line() {
        let all = problems(
            "worker = 3\nworkers = 'many'\nlisten = [true,\n  'here', 9000]\nstrategy = 'best'\n\
             max_body = 'much'\ngrace = '5 bananas'\n[[backend]]\nurl = 'http://a:1'\nwieght = 2\n\
             weight = 'two'\n[[backend]]\nbackup = 3\n",
        );
        let lines: Vec<_> = all.lines().collect();
        for (at, part) in [
            "t.toml, line 1: unknown field `worker`; turnwheel serve --help lists all settings",
            "t.toml, line 2: invalid type: string \"many\", expected a whole number that is not negative",
            "t.toml, line 3: invalid type: boolean `true`, expected an address as \"127.0.0.1:8080\", or a port",
            "t.toml, line 5: unknown variant `best`, expected one of",
            "t.toml, line 6: \"much\" is not a size; write a size as 16KiB or 1GiB",
            "t.toml, line 7: \"5 bananas\" is not a time; write a time as 250ms or 30s",
            "t.toml, line 10: unknown field `wieght`",
            "t.toml, line 11: invalid type: string \"two\"",
            "t.toml, line 12: missing field `url`",
            "t.toml, line 13: invalid type: integer `3`",
            "\"here\" is not an address to listen on",
        ]
        .iter()
        .enumerate()
        {
            assert!(lines.get(at).is_some_and(|line| line.starts_with(part)), "{part}:\n{all}");
        }
        assert_eq!(lines.len(), 11, "{all}");
    }

    #[test]
    fn mistakes_of_form_and_of_meaning_are_given_together_and_once() {
        let all = problems("backend = 3\nstrategy = 'best'\nslow_start = '1s'\nworkers = 0\n");
        let lines: Vec<_> = all.lines().collect();
        assert_eq!(lines.len(), 3, "{all}");
        for (line, part) in lines.into_iter().zip(["line 1: ", "line 2: ", "workers is 0"]) {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_list_holds_single_values() {
        for text in ["listen = [['127.0.0.1:1']]", "workers = [1]", "trusted_proxies = [1]", "backend = [[]]"]
        {
            assert!(problems(text).contains("line 1: invalid type"), "{text}: {}", problems(text));
        }
    }

    #[test]
    fn a_mistake_of_form_names_its_line() {
        for (text, part) in [
            ("backend = 'http://a:1'\nworker = 3", "line 2: unknown field `worker`"),
            ("backend = 'http://a:1'\n\nworkers = 'many'", "line 3: invalid type"),
            ("grace = '5 bananas'", "line 1:"),
            ("= 3", "line 1:"),
        ] {
            assert!(problems(text).contains(part), "{text}: {}", problems(text));
        }
        assert!(problems("").contains("no backend is named"));
    }

    const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/turnwheel.toml"));

    #[test]
    fn the_example_is_valid_as_it_is() {
        let config = file(EXAMPLE).unwrap();
        let parts: Vec<_> = config.upstream.backends.iter().map(|one| (one.weight, one.backup)).collect();
        assert_eq!(parts, [(1, false), (3, false), (1, true)]);
    }

    #[test]
    fn the_example_names_every_setting_with_a_value_that_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
        let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let all_set: Vec<String> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
            .map(|line| match line.split_once("_file = ") {
                Some((name, _)) => format!("{name}_file = '{}'", secret.display()),
                None => line.to_owned(),
            })
            .collect();
        let reading = parse("t.toml", &all_set.join("\n")).unwrap();
        let named = serde_json::to_value(&reading.settings).unwrap();
        for (name, value) in named.as_object().unwrap() {
            assert!(!value.is_null() && *value != serde_json::json!([]), "{name} is not in the example");
        }
        assert_eq!(reading.validate(None).err(), None);
    }
}

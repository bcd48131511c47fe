//! `docs/configuration.md` against the program: flags, keys, values, defaults, and what a reload can change.

use crate::admin_client::AdminClient;
use crate::bed::{Balancer, program};
use crate::config_file::ConfigFile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../examples/turnwheel.toml");

const BACKEND: &str = "backend = 'http://127.0.0.1:1'\n";
const SECRET: &str = "0123456789abcdef";

/// One row of the page's tables of settings.
struct Setting {
    section: &'static str,
    /// With its dashes.
    flag: &'static str,
    /// `None` for a setting that is a flag only.
    key: Option<&'static str>,
    value: &'static str,
    default: &'static str,
    reloads: bool,
}

impl Setting {
    fn is_file(&self) -> bool {
        self.value.starts_with("path of a file")
    }

    /// Returns every value that the page shows for the key, the default first.
    fn values(&self) -> Vec<&'static str> {
        quoted(self.default).into_iter().chain(quoted(self.value)).collect()
    }

    /// Returns the line of a configuration file that sets the key to this value, or to the file with a secret.
    fn line(&self, key: &str, value: &str, secret: &Path) -> String {
        if self.is_file() {
            format!("{key} = '{}'\n", secret.display())
        } else if self.value.starts_with("number") || self.value.starts_with("percent") {
            format!("{key} = {value}\n")
        } else {
            format!("{key} = '{value}'\n")
        }
    }
}

/// Returns the texts between backticks.
fn quoted(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn settings() -> Vec<Setting> {
    let (mut section, mut all) = ("", Vec::new());
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        } else if line.starts_with("| `--") {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, flag, key, value, default, reload, _, _] = cells[..] else {
                panic!("six cells were expected: {line}")
            };
            all.push(Setting {
                section,
                flag: quoted(flag)[0],
                key: quoted(key).first().copied(),
                value,
                default,
                reloads: reload == "yes",
            });
            assert!(key == "flag only" || all.last().unwrap().key.is_some(), "no key: {line}");
            assert!(["yes", "no"].contains(&reload), "yes or no was expected: {line}");
        }
    }
    assert!(all.len() > 40, "only {} settings were found", all.len());
    all
}

/// Returns the settings that have a key, each with its key.
fn keys(settings: &[Setting]) -> impl Iterator<Item = (&'static str, &Setting)> {
    settings.iter().filter_map(|setting| Some((setting.key?, setting)))
}

/// The part of a `--help` text about one flag.
#[derive(Default)]
struct Help {
    group: String,
    lines: Vec<String>,
}

impl Help {
    /// Returns the words of `[default: ...]`; empty if the flag has no default.
    fn default(&self) -> Vec<String> {
        let text = self.lines.join(" ");
        let Some((_, rest)) = text.split_once("[default: ") else { return Vec::new() };
        let words = rest.split_once(']').unwrap().0.split([' ', ';', ',']);
        words.map(|word| word.trim_matches(':').to_owned()).filter(|word| !word.is_empty()).collect()
    }

    fn choices(&self) -> BTreeSet<&str> {
        let text = self.lines.iter().find_map(|line| line.split_once("[possible values: "));
        let listed = text.iter().flat_map(|(_, rest)| rest.trim_end_matches(']').split(", "));
        let items = self.lines.iter().filter_map(|line| line.strip_prefix("- "));
        listed.chain(items.map(|item| item.split([':', ' ']).next().unwrap())).collect()
    }
}

/// Returns the flags of a command by name, without `--help` and `--version`.
fn help(command: &str) -> BTreeMap<String, Help> {
    let output = program().args([command, "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (mut group, mut name, mut flags) = ("", String::new(), BTreeMap::<String, Help>::new());
    for line in text.lines() {
        let content = line.trim();
        let indent = line.len() - line.trim_start().len();
        if indent == 0 {
            group = line.strip_suffix(':').unwrap_or(group);
        } else if indent <= 6 && content.starts_with('-') {
            let mut words = content.split([' ', ',', '=']);
            name = words.find(|word| word.starts_with("--")).unwrap().to_owned();
            flags.insert(name.clone(), Help { group: group.to_owned(), lines: vec![content.to_owned()] });
        } else if let Some(flag) = flags.get_mut(&name) {
            flag.lines.push(content.to_owned());
        }
    }
    flags.remove("--help").expect("the help was not understood");
    flags.remove("--version");
    assert!(flags.len() > 40, "only {} flags of {command} were found", flags.len());
    flags
}

/// Returns the standard error of `turnwheel check`, or `None` if the file is valid.
fn check(text: &str) -> Option<String> {
    let file = ConfigFile::new(text);
    let output = program().arg("check").arg("--config").arg(&file.path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(said),
        code => panic!("exit code {code:?}: {said}"),
    }
}

/// Returns a file with this line and the other keys that this key requires.
fn with_what_it_needs(key: &str, line: &str) -> String {
    let needed = match key {
        "backend" => return line.to_owned(),
        "slow_start" => "strategy = 'least-connections'\n",
        "health_status" => "health_path = '/'\n",
        "sticky_secret_file" => "sticky = 'wheel'\n",
        _ => "",
    };
    format!("{BACKEND}{needed}{line}")
}

#[test]
fn the_page_has_every_flag_of_serve_and_demo_and_no_other() {
    let listed: Vec<_> = settings().iter().map(|setting| setting.flag.to_owned()).collect();
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a flag is in two rows");
    let offered: BTreeSet<_> = help("serve").into_keys().chain(help("demo").into_keys()).collect();
    assert_eq!(once, offered);
}

#[test]
fn a_key_is_named_as_its_flag() {
    for setting in settings() {
        let key = setting.flag.trim_start_matches('-').replace('-', "_");
        assert!(setting.key.is_none_or(|named| named == key), "{} has another key", setting.flag);
    }
}

#[test]
fn the_page_has_every_key_of_the_example_and_no_other() {
    let is_key = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let lines = EXAMPLE.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let named: BTreeSet<_> =
        lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).filter(is_key).collect();
    let settings = settings();
    assert_eq!(keys(&settings).map(|(key, _)| key).collect::<BTreeSet<_>>(), named);
}

#[test]
fn the_page_has_the_defaults_of_the_help() {
    let (serve, demo) = (help("serve"), help("demo"));
    for setting in settings() {
        let of = |flags: &BTreeMap<String, Help>| flags.get(setting.flag).map(Help::default);
        let first = of(&serve).or_else(|| of(&demo)).unwrap();
        let said = [first.clone(), of(&demo).unwrap_or_default()].concat();
        let documented = quoted(setting.default);
        let flag = setting.flag;
        assert_eq!(!documented.is_empty(), is_value(first.first()), "{flag}: {first:?}");
        if let Some(default) = documented.first() {
            assert_eq!(first[0], *default, "{flag}");
        }
        for value in &documented {
            assert!(said.iter().any(|word| word == value), "{flag}: {value} is not in {said:?}");
        }
        for word in said.iter().filter(|word| word.contains(|c: char| c.is_ascii_digit())) {
            assert!(documented.contains(&word.as_str()), "{flag}: {word} is not in the table");
        }
    }
}

/// Returns whether a default in the help begins with a value, and not with words that describe the default.
fn is_value(word: Option<&String>) -> bool {
    let choices = ["parked", "round-robin", "try", "on", "off"];
    word.is_some_and(|word| choices.contains(&word.as_str()) || word.contains(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_page_has_the_choices_of_the_help() {
    let serve = help("serve");
    let mut seen = 0;
    for setting in settings() {
        let choices = serve.get(setting.flag).map(Help::choices).unwrap_or_default();
        if !choices.is_empty() {
            seen += 1;
            assert_eq!(choices, quoted(setting.value).into_iter().collect(), "{}", setting.flag);
        }
    }
    assert!(seen >= 5, "only {seen} flags with choices were found");
}

#[test]
fn the_page_groups_flags_as_the_help_does() {
    let serve = help("serve");
    let mut pairs = BTreeSet::new();
    for setting in settings() {
        let group = serve.get(setting.flag).map(|flag| flag.group.as_str());
        pairs.extend(group.filter(|group| *group != "Options").map(|group| (group, setting.section)));
    }
    let groups: BTreeSet<_> = pairs.iter().map(|(group, _)| group).collect();
    let sections: BTreeSet<_> = pairs.iter().map(|(_, section)| section).collect();
    assert!(groups.len() > 3, "the groups were not found");
    assert_eq!((groups.len(), sections.len()), (pairs.len(), pairs.len()), "{pairs:?}");
}

#[test]
fn every_value_on_the_page_is_valid_in_the_file() {
    let secret = ConfigFile::new(SECRET);
    let settings = settings();
    for (key, setting) in keys(&settings) {
        let values = if setting.is_file() { vec![""] } else { setting.values() };
        assert!(!values.is_empty(), "{key}: the page shows no value");
        for value in values {
            let line = setting.line(key, value, &secret.path);
            assert_eq!(check(&with_what_it_needs(key, &line)), None, "{line}");
        }
    }
}

#[test]
fn all_defaults_on_the_page_are_valid_together() {
    let secret = ConfigFile::new(SECRET);
    let mut text = BACKEND.to_owned() + "health_path = '/health'\n";
    let settings = settings();
    for (key, setting) in keys(&settings) {
        if let Some(default) = quoted(setting.default).first() {
            text += &setting.line(key, default, &secret.path);
        }
    }
    assert_eq!(check(&text), None, "{text}");
}

#[test]
fn values_outside_the_ranges_of_the_page_are_refused() {
    let secret = ConfigFile::new(SECRET);
    let settings = settings();
    let mut seen = 0;
    for (key, setting) in keys(&settings) {
        let bounds = quoted(setting.value);
        let (from, to) = match bounds[..] {
            [from, to] if setting.value.contains("` to `") => (Some(from), Some(to)),
            [from] if setting.value.contains("` or more") => (Some(from), None),
            _ => (None, None),
        };
        let below = from.and_then(|from| moved(from, -1));
        for value in below.into_iter().chain(to.and_then(|to| moved(to, 1))) {
            seen += 1;
            let line = setting.line(key, &value, &secret.path);
            let said = check(&with_what_it_needs(key, &line));
            assert!(said.as_ref().is_some_and(|said| said.contains(key)), "{line}: {said:?}");
        }
    }
    assert!(seen > 40, "only {seen} bounds were found");
}

/// Returns the bound with its number changed: `10ms` by -1 is `9ms`. `None` if it would be negative.
fn moved(bound: &str, by: i64) -> Option<String> {
    let unit = bound.find(|c: char| !c.is_ascii_digit()).unwrap_or(bound.len());
    let number = bound[..unit].parse::<i64>().unwrap() + by;
    (number >= 0).then(|| format!("{number}{}", &bound[unit..]))
}

#[test]
fn settings_without_a_key_and_unknown_keys_are_refused_in_the_file() {
    let settings = settings();
    let without = settings.iter().filter(|setting| setting.key.is_none());
    let mut names: Vec<_> =
        without.map(|setting| setting.flag.trim_start_matches('-').replace('-', "_")).collect();
    assert!(names.len() >= 3, "{names:?}");
    names.push("no_such_setting".into());
    for name in names {
        let said = check(&format!("{BACKEND}{name} = '1'\n")).unwrap_or_default();
        assert!(said.contains(&name) && said.contains("line 2"), "{name}: {said:?}");
    }
}

#[test]
fn the_example_files_on_the_page_are_valid() {
    let files: Vec<_> =
        PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!files.is_empty(), "no file was found");
    for file in files {
        assert_eq!(check(file), None, "{file}");
    }
}

#[test]
fn a_reload_changes_what_the_page_says_and_refuses_the_rest() {
    let secret = ConfigFile::new(SECRET);
    let started_with = format!("{BACKEND}listen = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n");
    let file = ConfigFile::new(&started_with);
    let balancer = Balancer::start(&["serve".into(), format!("--config={}", file.path.display())]);
    let operator = AdminClient::of(&balancer);
    let settings = settings();
    let (mut reloadable, mut all) = (started_with, BACKEND.to_owned());
    for (key, setting) in keys(&settings).filter(|(key, _)| *key != "backend") {
        let line = setting.line(key, setting.values().first().copied().unwrap_or_default(), &secret.path);
        all += &line;
        if setting.reloads {
            reloadable += &line;
        }
    }
    file.write(&all);
    let refused = operator.reload_command();
    let said = String::from_utf8(refused.stderr).unwrap();
    let reasons: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("turnwheel: ")).collect();
    for (key, setting) in keys(&settings) {
        let is_refused = reasons.iter().any(|reason| reason.starts_with(&format!("{key} ")));
        assert_eq!(is_refused, !setting.reloads, "{key}: {said}");
    }
    file.write(&reloadable);
    let accepted = operator.reload_command();
    assert_eq!(accepted.status.code(), Some(0), "{}", String::from_utf8_lossy(&accepted.stderr));
}

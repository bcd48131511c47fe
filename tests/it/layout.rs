//! Holds the rules about the layout of `src`: how its files are arranged, and which file may import from which.

mod imports;

use crate::source::{Source, root, sources};
use imports::{Import, imports_between};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The largest number of files and folders directly in `src`.
const ROOT_ENTRIES: usize = 16;

/// Returns the imports of the program's source.
fn imports() -> BTreeSet<Import> {
    let imports = imports_between(&sources());
    assert!(imports.len() > 200, "only {} imports were found", imports.len());
    imports
}

fn shown(import: &Import) -> String {
    format!("src/{}:{}: {} of src/{}", import.from, import.line, import.item, import.to)
}

/// Two files, the first of which imports from the second.
type Edge<'a> = (&'a str, &'a str);

/// Returns the edges that are part of a cycle, in one group for each set of files that import each other.
fn cycles(imports: &BTreeSet<Import>) -> Vec<Vec<Edge<'_>>> {
    let edges: BTreeSet<Edge<'_>> = imports.iter().map(|import| (&*import.from, &*import.to)).collect();
    let files: BTreeSet<&str> = edges.iter().map(|edge| edge.0).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        files.iter().map(|file| (*file, reachable(file, &edges))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let mut groups: Vec<Vec<Edge<'_>>> = Vec::new();
    for (from, to) in edges.iter().filter(|(from, to)| reaches(to, from)) {
        let is_with = |group: &&mut Vec<Edge<'_>>| reaches(group[0].0, from) && reaches(from, group[0].0);
        match groups.iter_mut().find(is_with) {
            Some(group) => group.push((from, to)),
            None => groups.push(vec![(from, to)]),
        }
    }
    groups
}

/// Returns the files that this file imports from, directly or through others.
fn reachable<'a>(from: &str, edges: &BTreeSet<Edge<'a>>) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(edges.iter().filter(|edge| edge.0 == file && reached.insert(edge.1)).map(|edge| edge.1));
    }
    reached
}

/// Returns a line with the items that the first file of an edge imports from the second.
fn shown_edge((from, to): Edge<'_>, imports: &BTreeSet<Import>) -> String {
    let found: Vec<_> = imports.iter().filter(|import| import.from == from && import.to == to).collect();
    let items: BTreeSet<_> = found.iter().map(|import| import.item.as_str()).collect();
    let items: Vec<_> = items.into_iter().collect();
    let line = found.iter().map(|import| import.line).min().unwrap();
    format!("src/{from}:{line} → src/{to} ({})", items.join(", "))
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    let imports = imports();
    let groups = cycles(&imports);
    let lines = |group: &Vec<Edge<'_>>| {
        group.iter().map(|edge| shown_edge(*edge, &imports)).collect::<Vec<_>>().join("\n")
    };
    let shown: Vec<_> = groups.iter().map(lines).collect();
    assert!(groups.is_empty(), "{} groups of files import each other:\n{}", groups.len(), shown.join("\n\n"));
}

/// A rule about imports between parts of `src`. A part is a folder in `src`, or a file without its ending.
struct Rule {
    /// The importing parts.
    from: &'static [&'static str],
    /// The parts that they must not import from.
    not: &'static [&'static str],
    /// The items of those parts that they may import nevertheless.
    but: &'static [&'static str],
}

/// The parts on the path of a request.
const PATH: &[&str] = &["edge", "queue", "worker", "balance", "forward", "backend", "cluster"];

/// The items of `observe` that the path of a request may import: the ones that record a request.
const RECORDING: &[&str] = &["Recorder", "Outcome", "Ended", "Progress", "Sent", "ActiveRequest"];

const RULES: [Rule; 5] = [
    Rule { from: PATH, not: &["admin", "cli", "demo", "balancer"], but: &[] },
    Rule { from: PATH, not: &["observe"], but: RECORDING },
    Rule { from: &["observe"], not: &["admin", "cli", "demo", "balancer"], but: &[] },
    Rule { from: &["admin"], not: &["cli", "demo", "balancer"], but: &[] },
    Rule { from: &["backend"], not: &["balance", "cluster", "forward", "edge", "queue"], but: &[] },
];

/// The parts that `sys` may import from.
const BELOW_SYS: &[&str] = &["sys", "error"];

/// Returns the part of `src` that the file belongs to.
fn part(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Returns whether the import breaks a rule.
fn is_wrong(import: &Import) -> bool {
    let (from, to) = (part(&import.from), part(&import.to));
    let breaks = |rule: &Rule| {
        rule.from.contains(&from) && rule.not.contains(&to) && !rule.but.contains(&&*import.item)
    };
    RULES.iter().any(breaks) || from == "sys" && !BELOW_SYS.contains(&to)
}

#[test]
fn imports_point_one_way() {
    let imports = imports();
    let is_used =
        |name: &&str| imports.iter().any(|import| part(&import.from) == *name || part(&import.to) == *name);
    for rule in &RULES {
        let unknown: Vec<_> = rule.from.iter().chain(rule.not).filter(|name| !is_used(name)).collect();
        assert!(unknown.is_empty(), "nothing in src/ has these names any more: {unknown:?}");
    }
    let broken = imports.iter().filter(|import| is_wrong(import));
    let broken: Vec<_> = broken.map(shown).collect();
    assert!(broken.is_empty(), "{} imports break a rule:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn src_itself_has_few_entries() {
    let entries = fs::read_dir(root().join("src")).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name == "lib.rs"), "{names:?}");
    assert!(names.len() <= ROOT_ENTRIES, "more than {ROOT_ENTRIES} entries in src: {names:?}");
}

#[test]
fn a_folder_is_described_by_its_mod_rs() {
    let sources = sources();
    let names: BTreeSet<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let folders: BTreeSet<_> = names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    assert!(folders.len() > 10, "only {folders:?} were found");
    for folder in folders {
        assert!(names.contains(&*format!("{folder}/mod.rs")), "src/{folder} has no mod.rs");
        assert!(!names.contains(&*format!("{folder}.rs")), "src/{folder}.rs is beside its folder");
    }
}

#[test]
fn cycles_are_found_in_groups() {
    let files = [
        ("a.rs", "use crate::b::B;\nuse crate::d::D;\n"),
        ("b.rs", "use crate::c::C;\n"),
        ("c.rs", "use crate::a::A;\n"),
        ("d.rs", "use crate::e::E;\n"),
        ("e.rs", "use crate::d::D;\n"),
    ];
    let sources = files.map(|(name, text)| Source::parse(name, text));
    let imports = imports_between(&sources);
    assert_eq!(shown_edge(("a.rs", "b.rs"), &imports), "src/a.rs:1 → src/b.rs (B)");
    assert_eq!(
        cycles(&imports),
        [
            vec![("a.rs", "b.rs"), ("b.rs", "c.rs"), ("c.rs", "a.rs")],
            vec![("d.rs", "e.rs"), ("e.rs", "d.rs")]
        ]
    );
}

#[test]
fn a_broken_rule_is_noticed() {
    let import = |from: &str, to: &str, item: &str| Import {
        from: from.into(),
        to: to.into(),
        line: 1,
        item: item.into(),
    };
    assert!(is_wrong(&import("worker.rs", "observe/recent.rs", "Recent")));
    assert!(!is_wrong(&import("worker.rs", "observe/recorder.rs", "Recorder")));
    assert!(is_wrong(&import("edge/parked/mod.rs", "balancer/config.rs", "LISTEN")));
    assert!(!is_wrong(&import("balancer/mod.rs", "edge/mod.rs", "bind")));
    assert!(is_wrong(&import("sys/threads.rs", "edge/mod.rs", "bind")));
    assert!(!is_wrong(&import("sys/threads.rs", "error.rs", "StartError")));
}

//! The source that `docs/side-by-side.md` and `docs/from-the-go-script.md` quote is the source as it is.

use crate::source::{has_word, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages that quote source, with the number of excerpts on each.
const QUOTING: [(&str, usize); 2] = [("docs/side-by-side.md", 5), ("docs/from-the-go-script.md", 0)];

/// The pages whose `Type::function` and `module::function` are names in the source.
const NAMING: [&str; 5] = [
    "docs/side-by-side.md",
    "docs/from-the-go-script.md",
    "docs/lessons.md",
    "docs/learning.md",
    "ARCHITECTURE.md",
];

/// Marks lines that an excerpt leaves out.
const LEFT_OUT: &str = "// …";

/// One fenced block of Rust.
struct Excerpt {
    /// The number of the page's line that opens the block, from 1.
    number: usize,
    /// The target of the last link to a Rust file in the paragraph above it, relative to the page; `None` if it has no
    /// such link.
    file: Option<String>,
    lines: Vec<String>,
}

/// Returns the Rust blocks of a page.
fn excerpts(page: &str) -> Vec<Excerpt> {
    let mut excerpts = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut file = None;
    while let Some((at, line)) = lines.next() {
        match line.strip_prefix("```") {
            Some(language) => {
                let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                let block: Vec<_> = block.map(|line| line.trim().to_owned()).collect();
                if language == "rust" {
                    excerpts.push(Excerpt { number: at + 1, file: file.take(), lines: block });
                }
            }
            None if line.is_empty() => {}
            // A paragraph has no empty line, so its last line with a link is the last link before the block.
            None => file = last_link(line).or(file.filter(|_| continues(page, at))),
        }
    }
    excerpts
}

/// Returns whether the line belongs to the paragraph of the line above it.
fn continues(page: &str, at: usize) -> bool {
    at > 0 && page.lines().nth(at - 1).is_some_and(|above| !above.is_empty())
}

/// Returns the target of the line's last link to a Rust file, or `None`.
fn last_link(line: &str) -> Option<String> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| target.ends_with(".rs")).last().map(str::to_owned)
}

/// Returns what is wrong with an excerpt of this source, or `None` if it is verbatim: its lines follow each other
/// in the source, except where it says that lines are left out.
fn fault(excerpt: &[String], source: &str) -> Option<String> {
    let source: Vec<_> = source.lines().map(str::trim).collect();
    let mut parts = excerpt.split(|line| line == LEFT_OUT).filter(|part| !part.is_empty());
    let mut from = 0;
    if excerpt.iter().all(|line| line == LEFT_OUT || line.is_empty()) {
        return Some("it is empty".into());
    }
    parts.find_map(|part| match source[from..].windows(part.len()).position(|lines| lines == part) {
        Some(at) => {
            from += at + part.len();
            None
        }
        None => Some(format!("the source does not have, or not at this place:\n{}", part.join("\n"))),
    })
}

#[test]
fn excerpts_are_in_the_source_as_quoted() {
    let mut faults = Vec::new();
    for (page, count) in QUOTING {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let found = excerpts(&text);
        assert!(found.len() >= count, "{page}: {} excerpts were found, not {count}", found.len());
        for excerpt in found {
            let place = format!("{page}:{}", excerpt.number);
            let Some(file) = excerpt.file else {
                faults.push(format!("{place}: the paragraph above it links to no Rust file"));
                continue;
            };
            let source = root().join(page).parent().unwrap().join(&file);
            let fault = match fs::read_to_string(source) {
                Ok(source) => fault(&excerpt.lines, &source),
                Err(error) => Some(error.to_string()),
            };
            faults.extend(fault.map(|fault| format!("{place}: {file}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns the path and the text of each source file of the balancers and of the harness that measures them.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> =
        ["src", "compare/async/src", "compare/threads/src", "compare/harness/src"]
            .map(|name| root().join(name))
            .into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

/// Returns the inline code of a page that is two names with `::` between them, the second one in lower case.
fn qualified_names(page: &str) -> BTreeSet<(&str, &str)> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_function = |name: &str| is_name(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    let code = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter_map(|code| code.split_once("::"))
        .filter(|(owner, function)| is_name(owner) && is_function(function))
        .collect()
}

/// Returns whether the source has this function of a type or module, or uses it by this name.
fn exists((owner, function): (&str, &str), sources: &[(PathBuf, String)]) -> bool {
    let (used, defined) = (format!("{owner}::{function}"), format!("fn {function}"));
    let owns = |path: &Path, text: &str| {
        let is_module = path.with_extension("").ends_with(owner) || path.ends_with(format!("{owner}/mod.rs"));
        is_module || text.lines().any(|line| line.starts_with("impl") && has_word(line, owner))
    };
    sources.iter().any(|(path, text)| text.contains(&used) || has_word(text, &defined) && owns(path, text))
}

#[test]
fn functions_that_are_named_exist() {
    let sources = sources();
    let (mut checked, mut faults) = (0, Vec::new());
    for page in NAMING {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for name in qualified_names(&text) {
            checked += 1;
            if !exists(name, &sources) {
                faults.push(format!("{page}: {}::{}", name.0, name.1));
            }
        }
    }
    assert!(checked > 50, "only {checked} names were found");
    assert!(faults.is_empty(), "not in the source:\n{}", faults.join("\n"));
}

#[test]
fn an_excerpt_that_differs_from_its_source_is_noticed() {
    let page = "See [a](a.txt), [b](../b.rs) and\n[c](c.rs) here:\n\n```rust\none\n    // …\nfour\n```\n\nNo link.\n\n\
                ```rust\nx\n```\n";
    let found = excerpts(page);
    assert_eq!(
        found.iter().map(|one| (one.number, one.file.as_deref())).collect::<Vec<_>>(),
        [(4, Some("c.rs")), (12, None)]
    );
    assert_eq!(fault(&found[0].lines, "zero\n  one\ntwo\n  four\n"), None);
    for (lines, source) in [
        (vec!["one", "three"], "one\ntwo\nthree"),
        (vec!["two", LEFT_OUT, "one"], "one\ntwo"),
        (vec!["one", "2"], "one\ntwo"),
        (vec![LEFT_OUT], "one"),
    ] {
        let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
        assert!(fault(&lines, source).is_some(), "{lines:?} is not an excerpt of {source:?}");
    }
}

#[test]
fn a_function_that_is_gone_is_noticed() {
    let sources =
        [(PathBuf::from("src/queue/sender.rs"), "impl JobSender {\n    pub fn offer() {}\n}\n".to_owned())];
    assert!(exists(("JobSender", "offer"), &sources) && exists(("sender", "offer"), &sources));
    assert!(!exists(("Door", "offer"), &sources) && !exists(("JobSender", "take"), &sources));
    let names = qualified_names("`A::b`, `c::d` and `E::F`, `tokio::time::timeout`");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("A", "b"), ("c", "d")]);
}

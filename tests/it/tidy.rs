//! The design's invariants, held against the source itself.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 50;
const PATH_LINES: usize = 1800;

/// What a request passes through, in the order of lib.rs. The seam for algorithms and whatever works
/// beside the path is not counted: a request meets neither what starts and ends an edge, nor tiny_http's heartbeat, nor
/// the foreman, nor ureq's settings, and only a refused one what ends its connection.
const PATH: [&str; 7] = ["edge/", "queue", "worker", "rotation", "chooser", "forward/", "headers"];
const BESIDE_THE_PATH: [&str; 12] = [
    "edge/lifecycle",
    "edge/options",
    "edge/parked/",
    "edge/socket",
    "edge/tiny/lifecycle",
    "edge/tiny/pulse",
    "edge/tiny/severed",
    "edge/tiny/upgrade",
    "forward/agent",
    "forward/options",
    "queue/foreman",
    "queue/options",
];

/// One file of `src`, without its tests.
struct Source {
    /// Below `src`.
    name: String,
    text: String,
    /// The same with comments and the insides of literals blanked out, line by line.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 20, "the source was not found: {files:?}");
    files.sort();
    files.iter().map(|file| read(&src, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(src: &Path, file: &Path) -> Source {
    let whole = fs::read_to_string(file).unwrap();
    let tests = whole.find("\n#[cfg(test)]").or_else(|| whole.find("\n#![cfg(test)]"));
    let text = match tests {
        Some(end) => whole[..end].trim_end().to_owned() + "\n",
        None => whole,
    };
    let name = file.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
    Source { name, code: code_of(&text), text }
}

/// Blanks out comments, strings and characters. As much of a lexer as this source needs.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            literal_end(rest, '"')
        } else if first == '\'' && is_character(rest) {
            literal_end(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[skipped..];
    }
    code
}

/// Where a literal ends that begins here.
fn literal_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    panic!("a literal does not end: {text}")
}

/// A character and not a lifetime?
fn is_character(text: &str) -> bool {
    text.starts_with("'\\") || text.chars().nth(2) == Some('\'')
}

/// `file:line: text` of each line of code that has one of these.
fn mentions(sources: &[Source], words: &[&str], allowed: &[&str]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| !allowed.contains(&source.name.as_str()));
    elsewhere
        .flat_map(|source| {
            let lines = source.code.lines().zip(source.text.lines()).enumerate();
            let found = lines.filter(|(_, (code, _))| words.iter().any(|word| has_word(code, word)));
            found.map(|(at, (_, text))| format!("{}:{}: {}", source.name, at + 1, text.trim()))
        })
        .collect()
}

/// Not as the tail of a longer name: `eprintln!` has no `println!`.
fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_name) && word.starts_with(is_name);
        let after = code[at + word.len()..].chars().next().is_some_and(is_name) && word.ends_with(is_name);
        !before && !after
    })
}

#[track_caller]
fn nowhere(words: &[&str], allowed: &[&str]) {
    let found = mentions(&sources(), words, allowed);
    assert!(found.is_empty(), "allowed only in {allowed:?}:\n{}", found.join("\n"));
}

#[test]
fn the_dependency_tree_has_no_async_runtime() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: Vec<_> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(names.contains(&"\"tiny_http\""), "Cargo.lock was not understood");
    let runtimes = ["tokio", "async", "smol", "futures", "hyper", "actix", "glommio", "monoio", "embassy"];
    let found: Vec<_> = names
        .iter()
        .map(|name| name.trim_matches('"'))
        .filter(|name| runtimes.iter().any(|r| name == r || name.starts_with(&format!("{r}-"))))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn nothing_is_async() {
    nowhere(&["async", "await", "Future"], &[]);
}

#[test]
fn tiny_http_is_known_to_its_edge_and_the_demo_alone() {
    let found = mentions(&sources(), &["tiny_http::"], &["demo.rs"]);
    let strangers: Vec<_> = found.iter().filter(|place| !place.starts_with("edge/tiny")).collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
    assert!(!found.is_empty(), "the edge does not use tiny_http any more?");
}

#[test]
fn threads_are_started_in_one_place() {
    nowhere(&["thread::spawn", "thread::scope", "Builder::new", ".spawn("], &["threads.rs"]);
}

#[test]
fn the_library_prints_nothing() {
    nowhere(&["println!", "eprintln!", "print!", "eprint!", "dbg!"], &["main.rs"]);
}

#[test]
fn nothing_panics_on_purpose() {
    let panics = ["unwrap()", "expect(", "unwrap_err()", "panic!", "todo!", "unimplemented!", "unreachable!"];
    nowhere(&panics, &[]);
}

#[test]
fn strategies_do_no_io() {
    let all = sources();
    let strategies: Vec<_> = all
        .into_iter()
        .filter(|source| source.name.starts_with("strategy") || source.name == "rotation.rs")
        .collect();
    assert!(strategies.len() >= 2, "the strategies were not found");
    let io = ["std::io", "std::fs", "TcpStream", "UdpSocket", "ureq", "socket2", "sleep"];
    let found = mentions(&strategies, &io, &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_unsafe_says_why_it_is_safe() {
    let mut seen = 0;
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, code) in source.code.lines().enumerate() {
            if !has_word(code, "unsafe") {
                continue;
            }
            seen += 1;
            let above = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            let why = above.clone().any(|line| line.contains("SAFETY:"));
            assert!(why, "{}:{}: no SAFETY comment above it", source.name, at + 1);
        }
    }
    assert!(seen > 0, "there is no unsafe left: this test can go");
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let lengths = sources().into_iter().map(|source| (source.text.lines().count(), source.name));
    let long: Vec<_> = lengths.filter(|(lines, _)| *lines > FILE_LINES).collect();
    assert!(long.is_empty(), "more than {FILE_LINES} lines, tests aside: {long:?}");
}

#[test]
fn no_function_is_too_long_to_be_seen_at_once() {
    let (mut seen, mut long) = (0, Vec::new());
    for source in sources() {
        for (line, length) in functions(&source.code) {
            seen += 1;
            if length > FUNCTION_LINES {
                long.push(format!("{}:{line}: {length} lines", source.name));
            }
        }
    }
    assert!(seen > 100, "only {seen} functions were found");
    assert!(long.is_empty(), "more than {FUNCTION_LINES} lines: {long:#?}");
}

/// First line and length of each function that has a body: to the brace at its own depth.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begins = |line: &str| has_word(line, "fn") && line.trim_end().ends_with(['{', '(', '>', ',']);
    let starts = lines.iter().enumerate().filter(|(_, line)| begins(line));
    starts
        .filter_map(|(at, line)| {
            let end = format!("{}}}", " ".repeat(indent(line)));
            let ends =
                |line: &&str| line.trim_end() == end || indent(line) < end.len() && line.ends_with(';');
            let length = lines[at + 1..].iter().position(ends)?;
            Some((at + 1, length + 2))
        })
        .collect()
}

#[test]
fn the_path_of_a_request_can_be_read_in_one_sitting() {
    let on_path = |name: &str| {
        PATH.iter().any(|room| name.starts_with(room))
            && !BESIDE_THE_PATH.iter().any(|room| name.starts_with(room))
    };
    let path: Vec<_> = sources().into_iter().filter(|source| on_path(&source.name)).collect();
    assert!(path.len() > 10, "the path was not found");
    // Comments and blank lines make it longer, and quicker to read.
    let lines = |source: &&Source| source.code.lines().filter(|line| !line.trim().is_empty()).count();
    let all: usize = path.iter().map(|source| lines(&source)).sum();
    let files: Vec<_> = path.iter().map(|source| format!("{} {}", lines(&source), source.name)).collect();
    assert!(all <= PATH_LINES, "{all} lines of code, {PATH_LINES} are the limit:\n{}", files.join("\n"));
}

#[test]
fn this_lexer_knows_code_from_words() {
    let text = "let a = \"x // \\\" y\"; // async\nlet b = '\"'; b::<'a>(); /* */ await";
    let code = code_of(text);
    assert!(!code.contains("async") && !code.contains('x') && code.contains("b::<'a>()"));
    assert!(
        has_word(&code, "await")
            && !has_word("eprintln!()", "println!")
            && has_word(" println!()", "println!")
    );
    let code = "fn one(\n    a: u8,\n) {\n    a;\n}\nfn none();\n    fn two() {\n    }\n";
    assert_eq!(functions(code), [(1, 5), (7, 2)]);
}

//! Holds the rules about the source and the files of the repository. The rules about imports are in `layout.rs`.

use crate::source::{Line, Source, has_word, is_name, root, sources};
use std::fs;
use std::path::Path;
use std::process::Command;

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 50;

/// The only files that may have `unsafe` code: wrappers of system calls.
const UNSAFE_FILES: [&str; 4] = ["edge/socket.rs", "sys/memory.rs", "sys/sockets.rs", "sys/threads.rs"];

/// Returns `file:line: text` of each line of code that has one of these words, outside the allowed files and
/// folders.
fn mentions(sources: &[Source], words: &[&str], allowed: &[&str]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| !is_in(&source.name, allowed));
    elsewhere
        .flat_map(|source| {
            let found =
                source.lines.iter().filter(|line| words.iter().any(|word| has_word(&line.code, word)));
            found.map(|line| place(source, line))
        })
        .collect()
}

fn place(source: &Source, line: &Line) -> String {
    format!("{}:{}: {}", source.name, line.number, line.text.trim())
}

/// Returns whether the file is one of these, or in one of these folders, which end with a slash.
fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| if place.ends_with('/') { file.starts_with(place) } else { file == *place })
}

#[track_caller]
fn assert_only_in(allowed: &[&str], words: &[&str]) {
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
    assert_only_in(&[], &["async", "await", "Future"]);
}

/// The edge's module has the crate's name, so paths to the module do not count.
#[test]
fn only_its_edge_uses_tiny_http() {
    let found = mentions(&sources(), &["tiny_http"], &[]);
    let is_module = |place: &String| {
        let (_, text) = place.split_once(": ").unwrap();
        ["edge::tiny_http", "super::tiny_http", "mod tiny_http;"].iter().any(|path| text.contains(path))
            || place.starts_with("edge/mod.rs:") && text.contains("tiny_http::TinyHttpEdge")
    };
    let uses: Vec<_> = found.iter().filter(|place| !is_module(place)).collect();
    let elsewhere: Vec<_> = uses.iter().filter(|place| !place.starts_with("edge/tiny_http/")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    assert!(!uses.is_empty(), "the edge does not use tiny_http any more");
}

/// On a request's path only `forward` uses ureq; `observe` recognises its timeout. Health checks, the admin client and
/// the demo's load generator are separate clients.
#[test]
fn ureq_is_used_by_clients_alone() {
    let allowed = [
        "forward/",
        "observe/ended.rs",
        "cluster/health/probe.rs",
        "cluster/health/probe/",
        "cli/client.rs",
        "demo/load_generator.rs",
    ];
    assert_only_in(&allowed, &["ureq"]);
    assert!(!mentions(&sources(), &["ureq"], &[]).is_empty(), "ureq is not used any more");
}

#[test]
fn threads_are_started_in_one_place() {
    assert_only_in(&["sys/threads.rs"], &["thread::spawn", "thread::scope", "Builder::new", ".spawn("]);
}

#[test]
fn the_library_prints_nothing() {
    assert_only_in(&["main.rs"], &["println!", "eprintln!", "print!", "eprint!", "dbg!"]);
}

#[test]
fn nothing_panics_on_purpose() {
    let panics = ["unwrap()", "expect(", "unwrap_err()", "panic!", "todo!", "unimplemented!", "unreachable!"];
    assert_only_in(&[], &panics);
}

#[test]
fn strategies_do_no_io() {
    let all = sources();
    let strategies: Vec<_> = all
        .into_iter()
        .filter(|source| is_in(&source.name, &["balance/strategies/", "balance/rotation.rs"]))
        .collect();
    assert!(strategies.len() >= 5, "the strategies were not found");
    let io = ["std::io", "std::fs", "TcpStream", "UdpSocket", "ureq", "socket2", "sleep"];
    let found = mentions(&strategies, &io, &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn unsafe_code_is_in_the_files_that_wrap_system_calls() {
    assert_only_in(&UNSAFE_FILES, &["unsafe"]);
}

#[test]
fn every_unsafe_has_a_safety_comment() {
    let mut seen = 0;
    for source in sources() {
        for (at, line) in source.lines.iter().enumerate() {
            if !has_word(&line.code, "unsafe") {
                continue;
            }
            seen += 1;
            let above = source.lines[..at].iter().rev().map(|line| line.text.trim_start());
            let mut comment = above.take_while(|text| text.starts_with("//"));
            let has_reason = comment.any(|text| text.contains("SAFETY:"));
            assert!(has_reason, "{}: no SAFETY comment above it", place(&source, line));
        }
    }
    assert!(seen > 0, "there is no unsafe code left: this test can go");
}

#[test]
fn every_file_is_short() {
    let lengths = sources().into_iter().map(|source| (source.lines.len(), source.name));
    let long: Vec<_> = lengths.filter(|(lines, _)| *lines > FILE_LINES).collect();
    assert!(long.is_empty(), "more than {FILE_LINES} lines, tests aside: {long:#?}");
}

#[test]
fn every_function_is_short() {
    let (mut seen, mut long) = (0, Vec::new());
    for source in sources() {
        for (line, length) in functions(&source.code()) {
            seen += 1;
            if length > FUNCTION_LINES {
                long.push(format!("{} ({length} lines)", place(&source, &source.lines[line - 1])));
            }
        }
    }
    assert!(seen > 500, "only {seen} functions were found");
    assert!(long.is_empty(), "more than {FUNCTION_LINES} lines: {long:#?}");
}

/// Returns the first line, from 1, and the number of lines of each function that has a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(is_name));
    starts
        .filter_map(|(at, _)| {
            let first = code[..at].matches('\n').count() + 1;
            Some((first, body_end(&code[at..])?.lines().count()))
        })
        .collect()
}

/// Returns the text up to the end of the function that it begins with, or `None` for a declaration without a body.
fn body_end(code: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ';' if depth == 0 => return None,
            _ => {}
        }
        if c == '}' && depth == 0 {
            return Some(&code[..=at]);
        }
    }
    panic!("a function does not end: {code}")
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_closing_brace() {
    let code = "fn one(\n    a: [u8; 4],\n) {\n    a;\n}\nfn none();\n    fn two() {\n    }\npub fn three<F>(f: F) -> u8\n\
                where\n    F: Fn(),\n{\n    let g: fn(u8) = x; }\n";
    assert_eq!(functions(code), [(1, 5), (7, 2), (9, 5)]);
}

/// The files and folders of `src` that a request through `serve` executes …
const PATH: [&str; 10] = [
    "edge/",
    "queue/",
    "worker.rs",
    "balance/",
    "forward/",
    "backend/",
    "cluster/snapshot.rs",
    "cluster/swap.rs",
    "observe/",
    "sys/",
];

/// … except for these: the other edge, and the readers of the metrics that a request records.
const BESIDE_THE_PATH: [&str; 3] =
    ["edge/tiny_http/", "observe/metrics/history", "observe/metrics/exposition"];

/// The part by which the numbers in ARCHITECTURE.md may differ from those counted.
const TOLERANCE: f64 = 0.05;

/// Returns the files that a request through `serve` executes.
fn path_of_a_request() -> Vec<Source> {
    let mut path = sources();
    for place in PATH.iter().chain(&BESIDE_THE_PATH) {
        assert!(path.iter().any(|source| source.name.starts_with(place)), "there is no src/{place} any more");
    }
    let is_beside = |name: &str| BESIDE_THE_PATH.iter().any(|place| name.starts_with(place));
    path.retain(|source| is_in(&source.name, &PATH) && !is_beside(&source.name));
    path
}

/// Returns the number of lines with code, and the number of lines with code or a comment. Blank lines do not count.
fn size(source: &Source) -> (usize, usize) {
    let count = |is_counted: fn(&Line) -> &str| {
        source.lines.iter().filter(|line| !is_counted(line).trim().is_empty()).count()
    };
    (count(|line| &line.code), count(|line| &line.text))
}

#[test]
fn architecture_md_states_the_size_of_a_requests_path() {
    let path = path_of_a_request();
    let sizes: Vec<_> = path.iter().map(size).collect();
    let (code, text) = sizes.iter().fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    let files: Vec<_> =
        path.iter().zip(&sizes).map(|(file, size)| format!("{} {}", size.0, file.name)).collect();
    let expected = format!(
        "A request through `serve` executes about {code} lines of our code ({text} with comments), counted over the \
         files {}, without {}.\nLines of code in these {} files:\n{}",
        PATH.map(|place| format!("`{place}`")).join(", "),
        BESIDE_THE_PATH.map(|place| format!("`{place}`")).join(", "),
        files.len(),
        files.join("\n")
    );
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let words = document.split_whitespace().collect::<Vec<_>>().join(" ");
    let stated = stated_sizes(&words).unwrap_or_else(|| panic!("ARCHITECTURE.md does not say: {expected}"));
    let is_near =
        |stated: usize, counted: usize| stated.abs_diff(counted) as f64 <= TOLERANCE * counted as f64;
    assert!(
        is_near(stated.0, code) && is_near(stated.1, text),
        "ARCHITECTURE.md says {stated:?}, not: {expected}"
    );
}

/// Returns the two numbers of the sentence in ARCHITECTURE.md, or `None` if they are not there.
fn stated_sizes(document: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.replace(',', "").parse().ok();
    let (_, rest) = document.split_once("A request through `serve` executes about ")?;
    let (code, rest) = rest.split_once(" lines of our code (")?;
    let (text, _) = rest.split_once(" with comments)")?;
    Some((number(code)?, number(text)?))
}

#[test]
fn the_size_of_a_file_leaves_out_blank_lines_and_tests() {
    let text = "//! Doc.\n\nfn a() {\n    // why\n    b(); // how\n}\n\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(size(&Source::parse("a.rs", text)), (3, 5));
    let sentence =
        "A request through `serve` executes about 4,800 lines of our code (6900 with comments), counted";
    assert_eq!(stated_sizes(sentence), Some((4800, 6900)));
    assert_eq!(stated_sizes(&sentence.replace("6900", "@SIZE@")), None);
}

/// A larger file is data or a build product, and neither belongs in the repository.
const LARGEST_FILE: u64 = 300_000;

/// Folders that are built or fetched. A source archive has no git to tell them apart.
const NOT_TRACKED: [&str; 7] =
    [".git", "target", "results", "screenshots", "corpus", "artifacts", "coverage"];

/// Returns every file of the repository, relative to its root: those that git tracks or, in a source archive,
/// all but the ones that a build makes.
fn repository_files() -> Vec<String> {
    let mut files = if root().join(".git").exists() { tracked_files() } else { walked_files(root()) };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    assert!(
        files.iter().any(|file| file == "Cargo.toml") && files.len() > 100,
        "not the repository: {files:?}"
    );
    files
}

fn tracked_files() -> Vec<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root())
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.split_terminator('\0').map(str::to_owned).collect()
}

fn walked_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        if path.is_dir() && !NOT_TRACKED.contains(&name) {
            files.extend(walked_files(&path));
        } else if path.is_file() {
            files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    files
}

#[test]
fn no_file_of_the_repository_is_large() {
    let size = |file: &String| fs::metadata(root().join(file)).unwrap().len();
    let large: Vec<_> = repository_files().into_iter().filter(|file| size(file) > LARGEST_FILE).collect();
    assert!(large.is_empty(), "more than {LARGEST_FILE} bytes: {large:?}");
}

#[test]
fn no_file_of_the_repository_is_binary_but_pictures_and_seeds() {
    let is_allowed = |file: &String| {
        file.strip_prefix("docs/").is_some_and(|name| name.ends_with(".png") && !name.contains('/'))
            || file.starts_with("fuzz/seeds/")
    };
    let is_binary = |file: &String| fs::read(root().join(file)).unwrap().contains(&0);
    let (allowed, others): (Vec<_>, Vec<_>) =
        repository_files().into_iter().filter(is_binary).partition(is_allowed);
    assert!(!allowed.is_empty(), "the pictures were not found");
    assert!(others.is_empty(), "binary: {others:?}");
}

#[test]
fn a_source_archive_is_searched_as_the_repository_is() {
    let walked = walked_files(root());
    let tracked = repository_files();
    let missing: Vec<_> = tracked.iter().filter(|file| !walked.contains(file)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Words that must not occur in texts, because a sentence should name its subject.
const WORDS_TO_AVOID: [&str; 4] = ["whoever", "nobody", "somebody", "everybody"];

#[test]
fn texts_name_their_subjects() {
    let is_text = |file: &String| [".rs", ".md", ".js", ".html"].iter().any(|end| file.ends_with(end));
    let texts: Vec<_> = repository_files().into_iter().filter(is_text).collect();
    assert!(texts.len() > 100, "only {} texts were found", texts.len());
    let mut found = Vec::new();
    for file in texts {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for (at, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let is_the_list = file == "tests/it/tidy.rs" && line.starts_with("const WORDS_TO_AVOID");
            if !is_the_list && WORDS_TO_AVOID.iter().any(|word| has_word(&lower, word)) {
                found.push(format!("{file}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{} lines have one of {WORDS_TO_AVOID:?}:\n{}", found.len(), found.join("\n"));
}

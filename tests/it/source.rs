//! Reads the program's own source, for the tests that hold rules about it: `tidy.rs` and `layout.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src`, without its tests.
pub struct Source {
    /// The path below `src`.
    pub name: String,
    /// The lines that belong to no test.
    pub lines: Vec<Line>,
}

/// One line of a file.
pub struct Line {
    /// The line's number in the file, from 1.
    pub number: usize,
    pub text: String,
    /// The text with comments and the contents of literals replaced by spaces.
    pub code: String,
}

impl Source {
    /// Reads the text of one file, and leaves out each item under `#[cfg(test)]`, or all of it under `#![cfg(test)]`.
    pub fn parse(name: &str, text: &str) -> Self {
        let code = code_of(text);
        let code: Vec<&str> = code.lines().collect();
        let tests =
            if code.contains(&"#![cfg(test)]") { (0..code.len()).collect() } else { test_items(&code) };
        let both = text.lines().zip(&code).enumerate();
        let kept = both.filter(|(at, _)| !tests.contains(at));
        let mut lines: Vec<_> = kept
            .map(|(at, (text, code))| Line { number: at + 1, text: text.into(), code: (*code).into() })
            .collect();
        while lines.last().is_some_and(|line| line.text.trim().is_empty()) {
            lines.pop();
        }
        Source { name: name.into(), lines }
    }

    /// Returns the code of all lines as one text.
    pub fn code(&self) -> String {
        self.lines.iter().map(|line| line.code.clone() + "\n").collect()
    }
}

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file of `src` that is not a test, in the order of their names.
pub fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    files.sort();
    let named = files.iter().map(|file| (file.strip_prefix(&src).unwrap().to_str().unwrap(), file));
    let code = named.filter(|(name, _)| !is_test_file(name));
    let sources: Vec<_> =
        code.map(|(name, file)| Source::parse(name, &fs::read_to_string(file).unwrap())).collect();
    assert!(sources.len() > 100, "only {} source files were found", sources.len());
    sources
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

fn is_test_file(name: &str) -> bool {
    name.split('/').any(|part| part == "tests.rs" || part == "tests")
}

/// Returns whether the code has this word, not as a part of a longer name: `eprintln!` does not have `println!`.
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_name) && word.starts_with(is_name);
        let after = code[at + word.len()..].chars().next().is_some_and(is_name) && word.ends_with(is_name);
        !before && !after
    })
}

/// Returns whether the character may be part of a name.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Replaces comments, and the contents of strings and characters, by spaces. Lines keep their numbers. It covers only
/// the part of Rust's lexical syntax that this source uses.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_name = code.ends_with(is_name);
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").expect("a comment ends") + 2
        } else if let Some(length) = raw_string(rest).filter(|_| !in_name) {
            length
        } else if first == '"' || first == '\'' && is_character(rest) {
            literal_end(rest, first)
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

/// Returns the length of the literal at the beginning of the text.
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

/// Returns the length of the raw string at the beginning of the text, or `None` if there is none.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let body = rest.trim_start_matches('#');
    let hashes = rest.len() - body.len();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = body.strip_prefix('"')?;
    let length = body.find(&end).expect("a raw string ends") + end.len();
    Some(text.len() - body.len() + length)
}

/// Returns whether the text begins with a character and not with a lifetime.
fn is_character(text: &str) -> bool {
    text.starts_with("'\\") || text.chars().nth(2) == Some('\'')
}

/// Returns the indices of the lines of all items under `#[cfg(test)]`, with their attributes.
fn test_items(code: &[&str]) -> Vec<usize> {
    let mut lines = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let is_test =
            ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|mark| line.trim_start().starts_with(mark));
        if is_test && !lines.contains(&at) {
            lines.extend(at..at + item_lines(&code[at..]));
        }
    }
    lines
}

/// Returns the number of lines of the item at the beginning: up to its semicolon, or to its closing brace.
fn item_lines(code: &[&str]) -> usize {
    let mut depth = 0;
    for (at, line) in code.iter().enumerate() {
        for c in line.chars() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == ';' || c == '}') {
                return at + 1;
            }
        }
    }
    panic!("a test item does not end: {}", code[0])
}

#[test]
fn the_lexer_blanks_comments_and_literals() {
    let text = "let a = \"x // \\\" y\"; // async\nlet b = '\"'; b::<'a>(); /* x */ await r#\"\"x{\"# r#type";
    let code = code_of(text);
    assert!(!code.contains("async") && !code.contains('x') && !code.contains('{'), "{code}");
    assert!(code.contains("b::<'a>()") && code.contains("r#type"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(has_word(&code, "await"), "{code}");
    assert!(!has_word("eprintln!()", "println!") && has_word(" println!()", "println!"));
}

#[test]
fn test_items_are_left_out() {
    let text = "use a;\n#[cfg(test)]\nuse b::{c};\nfn d() {}\n\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n    \
                fn e() { \"}\"; }\n}\n";
    let source = Source::parse("x.rs", text);
    let kept: Vec<_> = source.lines.iter().map(|line| (line.number, &*line.text)).collect();
    assert_eq!(kept, [(1, "use a;"), (4, "fn d() {}")]);
    assert!(is_test_file("queue/tests.rs") && !is_test_file("queue/state.rs"));
}

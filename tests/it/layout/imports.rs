//! Finds the imports in Rust source, and the file that defines each imported item.
//!
//! An import is a path to an item of another file of this crate, in a `use` or in the code. It leads from the file
//! it occurs in to the file that defines the item: a name that a file only imports or re-exports leads on to its
//! origin. The parser covers only the Rust syntax that this source uses.

use crate::source::{Source, is_name};
use std::collections::{BTreeMap, BTreeSet};

/// The segments of a path. Those of a module's path begin at the crate's root.
type Path = Vec<String>;

/// The module of `main.rs`, which is a separate crate and refers to the library by its name.
const MAIN: &str = "(main)";

/// Returns every import of one of these files from another, in order.
pub fn imports_between(sources: &[Source]) -> BTreeSet<Import> {
    Tree::of(sources).imports()
}

/// An import of an item that another file defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The importing file, below `src`.
    pub from: String,
    /// The file that defines the item, below `src`.
    pub to: String,
    pub line: usize,
    /// The item's own name, or `*` for all items.
    pub item: String,
}

/// A path that occurs in a file.
#[derive(Debug)]
struct Mention {
    /// The module it occurs in.
    module: Path,
    path: Path,
    line: usize,
    /// The name that a `use` gives to it; `*` for all names. `None` for a path in the code.
    name: Option<String>,
}

/// One word or sign, and its line.
type Token<'a> = (&'a str, usize);

/// Splits code into names, `::`, and single signs.
fn tokens(source: &Source) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for line in &source.lines {
        let mut rest = line.code.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let length = if name > 0 {
                name
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((&rest[..length], line.number));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads the paths of one file, token by token.
struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    module: Path,
    mentions: Vec<Mention>,
}

impl<'a> Parser<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.0)
    }

    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.tokens[self.at - 1].0
    }

    /// Returns all paths of the file that defines this module, and the modules inside it.
    fn parse(source: &'a Source, module: Path) -> (Vec<Mention>, Vec<Path>) {
        let mut parser = Parser { tokens: tokens(source), at: 0, module, mentions: Vec::new() };
        let (mut depth, mut inner, mut modules) = (0, Vec::new(), Vec::new());
        while parser.at < parser.tokens.len() {
            let is_path = parser.peek(1) == "::" && is_identifier(parser.peek(0)) && !parser.follows("::");
            match parser.peek(0) {
                "use" if parser.peek(1) != "<" => {
                    parser.at += 1;
                    parser.use_tree(Vec::new());
                }
                "mod" if parser.peek(2) == "{" => {
                    parser.module.push(parser.peek(1).into());
                    modules.push(parser.module.clone());
                    inner.push(depth);
                    parser.at += 2;
                }
                _ if is_path => parser.path_in_code(),
                sign => {
                    depth += i32::from(sign == "{") - i32::from(sign == "}");
                    if sign == "}" && inner.last() == Some(&depth) {
                        inner.pop();
                        parser.module.pop();
                    }
                    parser.at += 1;
                }
            }
        }
        (parser.mentions, modules)
    }

    fn follows(&self, sign: &str) -> bool {
        self.at > 0 && self.tokens[self.at - 1].0 == sign
    }

    fn mention(&mut self, path: Path, name: Option<String>) {
        let line = self.tokens[self.at.min(self.tokens.len()) - 1].1;
        self.mentions.push(Mention { module: self.module.clone(), path, line, name });
    }

    /// Reads what comes after `use`, or one part of what is in its braces, to the end of that part.
    fn use_tree(&mut self, mut path: Path) {
        if self.peek(0) == "::" {
            path.push(String::new()); // a crate's name follows, which is no module
            self.at += 1;
        }
        loop {
            match self.next() {
                "{" => {
                    while self.peek(0) != "}" {
                        self.use_tree(path.clone());
                        self.at += usize::from(self.peek(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "self" if !path.is_empty() => {}
                segment => path.push(segment.into()),
            }
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        let name = if self.peek(0) == "as" {
            self.at += 2;
            self.tokens[self.at - 1].0.to_owned()
        } else {
            path[path.len() - 1].clone()
        };
        if name == "*" {
            path.pop();
        }
        self.mention(path, Some(name));
    }

    /// Reads a path such as `crate::error::Refusal`, to its last name.
    fn path_in_code(&mut self) {
        let mut path = vec![self.next().to_owned()];
        while self.peek(0) == "::" && is_identifier(self.peek(1)) {
            self.at += 1;
            path.push(self.next().to_owned());
        }
        if path.len() > 1 {
            self.mention(path, None);
        }
    }
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The modules of the crate and the paths that occur in them.
struct Tree {
    /// The file that defines each module.
    files: BTreeMap<Path, String>,
    /// The path that each name in a module stands for, where a `use` has brought it there.
    names: BTreeMap<(Path, String), Path>,
    mentions: Vec<Mention>,
}

impl Tree {
    fn of(sources: &[Source]) -> Self {
        let mut tree = Tree { files: BTreeMap::new(), names: BTreeMap::new(), mentions: Vec::new() };
        for source in sources {
            let module = module_of(&source.name);
            let (mentions, inner) = Parser::parse(source, module.clone());
            for module in [vec![module], inner].concat() {
                tree.files.insert(module, source.name.clone());
            }
            for mention in &mentions {
                if let Some(name) = mention.name.clone().filter(|name| name != "*" && name != "_") {
                    tree.names.insert((mention.module.clone(), name), mention.path.clone());
                }
            }
            tree.mentions.extend(mentions);
        }
        tree
    }

    /// Returns every import of one file from another, in order.
    fn imports(&self) -> BTreeSet<Import> {
        let found = self.mentions.iter().filter_map(|mention| {
            let path = self.absolute(&mention.module, &mention.path, 0)?;
            let (to, item) = self.definition(&path, 0)?;
            // A module that is only named is imported by the paths that begin with its name.
            let item = item.or_else(|| (mention.name.as_deref() == Some("*")).then(|| "*".into()))?;
            let from = self.files[&mention.module].clone();
            (from != to).then_some(Import { from, to, line: mention.line, item })
        });
        found.collect()
    }

    /// Returns the path from the crate's root, or `None` for a path that leads out of the crate or to a local item.
    fn absolute(&self, module: &[String], path: &[String], depth: usize) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let beginning = match first.as_str() {
            "crate" if module.first().is_some_and(|name| name == MAIN) => vec![MAIN.into()],
            "crate" => Vec::new(),
            "turnwheel" if module.first().is_some_and(|name| name == MAIN) => Vec::new(),
            "self" => module.to_vec(),
            "super" => {
                let (_, parent) = module.split_last()?;
                let ups = rest.iter().take_while(|name| *name == "super").count();
                let parent = &parent[..parent.len().checked_sub(ups)?];
                return Some([parent, &rest[ups..]].concat());
            }
            name => {
                let child = [module, &[name.to_owned()]].concat();
                if self.files.contains_key(&child) { child } else { self.imported(module, name, depth)? }
            }
        };
        Some([&beginning, rest].concat())
    }

    /// Returns the path that a name stands for which a `use` has brought into this module, or `None`.
    fn imported(&self, module: &[String], name: &str, depth: usize) -> Option<Path> {
        let path = self.names.get(&(module.to_vec(), name.to_owned()))?;
        // `use http::{self}` stands for itself.
        if depth > 8 { None } else { self.absolute(module, path, depth + 1) }
    }

    /// Returns the file that defines what the path leads to, and the item's name unless it is a module.
    fn definition(&self, path: &[String], depth: usize) -> Option<(String, Option<String>)> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let Some((item, rest)) = rest.split_first() else {
            return Some((self.files[module].clone(), None));
        };
        let elsewhere = self.imported(module, item, 0).filter(|_| depth < 8);
        if let Some(path) = elsewhere.filter(|origin| origin != path) {
            return self.definition(&[&path, rest].concat(), depth + 1);
        }
        Some((self.files[module].clone(), Some(item.clone())))
    }
}

/// Returns the module that a file of `src` defines.
fn module_of(file: &str) -> Path {
    match file {
        "lib.rs" => Vec::new(),
        "main.rs" => vec![MAIN.into()],
        _ => file.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').map(str::to_owned).collect(),
    }
}

/// Returns the imports of these files as `from:line → to item`.
fn imports_of(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<_> = files.iter().map(|(name, text)| Source::parse(name, text)).collect();
    let imports = imports_between(&sources);
    imports.iter().map(|i| format!("{}:{} → {} {}", i.from, i.line, i.to, i.item)).collect()
}

#[test]
fn nested_braces_aliases_and_several_lines_are_understood() {
    let user = "pub(crate) use crate::{\n    a::{self, b::{C, D as E}},\n    f::G,\n};\nuse std::io::{self, Read};\n\
                fn x() { io::stdin(); a::h(); E::new(); }\n";
    let files = [("a/mod.rs", ""), ("a/b.rs", ""), ("f.rs", ""), ("user.rs", user)];
    assert_eq!(
        imports_of(&files),
        [
            "user.rs:2 → a/b.rs C",
            "user.rs:2 → a/b.rs D",
            "user.rs:6 → a/b.rs D",
            "user.rs:6 → a/mod.rs h",
            "user.rs:3 → f.rs G",
        ]
    );
}

#[test]
fn a_re_exported_item_leads_to_the_file_that_defines_it() {
    let files = [
        ("a/mod.rs", "mod b;\npub use b::Item as Renamed;\nuse crate::d::Deep;\nfn own() {}\n"),
        ("a/b.rs", "use super::own;\nuse super::Deep;\n"),
        ("d.rs", "use crate::a::Renamed;\nfn e(e: crate::a::Renamed::Variant) {}\n"),
    ];
    assert_eq!(
        imports_of(&files),
        [
            "a/b.rs:1 → a/mod.rs own",
            "a/b.rs:2 → d.rs Deep",
            "a/mod.rs:2 → a/b.rs Item",
            "a/mod.rs:3 → d.rs Deep",
            "d.rs:1 → a/b.rs Item",
            "d.rs:2 → a/b.rs Item",
        ]
    );
}

#[test]
fn paths_are_relative_to_the_module_they_stand_in() {
    let files = [
        (
            "a/b/mod.rs",
            "mod c;\nmod inner { use super::super::super::e::F; }\nfn f() { c::g(); self::c::h() }\n",
        ),
        ("a/b/c.rs", "use super::super::x;\nuse super::super::super::e::*;\n"),
        ("a/mod.rs", "mod b;\n"),
        ("e.rs", ""),
        ("main.rs", "use turnwheel::e::Z;\nuse ::e::Not;\n"),
    ];
    assert_eq!(
        imports_of(&files),
        [
            "a/b/c.rs:1 → a/mod.rs x",
            "a/b/c.rs:2 → e.rs *",
            "a/b/mod.rs:3 → a/b/c.rs g",
            "a/b/mod.rs:3 → a/b/c.rs h",
            "a/b/mod.rs:2 → e.rs F",
            "main.rs:1 → e.rs Z",
        ]
    );
}

#[test]
fn what_is_no_import_is_left_out() {
    let text = "// use crate::e::A;\nuse http::Method;\nuse http::{self};\nfn f() -> impl Fn() + use<'_> { \"crate::e::B\"; \
                http::Uri::x(); e::C; <T as U>::e::D }\npub(in crate::e) fn g() {}\n#[cfg(test)]\nuse crate::e::E;\n";
    assert_eq!(imports_of(&[("a.rs", text), ("e.rs", "")]), ["a.rs:5 → e.rs g"; 0]);
}

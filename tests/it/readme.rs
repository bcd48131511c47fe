//! The README and the other documents agree with the program: links, file names, commands, `make` targets and examples.

use crate::admin_client::AdminClient;
use crate::bed::{Balancer, get, program};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

const MOST_WORDS: usize = 1000;
const LONGEST_LINE: usize = 120;

/// Pages that also describe other programs, and so name flags that turnwheel does not have.
const COMPARISONS: [&str; 3] = ["docs/comparison.md", "docs/side-by-side.md", "docs/lessons.md"];

/// A Markdown file, split into what is code and what is text.
struct Document {
    /// The path from the root of the repository.
    name: String,
    whole: String,
    /// Text without code blocks, with line ends.
    text: String,
    /// Code blocks, indented or fenced.
    blocks: Vec<Block>,
}

struct Block {
    /// The word after the opening fence; empty for an indented block.
    language: String,
    lines: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Document {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Document::parse(name, fs::read_to_string(path).unwrap())
    }

    fn parse(name: String, whole: String) -> Self {
        let (mut text, mut blocks): (String, Vec<Block>) = Default::default();
        let (mut fenced, mut indented) = (false, false);
        for line in whole.lines() {
            let fence = line.trim_start().strip_prefix("```");
            if let (Some(language), false) = (fence, fenced) {
                blocks.push(Block { language: language.trim().to_owned(), lines: vec![] });
            }
            let code = if fenced { Some(line) } else { line.strip_prefix("    ") };
            if fence.is_some() {
                fenced = !fenced;
                indented = false;
            } else if let Some(code) = code {
                if !fenced && !indented {
                    blocks.push(Block { language: String::new(), lines: vec![] });
                }
                indented = !fenced;
                blocks.last_mut().unwrap().lines.push(code.to_owned());
            } else {
                indented = false;
                text += line;
            }
            text.push('\n');
        }
        assert!(!fenced, "{name}: a fence is not closed");
        Document { name, whole, text, blocks }
    }

    /// Returns each piece of inline code, with line breaks replaced by spaces.
    fn inline_code(&self) -> Vec<String> {
        let paragraphs = self.text.split("\n\n");
        let spans = paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn code_lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.blocks.iter().flat_map(|block| &block.lines);
        lines.map(|line| line.trim().trim_start_matches("$ "))
    }

    /// Returns the text without inline code.
    fn prose(&self) -> String {
        let paragraphs = self
            .text
            .split("\n\n")
            .map(|paragraph| paragraph.split('`').step_by(2).collect::<Vec<_>>().join("code"));
        paragraphs.collect::<Vec<_>>().join("\n\n")
    }

    /// Returns the targets of links and images.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let between = |open: &str, close: char| -> Vec<String> {
            let rests = prose.split(open).skip(1);
            rests.filter_map(|rest| Some(rest.split_once(close)?.0.trim().to_owned())).collect()
        };
        [between("](", ')'), between("src=\"", '"'), between("srcset=\"", '"'), between("href=\"", '"')]
            .concat()
    }

    /// Returns the commands of this program in code blocks and inline code.
    fn commands(&self, program: &str) -> Vec<String> {
        let inline = self.inline_code();
        let all = self.code_lines().chain(inline.iter().map(String::as_str));
        let begin = all.filter(|line| line.strip_prefix(program).is_some_and(|rest| rest.starts_with(' ')));
        begin.map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect()
    }

    /// Returns the anchors of the page: the slugs that GitHub makes of headings, and ids.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen = BTreeMap::<String, usize>::new();
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        let slugs: Vec<_> = headings
            .map(|line| {
                let slug = slug(line.trim_start_matches('#'));
                let before = seen.entry(slug.clone()).or_default();
                *before += 1;
                if *before == 1 { slug } else { format!("{slug}-{}", *before - 1) }
            })
            .collect();
        slugs.into_iter().chain(ids(&self.text)).collect()
    }
}

/// Returns the anchor that GitHub makes of a heading.
fn slug(heading: &str) -> String {
    let mut pieces = heading.split('<');
    let first = pieces.next().unwrap_or_default().to_owned();
    let bare = pieces.fold(first, |text, piece| text + piece.split_once('>').map_or(piece, |(_, rest)| rest));
    let kept = bare.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

fn ids(text: &str) -> impl Iterator<Item = String> {
    text.split("id=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

fn readme() -> Document {
    Document::read(&root().join("README.md"))
}

/// Returns the documents in the root, in `docs` and in `deploy`.
fn documents() -> Vec<Document> {
    let files = ["", "docs", "deploy"].iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let all: Vec<_> = paths.iter().map(|path| Document::read(path)).collect();
    for name in ["README.md", "ARCHITECTURE.md", "deploy/README.md", "docs/operations.md", "docs/http.md"] {
        assert!(all.iter().any(|document| document.name == name), "{name} was not found");
    }
    all
}

/// Returns what is wrong with a link, or `None` if its target exists.
fn fault(from: &Document, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => root().join(&from.name),
        _ => root().join(&from.name).parent()?.join(path),
    };
    if !target.exists() {
        return Some("there is no such file".into());
    }
    let anchor = anchor?;
    let anchors = match target.extension()?.to_str()? {
        "md" => Document::read(&target.canonicalize().unwrap()).anchors(),
        "html" => ids(&fs::read_to_string(&target).unwrap()).collect(),
        _ => BTreeSet::new(),
    };
    (!anchors.contains(anchor)).then(|| format!("there is no such anchor; there are {anchors:?}"))
}

#[track_caller]
fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn the_readme_is_short_and_its_lines_fit() {
    let readme = readme();
    let words = readme.whole.split_whitespace().count();
    assert!(words <= MOST_WORDS, "{words} words, {MOST_WORDS} are the limit");
    let lines = readme.whole.lines().enumerate();
    let long: Vec<_> = lines
        .filter(|(_, line)| line.chars().count() > LONGEST_LINE)
        .map(|(at, line)| format!("README.md:{}: {line}", at + 1))
        .collect();
    none("more than 120 characters", &long);
    let rust = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"));
    let words: Vec<_> = readme.whole.split_whitespace().collect();
    assert!(words.join(" ").contains(rust), "the README names {rust}");
}

#[test]
fn links_lead_to_files_and_anchors_that_exist() {
    let (mut checked, mut faults) = (0, vec![]);
    for document in documents() {
        for link in document.links() {
            if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            checked += 1;
            faults.extend(fault(&document, &link).map(|fault| format!("{}: {link}: {fault}", document.name)));
        }
    }
    assert!(checked > 100, "only {checked} links were found");
    none("links that lead nowhere", &faults);
}

#[test]
fn files_that_are_named_exist() {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "docs/", "examples/", "deploy/", "compare/", "models/", "fuzz/", "browser/"];
    let is_path = |code: &str| {
        FOLDERS.iter().any(|folder| code.starts_with(folder))
            && code.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
    };
    let (mut checked, mut faults) = (0, vec![]);
    // The changelog names files that have been renamed since, and `compare/results/` exists only after a run.
    for document in documents().iter().filter(|document| document.name != "CHANGELOG.md") {
        for code in document.inline_code().iter().filter(|code| is_path(code)) {
            if code.starts_with("compare/results/") {
                continue;
            }
            checked += 1;
            if !root().join(code).exists() {
                faults.push(format!("{}: {code}", document.name));
            }
        }
    }
    assert!(checked > 20, "only {checked} paths were found");
    none("files that do not exist", &faults);
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .filter(|target| !target.is_empty() && target.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    let (mut checked, mut faults) = (0, vec![]);
    for document in documents() {
        for command in document.commands("make") {
            let named =
                command.split(' ').skip(1).filter(|word| !word.contains('=') && !word.starts_with('-'));
            for target in named.take(1) {
                checked += 1;
                if !targets.contains(target) {
                    faults.push(format!("{}: {command}", document.name));
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} make commands were found");
    none("targets that the Makefile does not have", &faults);
}

/// The flags of each command, with whether they take a value; from its `--help`.
struct Help(BTreeMap<String, BTreeMap<String, bool>>);

impl Help {
    fn read() -> Self {
        let mut commands = vec!["demo", "serve", "backend", "check", "reload"];
        commands.extend(cfg!(feature = "top").then_some("top"));
        Help(commands.into_iter().map(|command| (command.to_owned(), Help::flags(command))).collect())
    }

    fn flags(command: &str) -> BTreeMap<String, bool> {
        let help = text(program().args([command, "--help"]).output().unwrap());
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let flags = lines.filter_map(|line| {
            let flag = line.split([' ', ',']).find(|word| word.starts_with("--"))?;
            Some((flag.to_owned(), line.contains(&format!("{flag} <"))))
        });
        let flags: BTreeMap<_, _> = flags.chain([("--version".to_owned(), false)]).collect();
        assert!(flags.contains_key("--help"), "{command} --help was not understood: {help}");
        flags
    }

    /// Returns what is wrong with a command line, or `None`.
    fn fault(&self, command: &str) -> Option<String> {
        let mut words = command.split(' ').skip(1);
        let name = words.next()?;
        if name.starts_with("--") {
            return (!["--help", "--version"].contains(&name)).then(|| format!("no flag {name}"));
        }
        if name == "top" && !cfg!(feature = "top") {
            return None;
        }
        let Some(flags) = self.0.get(name) else { return Some(format!("no command {name}")) };
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let (flag, joined) = word.split_once('=').map_or((word, false), |(flag, _)| (flag, true));
            match flags.get(flag) {
                None => return Some(format!("{name} has no {flag}")),
                Some(true) if !joined && words.next_if(|value| !value.starts_with("--")).is_none() => {
                    return Some(format!("{flag} lacks its value"));
                }
                Some(false) if joined => return Some(format!("{flag} takes no value")),
                Some(_) => {}
            }
        }
        None
    }
}

fn text(output: Output) -> String {
    let said = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (said(output.stdout), said(output.stderr));
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{stdout}");
    stdout
}

/// Returns whether a line is output of `turnwheel top --once`, such as `turnwheel 0.1.0  ready`, and not a command.
fn is_output(line: &str) -> bool {
    line.trim_start_matches("turnwheel ").starts_with(|c: char| c.is_ascii_digit())
}

#[test]
fn commands_use_flags_that_exist() {
    let help = Help::read();
    let (mut checked, mut faults) = (0, vec![]);
    for document in documents() {
        for command in document.commands("turnwheel").iter().filter(|line| !is_output(line)) {
            checked += 1;
            let fault = help.fault(command);
            faults.extend(fault.map(|fault| format!("{}: {command}: {fault}", document.name)));
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
    none("commands that would be refused", &faults);
}

#[test]
fn flags_that_are_named_exist() {
    let known: BTreeSet<String> = Help::read().0.into_values().flat_map(BTreeMap::into_keys).collect();
    let own = |document: &&Document| !COMPARISONS.contains(&&*document.name);
    let (mut checked, mut faults) = (0, vec![]);
    for document in documents().iter().filter(own) {
        for code in document.inline_code() {
            let flag = code.split([' ', '=']).next().unwrap_or_default();
            if !flag.starts_with("--") || !cfg!(feature = "top") && ["--once", "--interval"].contains(&flag) {
                continue;
            }
            checked += 1;
            if !known.contains(flag) {
                faults.push(format!("{}: {code}", document.name));
            }
        }
    }
    assert!(checked > 50, "only {checked} flags were found");
    none("flags that no command has", &faults);
}

/// Replaces each port after a colon.
fn with_ports(text: &str, mut replace: impl FnMut(u16) -> u16) -> String {
    let mut pieces = text.split(':');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let port = piece[..digits].parse().ok().filter(|port: &u16| *port > 1000);
        out.push(':');
        out += &port.map_or(piece[..digits].to_owned(), |port| replace(port).to_string());
        out += &piece[digits..];
    }
    out
}

/// Runs the commands of the README from top to bottom, with ports from the kernel in place of those it names.
struct Reader {
    folder: TempDir,
    /// Ports from the kernel, by the port in the README.
    ports: BTreeMap<u16, u16>,
    running: Vec<Balancer>,
    /// The number of commands that have been run.
    followed: usize,
}

impl Reader {
    fn port(&mut self, named: u16) -> u16 {
        if let Some(port) = self.ports.get(&named) {
            return *port;
        }
        let backend = Balancer::demo_backend(&[]);
        let port = backend.addr.port();
        self.running.push(backend);
        self.ports.insert(named, port);
        port
    }

    /// Writes the configuration file to the name in its first line.
    fn write(&mut self, lines: &[String]) {
        let name = lines[0].trim_start_matches("# ");
        let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
        let mut text = String::new();
        for line in lines {
            let listens = ["listen", "admin"].iter().any(|key| line.starts_with(key));
            let line = with_ports(line, |port| if listens { 0 } else { self.port(port) });
            text += &if has_ipv6 { line } else { line.replace(", \"[::1]:0\"", "") };
            text.push('\n');
        }
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn run(&mut self, command: &str) {
        let mut words: Vec<_> = command.split(' ').skip(1).map(str::to_owned).collect();
        let listen = words.iter().position(|word| word == "--listen").map(|at| at + 1);
        let named = listen.map(|at| words[at].rsplit_once(':').unwrap().1.parse().unwrap());
        for (at, word) in words.iter_mut().enumerate() {
            *word = with_ports(word, |port| if Some(at) == listen { 0 } else { self.port(port) });
        }
        let mut program = program();
        program.current_dir(self.folder.path());
        match &*words[0] {
            "backend" | "serve" => {
                let mark = if words[0] == "serve" {
                    "Load balancer is listening on "
                } else {
                    "Backend is listening on "
                };
                let started = Balancer::spawn(program.args(&words), mark);
                self.ports.extend(named.map(|named| (named, started.addr.port())));
                self.running.push(started);
            }
            "check" => assert_eq!(text(program.args(&words).output().unwrap()), "turnwheel.toml is valid\n"),
            "top" if !cfg!(feature = "top") => {}
            "reload" | "top" => {
                let balancer = self.running.last().expect("a balancer runs");
                let admin = format!("--admin={}", AdminClient::of(balancer).addr);
                program.args(&words).arg(admin).args((words[0] == "top").then_some("--once"));
                let said = text(program.output().unwrap());
                let expected = if words[0] == "top" { "weighted-round-robin" } else { "reloaded: " };
                assert!(said.contains(expected), "{command}: {said}");
            }
            other => panic!("this test does not know how to run {other:?}"),
        }
        self.followed += 1;
    }

    fn curl(&mut self, url: &str) {
        let (_, port) = url.trim_end_matches('/').rsplit_once(':').unwrap();
        let port = self.ports[&port.parse().unwrap()];
        let replies: BTreeSet<_> =
            (0..4).map(|_| get(([127, 0, 0, 1], port).into(), "/").text().to_owned()).collect();
        assert_eq!(replies.len(), 2, "two backends take turns: {replies:?}");
        assert!(
            replies.iter().all(|reply| reply.starts_with("Hello from backend server on ")),
            "{replies:?}"
        );
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let readme = readme();
    let mut reader =
        Reader { folder: tempfile::tempdir().unwrap(), ports: BTreeMap::new(), running: vec![], followed: 0 };
    let mut expected = 0;
    for block in &readme.blocks {
        if block.language == "toml" {
            assert_eq!(block.lines.len(), 10, "the configuration file has ten lines");
            reader.write(&block.lines);
            continue;
        }
        for line in &block.lines {
            if line.starts_with("turnwheel") {
                expected += 1;
                reader.run(line);
            } else if let Some(url) = line.strip_prefix("curl ") {
                reader.curl(url);
            }
        }
    }
    let skipped = usize::from(!cfg!(feature = "top"));
    assert!(expected >= 7 && reader.followed + skipped >= expected, "{} of {expected}", reader.followed);
}

#[test]
fn the_demo_prints_and_answers_what_the_readme_says() {
    let readme = readme();
    let block = |first: &str| {
        let found = readme.blocks.iter().find(|block| block.lines[0].starts_with(first));
        found.unwrap_or_else(|| panic!("the README has no block that begins with {first:?}")).lines.join("\n")
            + "\n"
    };
    let flags = ["--listen=127.0.0.1:0", "--backend-port=0", "--backend-port=0", "--admin=off"];
    let demo = Balancer::start(&[&["demo"], &flags[..]].concat());
    let said = demo.stdout();
    let ports: Vec<u16> =
        said.lines().map(|line| line.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    let [first, second, front] = ports[..] else { panic!("three lines: {said}") };
    let actual = |port| BTreeMap::from([(8081, first), (8082, second), (8080, front)])[&port];
    assert_eq!(said, with_ports(&block("Backend is listening on "), actual));

    let command = block("for i in ");
    let (_, rest) = command.split_once(" in ").unwrap();
    let (numbers, rest) = rest.split_once("; do curl ").unwrap();
    assert_eq!(rest, "http://localhost:8080/; done\n");
    let replies: String = numbers.split(' ').map(|_| demo.get("/").text().to_owned()).collect();
    assert_eq!(replies, with_ports(&block("Hello from backend server on "), actual));

    let help = text(program().args(["demo", "--help"]).output().unwrap());
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for default in ["[default: 8081 and 8082]", "[default: 127.0.0.1:8080]", "[default: 127.0.0.1:8090]"] {
        assert!(help.contains(default), "the demo's ports are the README's: {default}\n{help}");
    }
}

#[test]
fn the_parser_of_these_tests_knows_text_from_code() {
    let page = "# A `b` C\n\nSee [it](x.md#y) and `turnwheel\ntop`.\n\n    make run # now\n\n## <a id=\"i\"></a>A b c\n\n\
        ```toml\na = '[n](o)'\n```\n";
    let document = Document::parse("page.md".into(), page.into());
    assert_eq!(document.links(), ["x.md#y"]);
    assert_eq!(
        (document.commands("turnwheel"), document.commands("make")),
        (vec!["turnwheel top".into()], vec!["make run".into()])
    );
    assert_eq!(document.anchors(), BTreeSet::from(["a-b-c".into(), "a-b-c-1".into(), "i".into()]));
    let languages: Vec<_> =
        document.blocks.iter().map(|block| (&*block.language, block.lines.len())).collect();
    assert_eq!(languages, [("", 1), ("toml", 1)]);
    assert_eq!(with_ports("a:8080 [::1]:9 b:70000:1234", |port| port + 1), "a:8081 [::1]:9 b:70000:1235");
}

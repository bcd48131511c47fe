//! What an expression in PromQL asks for, held against what there is on a page of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that Prometheus gives to each series it reads.
const ITS_OWN: [&str; 2] = ["job", "instance"];

/// Words that are followed by labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words that are no names of series. A function is known by its parenthesis.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// A label whose values are all on the page from the start.
const CLOSED: &str = "reason";

type Labels = BTreeSet<String>;

/// The series of a page.
pub struct Known {
    /// By the name as it is asked for, `_bucket` and the like with it: the labels, and whether it only grows.
    series: BTreeMap<String, (Labels, bool)>,
    /// The values of [`CLOSED`].
    closed: BTreeSet<String>,
}

/// A piece of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    /// A name, a number, a duration, a variable of Grafana's.
    Word(&'a str),
    /// What is between quotes.
    Text(&'a str),
    Sign(char),
}
use Token::{Sign, Text, Word};

impl Known {
    /// What is on this page, and `up`, which Prometheus adds.
    pub fn on(page: &str) -> Self {
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types: BTreeMap<_, _> = types.collect();
        let own: Labels = ITS_OWN.map(String::from).into();
        let mut known = Known { series: BTreeMap::new(), closed: BTreeSet::new() };
        known.series.insert("up".into(), (own.clone(), false));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let tokens = tokens(line);
            let Some(Word(name)) = tokens.first() else { panic!("no series: {line}") };
            let labels = matchers(&tokens, 1);
            let found = labels.iter().filter(|(label, ..)| *label == CLOSED).map(|(.., value)| value);
            known.closed.extend(found.map(ToString::to_string));
            let (all, _) = known
                .series
                .entry(name.to_string())
                .or_insert_with(|| (own.clone(), types.get(name) != Some(&"gauge")));
            all.extend(labels.iter().map(|(label, ..)| label.to_string()));
        }
        known
    }

    /// Is there a series, or a histogram, of this name?
    pub fn has(&self, name: &str) -> bool {
        self.series.contains_key(name) || self.series.contains_key(&format!("{name}_count"))
    }

    /// All that this expression asks for and there is not.
    pub fn complaints(&self, expr: &str) -> Vec<String> {
        let tokens = tokens(expr);
        let mut complaints = Vec::new();
        let mut complain = |what: String| complaints.push(format!("{what}: {expr}"));
        for (at, name) in names(&tokens) {
            let Some((labels, grows)) = self.series.get(name) else {
                complain(format!("there is no {name}"));
                continue;
            };
            let is_rate = at > 1 && matches!(tokens[at - 2], Word("rate" | "increase"));
            if *grows != is_rate {
                complain(format!("rate() is for what only grows, and {name} is asked for otherwise"));
            }
            for (label, is, value) in matchers(&tokens, at + 1) {
                if !labels.contains(label) {
                    complain(format!("{name} has no label {label}"));
                } else if label == CLOSED && is {
                    let missing = value.split('|').filter(|one| !self.closed.contains(*one));
                    missing.for_each(|one| complain(format!("there is no {CLOSED} {one}")));
                }
            }
        }
        let all = self.labels(&tokens);
        let strange = grouped(&tokens, &GROUPING).into_iter().filter(|label| !all.contains(*label));
        strange.for_each(|label| complain(format!("nothing there has a label {label}")));
        complaints
    }

    /// The labels that a result has: what it is grouped by, or all.
    pub fn result_labels(&self, expr: &str) -> Labels {
        let tokens = tokens(expr);
        let by = grouped(&tokens, &["by"]);
        if by.is_empty() {
            return self.labels(&tokens);
        }
        by.into_iter().map(String::from).collect()
    }

    fn labels(&self, tokens: &[Token<'_>]) -> Labels {
        let known = names(tokens).into_iter().filter_map(|(_, name)| self.series.get(name));
        known.flat_map(|(labels, _)| labels.clone()).collect()
    }
}

fn tokens(mut rest: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || "_:.$".contains(c);
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            let end = rest[1..].find('"').unwrap_or_else(|| panic!("a text does not end: {rest}"));
            tokens.push(Text(&rest[1..=end]));
            end + 2
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Word(&rest[..end]));
            end
        } else {
            if !first.is_whitespace() {
                tokens.push(Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The series that are asked for, and where.
fn names<'a>(tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    let mut within = None; // the sign that ends what names no series
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            Sign(sign) if within == Some(sign) => within = None,
            _ if within.is_some() => {}
            Sign('{') => within = Some('}'),
            Sign('[') => within = Some(']'),
            Word(word) if GROUPING.contains(&word) => within = Some(')'),
            Word(word) if word.starts_with(|c: char| c.is_ascii_digit()) || OPERATORS.contains(&word) => {}
            Word(_) if matches!(tokens.get(at + 1), Some(Sign('(') | Word("by" | "without"))) => {} // a function
            Word(word) => names.push((at, word)),
            _ => {}
        }
    }
    names
}

/// The labels in the braces that begin here, if any do; whether each is to be something, or not to be it; and that.
fn matchers<'a>(tokens: &[Token<'a>], at: usize) -> Vec<(&'a str, bool, &'a str)> {
    if tokens.get(at) != Some(&Sign('{')) {
        return Vec::new();
    }
    let inside: Vec<_> = tokens[at + 1..].iter().take_while(|token| **token != Sign('}')).collect();
    let pairs = inside.split(|token| **token == Sign(',')).filter(|pair| !pair.is_empty());
    let read = |pair: &[&Token<'a>]| match pair {
        [Word(label), Sign(sign), .., Text(value)] => (*label, *sign == '=', *value),
        _ => panic!("no label: {pair:?}"),
    };
    pairs.map(read).collect()
}

/// The labels in the parentheses after these words.
fn grouped<'a>(tokens: &[Token<'a>], words: &[&str]) -> Vec<&'a str> {
    let mut labels = Vec::new();
    for at in 0..tokens.len() {
        if matches!(tokens[at], Word(word) if words.contains(&word)) {
            let inside = tokens[at + 1..].iter().take_while(|token| **token != Sign(')'));
            labels
                .extend(inside.filter_map(|token| if let Word(label) = token { Some(*label) } else { None }));
        }
    }
    labels
}

const PAGE: &str = r#"# TYPE turnwheel_requests_total counter
turnwheel_requests_total{backend="127.0.0.1:1",status="200"} 3
# TYPE turnwheel_rejected_total counter
turnwheel_rejected_total{reason="queue_full"} 0
# TYPE turnwheel_wait_seconds histogram
turnwheel_wait_seconds_bucket{le="+Inf"} 3
turnwheel_wait_seconds_count 3
# TYPE turnwheel_workers gauge
turnwheel_workers 64
"#;

#[test]
fn what_is_there_may_be_asked_for() {
    let known = Known::on(PAGE);
    for expr in [
        r#"sum by (backend) (rate(turnwheel_requests_total{job=~"$job",status=~"5.."}[$__rate_interval])) > 0.5"#,
        "histogram_quantile(0.99, sum by (job, instance, le) (rate(turnwheel_wait_seconds_bucket[5m]))) > 1e3",
        r#"turnwheel_workers unless on (job, instance) up{job="x"} == 1 or absent(up{job="x"})"#,
        r#"increase(turnwheel_rejected_total{reason=~"queue_full",reason!="whatever"}[5m]) or vector(0)"#,
    ] {
        assert_eq!(known.complaints(expr), [""; 0]);
    }
    let labels = |expr| known.result_labels(expr).into_iter().collect::<Vec<_>>();
    assert_eq!(labels("sum by (backend) (rate(turnwheel_requests_total[5m]))"), ["backend"]);
    assert_eq!(labels("rate(turnwheel_requests_total[5m])"), ["backend", "instance", "job", "status"]);
}

#[test]
fn what_is_not_there_is_found() {
    let known = Known::on(PAGE);
    for (expr, complaint) in [
        ("rate(turnwheel_request_total[5m])", "there is no turnwheel_request_total"),
        ("sum(rate(turnweel_requests_total[5m]))", "there is no turnweel_requests_total"),
        ("rate(turnwheel_wait_seconds[5m])", "there is no turnwheel_wait_seconds"),
        ("rate(turnwheel_workers_bucket[5m])", "there is no turnwheel_workers_bucket"),
        (r#"turnwheel_workers{backend="a"}"#, "turnwheel_workers has no label backend"),
        (
            r#"rate(turnwheel_requests_total{job="a",code=~"5.."}[5m])"#,
            "turnwheel_requests_total has no label code",
        ),
        (r#"rate(turnwheel_wait_seconds_count{le="1"}[5m])"#, "turnwheel_wait_seconds_count has no label le"),
        ("sum by (backends) (rate(turnwheel_requests_total[5m]))", "nothing there has a label backends"),
        ("sum(turnwheel_workers) by (le)", "nothing there has a label le"),
        ("turnwheel_workers / on (instanc) turnwheel_workers", "nothing there has a label instanc"),
        (r#"rate(turnwheel_rejected_total{reason=~"queue_full|ful"}[5m])"#, "there is no reason ful"),
        ("rate(turnwheel_workers[5m])", "rate() is for what only grows"),
        ("sum(turnwheel_requests_total)", "rate() is for what only grows"),
    ] {
        let complaints = known.complaints(expr);
        assert!(complaints.len() == 1 && complaints[0].starts_with(complaint), "{expr}: {complaints:#?}");
    }
}

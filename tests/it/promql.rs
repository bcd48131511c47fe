//! Checks the series, labels and reasons of a PromQL expression against an answer of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

/// The labels that Prometheus adds to each series of a target.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// The keywords that are followed by labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Other keywords, which are not series. A function is recognised by its parenthesis.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The label whose values are all exported from the start.
const ENUM_LABEL: &str = "reason";

type Labels = BTreeSet<String>;

/// The series of an answer of `/metrics`.
pub struct KnownSeries {
    /// The labels of each series and whether it is a counter, by the name in queries (with `_bucket` and the like).
    series: BTreeMap<String, (Labels, bool)>,
    /// The values of [`ENUM_LABEL`].
    enum_values: BTreeSet<String>,
}

/// A token of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    /// A name, a number, a duration or a Grafana variable.
    Word(&'a str),
    /// A string, without its quotes.
    Text(&'a str),
    Sign(char),
}
use Token::{Sign, Text, Word};

impl KnownSeries {
    /// Returns the series of an answer, and `up`, which Prometheus adds.
    pub fn on(page: &str) -> Self {
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types: BTreeMap<_, _> = types.collect();
        let own: Labels = TARGET_LABELS.map(String::from).into();
        let mut known = KnownSeries { series: BTreeMap::new(), enum_values: BTreeSet::new() };
        known.series.insert("up".into(), (own.clone(), false));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let tokens = tokens(line);
            let Some(Word(name)) = tokens.first() else { panic!("not a series: {line}") };
            let labels = matchers(&tokens, 1);
            let found = labels.iter().filter(|(label, ..)| *label == ENUM_LABEL).map(|(.., value)| value);
            known.enum_values.extend(found.map(ToString::to_string));
            let (all, _) = known
                .series
                .entry(name.to_string())
                .or_insert_with(|| (own.clone(), types.get(name) != Some(&"gauge")));
            all.extend(labels.iter().map(|(label, ..)| label.to_string()));
        }
        known
    }

    /// Returns whether there is a series or a histogram of this name.
    pub fn has(&self, name: &str) -> bool {
        self.series.contains_key(name) || self.series.contains_key(&format!("{name}_count"))
    }

    /// Returns one message for each mistake in the expression.
    pub fn complaints(&self, expr: &str) -> Vec<String> {
        let tokens = tokens(expr);
        let mut complaints = Vec::new();
        let mut complain = |what: String| complaints.push(format!("{what}: {expr}"));
        for (at, name) in names(&tokens) {
            let Some((labels, is_counter)) = self.series.get(name) else {
                complain(format!("unknown series {name}"));
                continue;
            };
            let is_rate = at > 1 && matches!(tokens[at - 2], Word("rate" | "increase"));
            if *is_counter != is_rate {
                complain(format!("rate() belongs to counters and to no other series: {name}"));
            }
            for (label, is_equal, value) in matchers(&tokens, at + 1) {
                if !labels.contains(label) {
                    complain(format!("{name} has no label {label}"));
                } else if label == ENUM_LABEL && is_equal {
                    let missing = value.split('|').filter(|one| !self.enum_values.contains(*one));
                    missing.for_each(|one| complain(format!("unknown {ENUM_LABEL} {one}")));
                }
            }
        }
        let all = self.labels(&tokens);
        let unknown = grouped(&tokens, &GROUPING).into_iter().filter(|label| !all.contains(*label));
        unknown.for_each(|label| complain(format!("no series has a label {label}")));
        complaints
    }

    /// Returns the labels of the result: the ones that it is grouped by, or all.
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
            let end = rest[1..].find('"').unwrap_or_else(|| panic!("unterminated string: {rest}"));
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

/// Returns the series that are selected, each with the index of its token.
fn names<'a>(tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    let mut within = None; // the sign that ends a part without series
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

/// Returns the matchers in the braces at this index: the label, whether it is `=` or `=~`, and the value. Without braces there are none.
fn matchers<'a>(tokens: &[Token<'a>], at: usize) -> Vec<(&'a str, bool, &'a str)> {
    if tokens.get(at) != Some(&Sign('{')) {
        return Vec::new();
    }
    let inside: Vec<_> = tokens[at + 1..].iter().take_while(|token| **token != Sign('}')).collect();
    let pairs = inside.split(|token| **token == Sign(',')).filter(|pair| !pair.is_empty());
    let read = |pair: &[&Token<'a>]| match pair {
        [Word(label), Sign(sign), .., Text(value)] => (*label, *sign == '=', *value),
        _ => panic!("not a matcher: {pair:?}"),
    };
    pairs.map(read).collect()
}

/// Returns the labels in the parentheses after these keywords.
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
fn accepts_expressions_over_known_series() {
    let known = KnownSeries::on(PAGE);
    for expr in [
        r#"sum by (backend) (rate(turnwheel_requests_total{job=~"$job",status=~"5.."}[$__rate_interval])) > 0.5"#,
        "histogram_quantile(0.99, sum by (job, instance, le) (rate(turnwheel_wait_seconds_bucket[5m]))) > 1e3",
        r#"turnwheel_workers unless on (job, instance) up{job="x"} == 1 or absent(up{job="x"})"#,
        r#"increase(turnwheel_rejected_total{reason=~"queue_full",reason!="other"}[5m]) or vector(0)"#,
    ] {
        assert_eq!(known.complaints(expr), [""; 0]);
    }
    let labels = |expr| known.result_labels(expr).into_iter().collect::<Vec<_>>();
    assert_eq!(labels("sum by (backend) (rate(turnwheel_requests_total[5m]))"), ["backend"]);
    assert_eq!(labels("rate(turnwheel_requests_total[5m])"), ["backend", "instance", "job", "status"]);
}

#[test]
fn reports_each_kind_of_mistake() {
    let known = KnownSeries::on(PAGE);
    for (expr, complaint) in [
        ("rate(turnwheel_request_total[5m])", "unknown series turnwheel_request_total"),
        ("sum(rate(turnweel_requests_total[5m]))", "unknown series turnweel_requests_total"),
        ("rate(turnwheel_wait_seconds[5m])", "unknown series turnwheel_wait_seconds"),
        ("rate(turnwheel_workers_bucket[5m])", "unknown series turnwheel_workers_bucket"),
        (r#"turnwheel_workers{backend="a"}"#, "turnwheel_workers has no label backend"),
        (
            r#"rate(turnwheel_requests_total{job="a",code=~"5.."}[5m])"#,
            "turnwheel_requests_total has no label code",
        ),
        (r#"rate(turnwheel_wait_seconds_count{le="1"}[5m])"#, "turnwheel_wait_seconds_count has no label le"),
        ("sum by (backends) (rate(turnwheel_requests_total[5m]))", "no series has a label backends"),
        ("sum(turnwheel_workers) by (le)", "no series has a label le"),
        ("turnwheel_workers / on (instanc) turnwheel_workers", "no series has a label instanc"),
        (r#"rate(turnwheel_rejected_total{reason=~"queue_full|ful"}[5m])"#, "unknown reason ful"),
        ("rate(turnwheel_workers[5m])", "rate() belongs to counters"),
        ("sum(turnwheel_requests_total)", "rate() belongs to counters"),
    ] {
        let complaints = known.complaints(expr);
        assert!(complaints.len() == 1 && complaints[0].starts_with(complaint), "{expr}: {complaints:#?}");
    }
}

//! Checks the queries in `deploy/` and `docs/observability.md` against the metrics of a balancer, and the dashboard's form.

use crate::bed::is_tiny;
use crate::prometheus::Site;
use crate::promql::KnownSeries;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A variable that Grafana itself defines.
const BUILTIN_VARIABLE: &str = "__rate_interval";

/// An expression, and the labels of its result that are shown.
pub struct Query {
    /// The file and the panel, variable, alert or question.
    pub place: String,
    pub expr: String,
    /// The labels that the legend or the annotations name.
    pub shown: BTreeSet<String>,
}

/// Returns the path of a file of the repository.
pub fn path_of(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Returns the text of a file of the repository.
pub fn text_of(file: &str) -> String {
    fs::read_to_string(path_of(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&text_of("deploy/grafana/dashboard.json")).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn words<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

/// Returns the names that follow the mark in the text.
fn names_after(text: &str, mark: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    text.split(mark).skip(1).map(name).collect()
}

/// Returns the panels without the headings.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// Returns the queries of the dashboard's panels.
pub fn dashboard_queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        for target in list(panel, "targets") {
            let place = format!("dashboard.json: {}", words(panel, "title"));
            let shown = names_after(words(target, "legendFormat"), "{{");
            queries.push(Query { place, expr: words(target, "expr").into(), shown });
        }
    }
    queries
}

/// Returns the queries of the dashboard's variables: the series, and the label whose values are offered.
pub fn dashboard_variables() -> Vec<Query> {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list").iter().filter(|one| one["type"] == "query");
    let read = |variable: &Value| {
        let query = words(&variable["query"], "query");
        assert_eq!(words(variable, "definition"), query);
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (expr, label) = inside.and_then(|inside| inside.rsplit_once(", ")).unwrap();
        let place = format!("dashboard.json: ${}", words(variable, "name"));
        Query { place, expr: expr.into(), shown: [label.to_owned()].into() }
    };
    variables.map(read).collect()
}

/// Returns the conditions of the alerts. An expression may continue on more deeply indented lines.
pub fn alerts() -> Vec<Query> {
    let text = text_of("deploy/prometheus/alerts.yml");
    let rules: Vec<_> = text.split("- alert: ").skip(1).collect();
    let read = |rule: &&str| {
        let (before, rest) = rule.split_once("expr:").unwrap_or_else(|| panic!("no expr: {rule}"));
        let (first, rest) = rest.split_once('\n').unwrap();
        let indent = before.len() - before.trim_end_matches(' ').len();
        let deeper =
            rest.lines().take_while(|line| line.len() - line.trim_start().len() > indent).map(str::trim);
        let first = Some(first.trim()).filter(|first| *first != ">-");
        let expr = first.into_iter().chain(deeper).collect::<Vec<_>>().join(" ");
        let shown = names_after(rule, "$labels.");
        Query { place: rule.lines().next().unwrap().into(), expr, shown }
    };
    rules.iter().map(read).collect()
}

/// Returns the expressions that answer the three questions of `docs/observability.md`.
pub fn documented_queries() -> Vec<Query> {
    let page = text_of("docs/observability.md");
    let (_, section) = page.split_once("\n## Three questions\n").expect("the page has three questions");
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```promql\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let read = |(n, block): (usize, &str)| Query {
        place: format!("observability.md: question {}", n + 1),
        expr: block.split_whitespace().collect::<Vec<_>>().join(" "),
        shown: BTreeSet::new(),
    };
    blocks.enumerate().map(read).collect()
}

/// Returns an answer of `/metrics` after requests of all kinds.
fn metrics_text() -> String {
    let mut site = Site::new(&[]);
    site.traffic();
    site.operator.ask("GET /metrics", "").text().to_owned()
}

#[test]
fn every_query_asks_for_exported_series_and_labels() {
    let known = KnownSeries::on(&metrics_text());
    let [panels, variables, alerts, answers] =
        [dashboard_queries(), dashboard_variables(), alerts(), documented_queries()];
    let counts = [panels.len(), variables.len(), alerts.len(), answers.len()];
    assert!(counts[0] > 20 && counts[1..] == [3, 8, 3], "queries are missing: {counts:?}");
    for query in [panels, variables, alerts, answers].iter().flatten() {
        let mut complaints = known.complaints(&query.expr);
        // tiny_http does not count them.
        complaints.retain(|text| !(is_tiny() && text.contains("turnwheel_connections")));
        assert!(complaints.is_empty(), "{}: {complaints:#?}", query.place);
        let labels = known.result_labels(&query.expr);
        let missing: Vec<_> = query.shown.difference(&labels).collect();
        assert!(missing.is_empty(), "{} shows {missing:?}", query.place);
    }
}

#[test]
fn every_metric_in_the_documents_is_exported() {
    let known = KnownSeries::on(&metrics_text());
    for file in ["README.md", "docs/observability.md", "deploy/README.md", "deploy/prometheus/alerts.yml"] {
        let names = names_after(&text_of(file), "turnwheel_");
        let names = names.iter().map(|name| format!("turnwheel_{name}"));
        let missing: Vec<_> = names.filter(|name| !known.has(name)).collect();
        assert!(
            missing.is_empty() || is_tiny() && missing == ["turnwheel_connections"],
            "{file}: {missing:?}"
        );
    }
}

#[test]
fn every_alert_has_a_summary_an_action_and_a_test() {
    let text = text_of("deploy/prometheus/alerts.yml");
    for rule in text.split("- alert: ").skip(1) {
        for key in ["expr:", "for:", "labels: { severity: ", "annotations:", "summary:", "action:"] {
            let lines = rule.lines().filter(|line| line.trim_start().starts_with(key));
            assert_eq!(lines.count(), 1, "{key} of {rule}");
        }
    }
    let tests = text_of("deploy/prometheus/alerts_test.yml");
    for alert in alerts() {
        let fires = format!("alertname=\"{}\",alertstate=\"firing\"", alert.place);
        assert!(tests.contains(&fires), "no test for the alert {}", alert.place);
    }
}

#[test]
fn every_panel_has_a_title_a_description_and_a_unit() {
    let dashboard = dashboard();
    let all = list(&dashboard, "panels");
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "two panels have the same id");
    assert!(panels(&dashboard).count() > 15);
    for panel in panels(&dashboard) {
        words(panel, "title");
        assert!(words(panel, "description").ends_with(['.', ')']), "{panel:#}");
        let options = if panel["type"] == "heatmap" {
            &panel["options"]["yAxis"]
        } else {
            &panel["fieldConfig"]["defaults"]
        };
        words(options, "unit");
        let targets = list(panel, "targets");
        let names: BTreeSet<_> = targets.iter().map(|target| words(target, "refId")).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{panel:#}");
        for part in targets.iter().chain([panel]) {
            assert_eq!(part["datasource"]["uid"], "${datasource}", "{part:#}");
        }
    }
    all.iter().for_each(|row| _ = words(row, "title"));
}

#[test]
fn panels_do_not_overlap() {
    let dashboard = dashboard();
    let mut taken = BTreeMap::new();
    for panel in list(&dashboard, "panels") {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{panel:#}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let before = taken.insert(place, words(panel, "title"));
            assert_eq!(before, None, "{}", panel["title"]);
        }
    }
}

#[test]
fn every_variable_is_defined() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list").iter();
    let mut known: BTreeSet<_> = variables.map(|one| words(one, "name").to_owned()).collect();
    for name in ["datasource", "job", "instance", "backend"] {
        assert!(known.contains(name), "no variable ${name}");
    }
    known.insert(BUILTIN_VARIABLE.into());
    for query in dashboard_queries().iter().chain(&dashboard_variables()) {
        let used = names_after(&query.expr, "$");
        let missing: Vec<_> = used.difference(&known).collect();
        assert!(
            missing.is_empty() && used.contains("job") == (query.place != "dashboard.json: $job"),
            "{missing:?}: {}",
            query.expr
        );
    }
    for datasource in text_of("deploy/grafana/dashboard.json").split("\"uid\": ").skip(1) {
        let is_known = ["\"${datasource}\"", "\"-- Grafana --\"", "\"turnwheel\""];
        assert!(is_known.iter().any(|one| datasource.starts_with(one)), "{}", &datasource[..40]);
    }
}

//! Tests of the reports on an invented run with every cell of the plan.

use super::*;
use crate::cell::{Arrivals, Background, Cell, Delay};
use crate::plan;
use crate::results::{Header, Latency, Load, Machine, Measurement, Settings, Usage};
use crate::variant::Variant;
use std::collections::BTreeSet;

/// Returns a run without Caddy, and without HAProxy in the base cell; threads has errors under overload, and
/// async-one violates Little's law.
fn made_up(quick: bool) -> Run {
    let machine = Machine {
        processor: "Example_Core 9 | *fast*".into(),
        processors: 8,
        memory_mib: 32_768,
        kernel: "Linux 6.1.0".into(),
        rustc: "rustc 1.95.0".into(),
        load_average: 0.12,
    };
    let settings = Settings { quick, rounds: 3, warm_up_ms: 1000, window_ms: 5000 };
    let variants = Variant::ALL.into_iter().filter(|variant| *variant != Variant::Caddy);
    let versions = variants.clone().map(|variant| (variant, "1.2.3".into())).collect();
    let header = Header {
        begun: "2026-01-02T03:04:05Z".into(),
        fingerprint: String::new(),
        commit: "abc1234".into(),
        machine,
        settings,
        variants: versions,
        left_out: [(Variant::Caddy, "not installed".into())].into(),
        cross_check: None,
        calls_counted_with: Some("strace".into()),
    };
    let mut measurements = Vec::new();
    for (cell, only) in plan::cells(&plan::questions(quick)) {
        let is_here = |variant: &Variant| {
            (only.is_empty() || only.contains(variant)) && (cell.id != "base" || *variant != Variant::Haproxy)
        };
        for variant in variants.clone().filter(is_here) {
            measurements.extend((0..=3).map(|round| measurement(&cell, variant, round)));
        }
    }
    Run { header, measurements }
}

fn measurement(cell: &Cell, variant: Variant, round: u32) -> Measurement {
    let place = Variant::ALL.iter().position(|one| *one == variant).unwrap_or_default() as f64;
    let wobble = 1.0 + (f64::from(round) - 2.0) * 0.03;
    let busy = cell.connections as f64;
    let delay = match cell.delay {
        Delay::None => 0.0,
        Delay::Fixed(delay) | Delay::Bimodal(delay, _) => delay.as_secs_f64(),
    };
    let ability = (70_000.0 / (1.0 + place * 0.35)) * wobble / (1.0 + cell.body as f64 / 200_000.0);
    let rate = ability.min(busy / (delay + 0.0002));
    let p50 = (busy / rate * 1e6).max(40.0);
    let idle = if let Background::Idle(count) = cell.background { count as f64 } else { 0.0 };
    let fails = cell.id == "overload" && variant == Variant::Threads && round == 2;
    let errors = [("connect".to_owned(), 12), ("status-503".to_owned(), 4)];
    let errors = errors.into_iter().filter(|_| fails).collect();
    let is_closed = cell.arrivals == Arrivals::Closed;
    let violates = cell.id == "base" && variant == Variant::AsyncOne;
    let load = Load {
        seconds: 5.0,
        good: (rate * 5.0) as u64,
        bytes: (rate * 5.0) as u64 * cell.body as u64,
        latency: Latency {
            mean: p50,
            p50,
            p90: p50 * 1.4,
            p99: p50 * (2.0 + place),
            p999: p50 * 9.0,
            max: p50 * 30.0,
        },
        errors,
        connections: cell.connections as u64,
        fewest: (rate * 4.5 / busy) as u64,
        most: (rate * 5.5 / busy) as u64,
        nothing: u64::from(fails),
        little: is_closed.then_some(if violates { 1.12 } else { 1.003 }),
        offered: (!is_closed).then_some(rate * 0.9),
        unanswered: (!is_closed).then_some(7),
        replies_ever: (rate * 6.0) as u64,
    };
    let usage = (variant != Variant::Direct).then(|| Usage {
        processor: 5.0 * (0.5 + place * 0.1),
        switches: (rate * 6.0 * (0.3 + place * 0.2)) as u64,
        memory_kib: (3000.0 + place * 4000.0 + idle * (1.0 + place * 3.0)) as u64,
        threads: 1 + (place * 20.0) as u64,
        calls: (round == 0).then_some((rate * 6.0 * 4.0) as u64),
    });
    Measurement { cell: cell.id.clone(), variant, round, load, usage }
}

fn written(run: &Run) -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    write(run, folder.path()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (markdown, html) = (read("comparison.md"), read("comparison.html"));
    (folder, markdown, html)
}

/// Returns every part of `text` between two markers.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect()
}

fn plots(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder.join(document::PLOTS)).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_link_has_a_target_and_every_target_is_unique() {
    for quick in [false, true] {
        let (folder, markdown, html) = written(&made_up(quick));
        for (text, link, id) in [(&markdown, ("](#", ")"), "<a id=\""), (&html, ("href=\"#", "\""), " id=\"")]
        {
            let targets = between(text, id, "\"");
            let known: BTreeSet<_> = targets.iter().collect();
            assert_eq!(known.len(), targets.len(), "{targets:?}");
            let links = between(text, link.0, link.1);
            assert!(links.len() > 30);
            assert!(links.iter().all(|link| known.contains(link)), "{links:?} {known:?}");
        }
        let shown: BTreeSet<String> =
            between(&markdown, "](comparison/", ")").into_iter().map(Into::into).collect();
        assert_eq!(shown, plots(folder.path()));
    }
}

#[test]
fn every_plot_is_well_formed() {
    let (folder, _, html) = written(&made_up(false));
    assert_eq!(plots(folder.path()).len(), 5);
    for plot in plots(folder.path()) {
        let svg = fs::read_to_string(folder.path().join(document::PLOTS).join(&plot)).unwrap();
        assert!(
            roxmltree::Document::parse(&svg)
                .is_ok_and(|svg| svg.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg"))),
            "{plot}"
        );
        assert!(html.contains(svg.trim()), "{plot} is in the page");
    }
}

#[test]
fn a_quick_run_removes_the_plots_of_an_earlier_full_run() {
    let (folder, ..) = written(&made_up(false));
    assert!(plots(folder.path()).contains("latency.svg"));
    write(&made_up(true), folder.path()).unwrap();
    let expected = ["cost.svg", "memory.svg", "p99.svg", "throughput.svg"].map(String::from);
    assert_eq!(plots(folder.path()), BTreeSet::from(expected));
}

#[test]
fn the_html_page_has_no_external_resources() {
    let (_, _, html) = written(&made_up(false));
    for outside in ["<script", "<link", "src=", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn both_pages_show_every_cell_and_its_figures() {
    let run = made_up(false);
    let (_, markdown, html) = written(&run);
    for (cell, _) in plan::cells(&plan::questions(false)) {
        assert_eq!(markdown.matches(&format!("### <a id=\"{}\"></a>", cell.id)).count(), 1, "{}", cell.id);
        assert_eq!(html.matches(&format!("<h3 id=\"{}\">", cell.id)).count(), 1, "{}", cell.id);
    }
    for page in [markdown.replace('\\', ""), html] {
        for value in [
            "Example_Core 9 | *fast*",
            "32,768 MiB",
            "abc1234",
            "2026-01-02T03:04:05Z",
            "1.2.3",
            "not installed",
            "strace",
        ] {
            assert!(page.contains(value), "{value}");
        }
        for value in
            ["connect 12, status-503 4", "1.12 violated", "parked over async", "did not hold", "70,000"]
        {
            assert!(page.contains(value), "{value}");
        }
    }
}

#[test]
fn a_variant_that_was_not_measured_has_no_row() {
    let (_, markdown, _) = written(&made_up(false));
    let base =
        markdown.split("### <a id=\"base\"></a>").nth(1).and_then(|rest| rest.split("###").next()).unwrap();
    assert!(base.contains("\n| nginx |"));
    assert!(!base.contains("\n| haproxy |"));
    assert_eq!(markdown.matches("\n| caddy |").count(), 1, "among what was left out, and nowhere else");
}

#[test]
fn writes_a_report_without_any_measurement() {
    let run = Run { measurements: Vec::new(), ..made_up(false) };
    let (folder, markdown, _) = written(&run);
    assert!(markdown.contains("Not measured in this run."));
    assert_eq!(plots(folder.path()), BTreeSet::new());
}

#[test]
fn writes_a_report_without_any_good_reply() {
    let mut run = made_up(false);
    run.measurements.retain(|one| one.variant != Variant::Direct || one.cell == "connections-8");
    for measurement in &mut run.measurements {
        measurement.load = Load { seconds: 5.0, ..Load::default() };
        measurement.usage.iter_mut().for_each(|usage| usage.memory_kib = 0);
    }
    let (folder, markdown, _) = written(&run);
    assert_eq!(plots(folder.path()), BTreeSet::from(["throughput.svg".into()]));
    assert!(!markdown.contains("NaN") && !markdown.contains("inf"));
}

#[test]
fn the_terminal_table_shows_questions_predictions_and_violations() {
    let run = made_up(false);
    let table = table(&run);
    for question in plan::questions(false) {
        assert!(table.contains(question.text));
    }
    for value in ["70,000 /s", "did not hold", "Little's law is VIOLATED", "base, async-one: 1.12"] {
        assert!(table.contains(value), "{value}");
    }
}

#[test]
fn compares_two_runs_range_by_range() {
    let (one, mut other) = (made_up(true), made_up(true));
    assert!(agreement(&one, &other).ends_with(" overlap and 0 do not."));
    for measurement in other.measurements.iter_mut().filter(|one| one.variant == Variant::Parked) {
        measurement.load.good *= 2;
    }
    let text = agreement(&one, &other);
    assert!(text.contains(&format!("and {} do not", plan::cells(&plan::questions(true)).len())), "{text}");
    assert!(text.contains("goodput"));
}

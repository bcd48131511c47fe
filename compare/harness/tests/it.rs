//! The harness as a program: runs with only its own backends and load, interrupted and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says what is wrong")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn harness(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwheel-compare"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Returns the cheapest run: the backends alone, in the named cells.
fn run(folder: &Path, cells: &[&str], rounds: &str) -> Command {
    let mut command = harness(&["run", "--quick", "--variant", "direct", "--rounds", rounds, "--out"]);
    command.arg(folder).args(cells.iter().flat_map(|cell| ["--cell", cell]));
    command
}

fn raw(folder: &Path) -> PathBuf {
    folder.join("comparison/run.jsonl")
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(raw(folder)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn wait(mut child: Child) -> bool {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        assert!(Instant::now() < until, "the program does not exit");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_measures_and_writes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let output = succeeds(run(folder.path(), &["base", "delay-10ms"], "1"));
    let lines = lines(folder.path());
    assert_eq!(lines[0]["settings"]["rounds"], 1);
    let [base, delayed] = &lines[1..] else { panic!("two measurements, not {lines:?}") };
    for (line, cell) in [(base, "base"), (delayed, "delay-10ms")] {
        assert_eq!((&line["cell"], &line["variant"]), (&cell.into(), &"direct".into()));
        assert_eq!(line["load"]["errors"], serde_json::json!({}));
        assert_eq!(line["load"]["nothing"], 0, "every connection is served: {line}");
        assert!(line["load"]["good"].as_u64().unwrap() >= 64, "{line}");
    }
    let median = |line: &Value| line["load"]["latency"]["p50"].as_f64().unwrap();
    assert!(median(delayed) >= 10_000.0, "{delayed}");
    assert!(median(base) < median(delayed), "{base}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("direct"), "{said}");
    for name in ["comparison.md", "comparison.html"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains("delay-10ms"), "{name} does not show the cell");
    }
}

#[test]
fn resumes_an_interrupted_run() {
    let folder = tempfile::tempdir().unwrap();
    let child = run(folder.path(), &["base"], "8").stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + DEADLINE;
    while lines(folder.path()).len() < 2 {
        assert!(Instant::now() < until, "no measurement is taken");
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && !wait(child), "an interrupted run fails");
    let before = lines(folder.path());
    assert!((2..9).contains(&before.len()), "{}", before.len());
    // A partial line, as after a power failure.
    fs::write(raw(folder.path()), fs::read_to_string(raw(folder.path())).unwrap() + "{\"cell\":\"ba")
        .unwrap();
    succeeds(run(folder.path(), &["base"], "8"));
    let after = lines(folder.path());
    assert_eq!(after[..before.len()], before[..], "earlier measurements are kept");
    let rounds: Vec<_> = after[1..].iter().map(|line| line["round"].as_u64().unwrap()).collect();
    assert_eq!(rounds, (1..=8).collect::<Vec<_>>());
}

#[test]
fn refuses_to_resume_a_run_under_other_conditions() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(run(folder.path(), &["base"], "1"));
    let output = run(folder.path(), &["base"], "2").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--afresh"), "{said}");
    let mut afresh = run(folder.path(), &["base"], "2");
    afresh.arg("--afresh");
    succeeds(afresh);
    assert_eq!(lines(folder.path()).len(), 3);
}

#[test]
fn a_run_agrees_with_itself_and_its_report_can_be_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(run(folder.path(), &["base"], "1"));
    let raw = raw(folder.path());
    let mut agree = harness(&["agree"]);
    agree.arg(&raw).arg(&raw);
    let said = String::from_utf8(succeeds(agree).stdout).unwrap();
    assert!(said.contains("Of 2 ranges") && said.contains("2 overlap and 0 do not"), "{said}");
    let page = folder.path().join("comparison.md");
    let text = fs::read_to_string(&page).unwrap();
    fs::remove_file(&page).unwrap();
    let mut report = harness(&["report"]);
    report.arg(folder.path());
    succeeds(report);
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
}

#[test]
fn names_a_file_that_is_not_a_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("comparison")).unwrap();
    fs::write(raw(folder.path()), "not a run\n").unwrap();
    let output = harness(&["report"]).arg(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("run.jsonl does not begin like a run"), "{said}");
}

#[test]
fn names_an_unknown_cell() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["bases"], "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("no cell \"bases\"") && said.contains("idle-1000"),
        "{said}"
    );
}

/// Returns one measurement of a run.
fn line<'a>(lines: &'a [Value], cell: &str, variant: &str, round: u64) -> &'a Value {
    let is_it = |line: &&Value| {
        (&line["cell"], &line["variant"], &line["round"]) == (&cell.into(), &variant.into(), &round.into())
    };
    lines.iter().find(is_it).unwrap_or_else(|| panic!("{variant} in {cell}, round {round}, is missing"))
}

#[test]
#[ignore = "heavy: needs the balancers, built in release"]
fn the_cells_measure_what_they_are_meant_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut command =
        harness(&["run", "--rounds", "1", "--variant", "parked", "--variant", "threads", "--out"]);
    command.arg(folder.path());
    for cell in
        ["base", "one-request", "offered-2000", "idle-1000", "backend-stalled", "backend-killed", "overload"]
    {
        command.args(["--cell", cell]);
    }
    succeeds(command);
    let lines = lines(folder.path());
    let line = |cell, variant| line(&lines, cell, variant, 1);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let usage = |cell, variant, figure: &str| number(&line(cell, variant)["usage"][figure]);
    let a_reply = |cell, variant, figure| {
        usage(cell, variant, figure) / number(&line(cell, variant)["load"]["replies_ever"])
    };
    // turnwheel has 64 workers and six other threads, and one more per backend during a health check.
    for (variant, least, most) in [("parked", 70.0, 72.0), ("threads", 1065.0, 1070.0)] {
        let threads = usage("idle-1000", variant, "threads");
        assert!((least..=most).contains(&threads), "{variant} has {threads} threads");
        assert!(usage("base", variant, "processor") > 0.1, "{variant} takes processor time");
        assert!(usage("base", variant, "memory_kib") > 1000.0, "{variant} takes memory");
        // A thread that waits for a client and then for a backend is switched out each time.
        assert!(
            (0.5..10.0).contains(&a_reply("base", variant, "switches")),
            "{variant}: {}",
            line("base", variant)
        );
        assert!(a_reply("one-request", variant, "switches") > 0.5, "threads that have ended count too");
        let offered = number(&line("offered-2000", variant)["load"]["offered"]);
        assert!((1700.0..2300.0).contains(&offered), "{offered}");
        let stalled = &line("backend-stalled", variant)["load"]["errors"];
        let timeouts = number(&stalled["status-504"]);
        match variant {
            "parked" => {
                assert!(
                    (3.0..64.0).contains(&timeouts),
                    "it ejects the backend before every client has waited: {stalled}"
                )
            }
            _ => assert!(timeouts >= 64.0, "{variant}: every client times out: {stalled}"),
        }
        assert_eq!(line("backend-killed", variant)["load"]["errors"], serde_json::json!({}), "{variant}");
    }
}

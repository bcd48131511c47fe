//! Tests of the summary on invented rounds.

use super::*;
use crate::results::{Header, Latency, Machine, Settings};

fn run(measurements: Vec<Measurement>) -> Summary {
    let machine = Machine {
        processor: String::new(),
        processors: 2,
        memory_mib: 0,
        kernel: String::new(),
        rustc: String::new(),
        load_average: 0.0,
    };
    let settings = Settings { quick: true, rounds: 3, warm_up_ms: 0, window_ms: 2000 };
    let header = Header {
        begun: String::new(),
        fingerprint: String::new(),
        commit: String::new(),
        machine,
        settings,
        variants: BTreeMap::new(),
        left_out: BTreeMap::new(),
        cross_check: None,
        calls_counted_with: None,
    };
    Summary::of(&Run { header, measurements })
}

/// Returns a round of two seconds with one second of processor time and ten replies that are not good.
fn one(cell: &str, variant: Variant, round: u32, good: u64, p99: f64) -> Measurement {
    let latency = Latency { p99, ..Latency::default() };
    let load =
        Load { seconds: 2.0, good, bytes: good << 20, latency, replies_ever: good + 10, ..Load::default() };
    let calls = (round == 0).then_some(5 * (good + 10));
    let usage = Usage { processor: 1.0, switches: 2 * (good + 10), memory_kib: 2048, threads: 7, calls };
    Measurement { cell: cell.into(), variant, round, load, usage: Some(usage) }
}

fn failing(mut measurement: Measurement, kind: &str, count: u64) -> Measurement {
    measurement.load.errors.insert(kind.into(), count);
    measurement
}

#[test]
fn a_spread_is_the_median_and_the_range() {
    for (values, expected) in [
        (vec![], None),
        (vec![f64::NAN], None),
        (vec![3.0], Some((3.0, 3.0, 3.0))),
        (vec![3.0, 1.0], Some((2.0, 1.0, 3.0))),
        (vec![9.0, 1.0, 4.0], Some((4.0, 1.0, 9.0))),
        (vec![f64::INFINITY, 1.0], Some((1.0, 1.0, 1.0))),
    ] {
        let spread = Spread::of(values).map(|spread| (spread.median, spread.least, spread.most));
        assert_eq!(spread, expected);
    }
}

#[test]
fn figures_are_medians_over_the_rounds_without_round_0() {
    let (parked, cell) = (Variant::Parked, "base");
    let rounds = [(0, 1, 9e9), (1, 100, 20.0), (2, 400, 10.0), (3, 200, 30.0)];
    let summary = run(rounds.map(|(round, good, p99)| one(cell, parked, round, good, p99)).into());
    for (figure, median, least, most) in [
        (Figure::Goodput, 100.0, 50.0, 200.0),
        (Figure::P99, 20.0, 10.0, 30.0),
        (Figure::Processor, 5000.0, 2500.0, 10_000.0),
        (Figure::Switches, 2.0, 2.0, 2.0),
        (Figure::Memory, 2.0, 2.0, 2.0),
        (Figure::Threads, 7.0, 7.0, 7.0),
        (Figure::Errors, 0.0, 0.0, 0.0),
    ] {
        assert_eq!(summary.figure(figure, cell, parked), Some(Spread { median, least, most }), "{figure:?}");
    }
    let row = summary.row(cell, parked).unwrap();
    assert_eq!((row.rounds, row.calls), (3, Some(5.0)));
    assert_eq!(row.mib.map(|mib| mib.median), Some(100.0));
    assert_eq!(summary.figure(Figure::Goodput, cell, Variant::Async), None);
    assert_eq!(summary.figure(Figure::Goodput, "elsewhere", parked), None);
}

#[test]
fn a_cell_with_only_round_0_is_not_measured() {
    assert_eq!(run(vec![one("base", Variant::Parked, 0, 1, 1.0)]), Summary::default());
}

#[test]
fn a_round_without_a_reply_has_no_latency_but_a_goodput_of_zero() {
    let row = run(vec![one("base", Variant::Parked, 1, 0, 0.0), one("base", Variant::Parked, 2, 8, 5.0)]);
    let row = row.row("base", Variant::Parked).unwrap();
    assert_eq!(row.p99, Spread::of([5.0]));
    assert_eq!(row.goodput, Spread::of([0.0, 4.0]));
    assert_eq!(row.processor, Spread::of([125_000.0]));
}

#[test]
fn reports_errors_that_occur_in_one_round_only() {
    let rounds = [1, 2, 3].map(|round| one("base", Variant::Parked, round, 100, 1.0));
    let [first, second, third] = rounds;
    let summary =
        run(vec![failing(failing(first, "connect", 90), "reset", 10), failing(second, "reset", 0), third]);
    let row = summary.row("base", Variant::Parked).unwrap();
    assert_eq!(row.failed, Some(Spread { median: 0.25, least: 0.0, most: 0.5 }));
    assert_eq!(row.errors, BTreeMap::from([("connect".into(), 90), ("reset".into(), 10)]));
}

#[test]
fn littles_law_is_violated_beyond_five_percent() {
    for (ratio, violation) in [(1.04, None), (0.96, None), (1.06, Some(1.06)), (0.5, Some(0.5))] {
        let mut measurement = one("base", Variant::Parked, 1, 1, 1.0);
        measurement.load.little = Some(ratio);
        assert_eq!(run(vec![measurement]).row("base", Variant::Parked).unwrap().violation(), violation);
    }
}

#[test]
fn reports_connections_by_the_worst_round() {
    let mut rounds = [1, 2].map(|round| one("base", Variant::Parked, round, 100, 1.0));
    (rounds[0].load.nothing, rounds[0].load.fewest, rounds[0].load.most) = (0, 4, 9);
    (rounds[1].load.nothing, rounds[1].load.fewest, rounds[1].load.most) = (3, 0, 8);
    let summary = run(rounds.into());
    let row = summary.row("base", Variant::Parked).unwrap();
    assert_eq!((row.nothing, row.fewest, row.most), (3, 0, 9));
}

#[test]
fn predictions_are_judged_by_medians() {
    let summary = run(vec![
        one("base", Variant::Parked, 1, 100, 1.0),
        one("base", Variant::Async, 1, 200, 1.0),
        one("later", Variant::Parked, 1, 25, 1.0),
        one("later", Variant::Async, 1, 0, 1.0),
    ]);
    let goodput = |cell| Prediction::of(cell, Figure::Goodput, Variant::Parked);
    for (prediction, expected) in [
        (goodput("base").between(50.0, 50.0), Some((50.0, true))),
        (goodput("base").over(Variant::Async).between(0.4, 0.6), Some((0.5, true))),
        (goodput("base").over(Variant::Async).between(0.6, 0.9), Some((0.5, false))),
        (goodput("later").over_cell("base").between(0.0, 0.2), Some((0.25, false))),
        (goodput("later").over(Variant::Async), None),
        (goodput("base").over(Variant::Nginx), None),
        (goodput("elsewhere"), None),
    ] {
        assert_eq!(judge(&prediction, &summary), expected, "{prediction:?}");
    }
}

#[test]
fn runs_agree_where_their_ranges_overlap() {
    let rounds = |good: [u64; 2]| {
        let [first, second] = good;
        run(vec![one("base", Variant::Parked, 1, first, 1.0), one("base", Variant::Parked, 2, second, 1.0)])
    };
    for (a, b, apart) in [([10, 20], [20, 30], 0), ([10, 20], [21, 30], 1), ([25, 26], [10, 40], 0)] {
        let agreement = agreement(&rounds(a), &rounds(b));
        assert_eq!((agreement.common, agreement.disagreements.len()), (2, apart), "{a:?} {b:?}");
        assert!(agreement.disagreements.iter().all(|apart| apart.figure == Figure::Goodput));
    }
    assert_eq!(agreement(&rounds([1, 2]), &Summary::default()), Agreement::default());
}

//! Small builders of model values, shared with the bench.

use std::collections::BTreeMap;

use assay_protocol::{
    Digest, Direction, Metric, MetricKind, ParamValue, TimingMode, Unit, Verification, Work,
};
use assay_record::{BlockStatus, Field, Fingerprint, Purpose, RunId, RunStatus, Timestamp};
use assay_reports::SiteModel;
use assay_stats::Interval;
use assay_store::{CaseRow, RoundRow, RunRow, SeriesKey};
use assay_verdicts::{
    CaseHistory, CaseState, CaseSummary, Marks, MetricSummary, Point, RunSummary, Series,
};

const DAY_NS: i64 = 86_400_000_000_000;
const START_NS: i64 = 1_788_000_000_000_000_000;

pub fn at(day: u32, second: u32) -> Timestamp {
    let ns = START_NS + i64::from(day) * DAY_NS + i64::from(second) * 1_000_000_000;
    Timestamp::from_unix_ns(ns).unwrap()
}

pub fn run_id(day: u32) -> RunId {
    RunId::new(at(day, 0), b"fixture")
}

pub fn interval(estimate: f64, half: f64) -> Interval {
    Interval {
        estimate,
        low: estimate - half,
        high: estimate + half,
        confidence: 0.95,
    }
}

pub fn run(day: u32, suite: &str, machine: &str) -> RunRow {
    RunRow {
        run: run_id(day),
        suite: suite.into(),
        manifest: Digest::of("manifest"),
        started: at(day, 0),
        finished: Some(at(day, 133)),
        status: RunStatus::Complete,
        machine: machine.into(),
        class: Digest::of("class"),
        before: Digest::of("before"),
        after: Some(Digest::of("after")),
        tool: "0.1.0".into(),
        commit: Some(Digest::of(day.to_le_bytes()).hex()[..40].into()),
        branch: Some("main".into()),
        dirty: day % 5 == 4,
        tags: Vec::new(),
        reproduces: None,
        purpose: Purpose::Measurement,
        record: "/records/run.jsonl".into(),
    }
}

pub fn round(number: u32, status: BlockStatus) -> RoundRow {
    let good = status == BlockStatus::Ok;
    RoundRow {
        round: number,
        attempt: 0,
        started: at(0, number),
        samples: if good { 120 } else { 0 },
        warmup: if good { 20 } else { 0 },
        steady: good,
        stop: good.then(|| "precise".into()),
        disturbed: Vec::new(),
        values: vec![good.then_some(1e6)],
        verification: good.then(|| Verification {
            passed: true,
            error: Some(1.2e-7),
            tolerance: Some(3.6e-7),
            output: Some(Digest::of("output")),
            detail: String::new(),
        }),
        inputs: Some(Digest::of("inputs")),
        log: String::new(),
        status,
    }
}

pub fn case(id: &str, time_ns: f64) -> CaseSummary {
    let work = Work {
        bytes: Some(201_326_592),
        flops: Some(33_554_432),
        items: None,
        formula: "bytes = 3 n sizeof(T), flops = 2 n".into(),
    };
    let rate = |amount: f64| interval(amount / time_ns * 1e9, amount / time_ns * 4e6);
    let metric = MetricSummary {
        metric: Metric::time(),
        rounds: vec![time_ns; 6],
        estimate: Some(interval(time_ns, time_ns * 0.004)),
        rates: vec![
            ("B/s".into(), rate(201_326_592.0)),
            ("FLOP/s".into(), rate(33_554_432.0)),
        ],
    };
    CaseSummary {
        case: CaseRow {
            case: id.into(),
            arm: "main".into(),
            benchmark: "memory/triad".into(),
            workload: "stream-triad".into(),
            params: BTreeMap::from([
                ("dtype".into(), ParamValue::Text("f32".into())),
                ("elements".into(), ParamValue::Int(1 << 24)),
            ])
            .into(),
            device: "cpu".into(),
            timing: TimingMode::Hot,
            definition: Digest::of("definition"),
            work: work.into(),
            deterministic: true,
            bound: assay_protocol::Bound::default(),
            clock_resolution_ns: None,
            facts: BTreeMap::new().into(),
            metrics: vec![Metric::time()].into(),
            rounds: (0..6).map(|n| round(n, BlockStatus::Ok)).collect(),
        }
        .into(),
        state: CaseState::Ok,
        metrics: vec![metric],
        fractions: vec![],
        energy: None,
        energy_lacks: None,
    }
}

/// The case gone wrong.
pub fn bad(
    mut case: CaseSummary,
    state: CaseState,
    status: &BlockStatus,
    log: &str,
) -> CaseSummary {
    case.state = state;
    case.metrics[0].estimate = None;
    case.metrics[0].rates.clear();
    case.case.rounds = (0..2).map(|n| round(n, status.clone())).collect();
    for round in &mut case.case.rounds {
        round.log = log.into();
    }
    case
}

/// The histories of series, with marks.
pub fn histories(series: Vec<Series>, marks: &Marks) -> Vec<CaseHistory> {
    let of = |series| CaseHistory::of(series, marks, at(0, 0).day());
    series.into_iter().map(of).collect()
}

/// Series of all metrics of all cases of runs, as their points.
pub fn series_of(runs: &[RunSummary]) -> Vec<Series> {
    let mut all: BTreeMap<SeriesKey, Series> = BTreeMap::new();
    for summary in runs {
        for case in &summary.cases {
            for metric in &case.metrics {
                let Some(estimate) = metric.estimate else {
                    continue;
                };
                let key = key(summary, case, metric);
                let series = all.entry(key.clone()).or_insert_with(|| Series {
                    key,
                    metric: metric.metric.clone(),
                    work: (*case.case.work).clone(),
                    points: Vec::new(),
                    impossible: Vec::new(),
                });
                series.points.push(point(summary, estimate));
            }
        }
    }
    all.into_values().collect()
}

fn key(summary: &RunSummary, case: &CaseSummary, metric: &MetricSummary) -> SeriesKey {
    SeriesKey {
        suite: summary.run.suite.clone(),
        case: case.case.case.clone(),
        metric: metric.metric.name.clone(),
        timing: case.case.timing,
        definition: case.case.definition,
        machine: summary.run.machine.clone(),
        arm: case.case.arm.clone(),
    }
}

fn point(summary: &RunSummary, estimate: Interval) -> Point {
    Point {
        run: summary.run.run.clone(),
        started: summary.run.started,
        commit: summary.run.commit.as_deref().map(Into::into),
        dirty: summary.run.dirty,
        estimate,
        rounds: 6,
        changes: Vec::new(),
    }
}

pub fn fingerprint(load: f64) -> Fingerprint {
    let section = |fields: &[(&str, Field)]| {
        fields
            .iter()
            .map(|(name, field)| ((*name).to_owned(), field.clone()))
            .collect()
    };
    Fingerprint {
        taken: at(40, 0),
        hardware: section(&[
            ("cpu.cores", Field::int(2)),
            ("cpu.model", Field::text("Example 9000 @ 2.10GHz")),
            ("gpu.count", Field::int(0)),
            ("memory.bytes", Field::int(25_769_803_776_i64)),
        ]),
        software: section(&[
            ("kernel.release", Field::text("6.1.0-30-amd64")),
            ("libc.version", Field::text("glibc 2.36")),
            ("nvidia.driver", Field::Unsupported),
        ]),
        settings: section(&[
            ("cpu.governor", Field::Unsupported),
            ("cpu.mitigations", Field::Denied),
            ("cpu.smt", Field::bool(true)),
            (
                "cpu.turbo",
                Field::Error("reading intel_pstate/no_turbo: EIO".into()),
            ),
        ]),
        volatile: section(&[
            ("load.1min", Field::float(load)),
            ("memory.free_bytes", Field::int(9_000_000_000_i64)),
        ]),
    }
}

/// A metric besides time.
pub fn peak_memory(bytes: f64) -> MetricSummary {
    MetricSummary {
        metric: Metric::new(
            "peak_memory",
            Unit::Bytes,
            Direction::Lower,
            MetricKind::Sample,
        ),
        rounds: vec![bytes; 6],
        estimate: Some(interval(bytes, 0.0)),
        rates: Vec::new(),
    }
}

/// A reproducible number in [0, 1): `SplitMix64` (Steele, Lea and Flood 2014).
pub fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A site of this many series and runs, all of one suite and machine.
pub fn synthetic(series: u32, runs: u32) -> SiteModel {
    let summary = |day: u32| RunSummary {
        run: run(day, "cpu", "lab-1"),
        cases: (0..series).map(|n| synthetic_case(day, n)).collect(),
        events: Vec::new(),
    };
    let runs: Vec<RunSummary> = (0..runs).map(summary).collect();
    SiteModel {
        histories: histories(series_of(&runs), &Marks::default()),
        runs: runs.iter().map(|summary| summary.run.clone()).collect(),
        summaries: runs,
        fingerprints: BTreeMap::from([
            (Digest::of("before"), fingerprint(0.1)),
            (Digest::of("after"), fingerprint(0.9)),
        ]),
        ..SiteModel::default()
    }
}

fn synthetic_case(day: u32, n: u32) -> CaseSummary {
    let wobble = noise(u64::from(day) << 32 | u64::from(n));
    let id = format!("memory/triad[dtype=f32,elements={n}]@cpu");
    case(&id, 1e4 * f64::from(n + 1) * (1.0 + 0.02 * wobble))
}

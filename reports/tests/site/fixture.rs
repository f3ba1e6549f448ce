//! A small site with everything on it: a long history, a short one, failures, hostile names.

mod detail;
pub mod nights;

use std::collections::BTreeMap;

use assay_protocol::Digest;
use assay_record::{BlockStatus, EventKind, Field, RunStatus};
use assay_reports::{Night, SiteModel};
use assay_store::EventRow;
use assay_verdicts::{
    CaseReproduction, CaseState, CaseSummary, Change, Confirmed, Likeness, Marks, Reproduction,
    RunSummary, Verdict,
};

use crate::build::{
    at, bad, case, fingerprint, histories, interval, noise, peak_memory, round, run, run_id,
    series_of,
};

pub use detail::portion;

/// Text that tries to leave its place: markup, attributes, CDATA, right-to-left, a terminal's codes, a NUL.
pub const HOSTILE: &str = "<script>alert(1)</script>\"onmouseover=\"x' ]]> &lt; \u{202e}txt.exe שלום \u{1b}[31m\u{0}</title>";

const TRIAD: &str = "memory/triad[dtype=f32,elements=2^24]@cpu";
const GEMM: &str = "linalg/gemm[k=512,m=512,n=512]@cpu";
const DAYS: u32 = 36;

pub fn model() -> SiteModel {
    let mut runs: Vec<RunSummary> = (0..DAYS).map(nightly).collect();
    runs.push(hostile_run());
    runs.push(partial_run());
    runs.push(reproduction_run());
    runs.extend(nights::runs());
    runs.push(nights::last_of_retired());
    let mut series = series_of(&runs);
    for series in series
        .iter_mut()
        .filter(|series| series.key.machine == "lab-1")
    {
        let points = series.points.iter_mut();
        for point in points.filter(|point| point.run == run_id(20) || point.run == run_id(29)) {
            point.changes = changes();
        }
    }
    let mut nights = nights::nights();
    nights.push(nights::troubled(run_id(DAYS - 1), GEMM, TRIAD));
    let mut model = SiteModel {
        nights,
        matrices: nights::matrices(),
        runs: runs.iter().map(|summary| summary.run.clone()).collect(),
        summaries: runs,
        histories: histories(series, &marks()),
        reproductions: vec![reproduction()],
        fingerprints: fingerprints(),
        ..SiteModel::default()
    };
    let told = |night: &Night| {
        let row = model.runs.iter().find(|row| row.run == night.gate.run);
        row.map_or(Vec::new(), |row| Confirmed::all(&night.gate, row))
    };
    model.confirmed = model.nights.iter().flat_map(told).collect();
    detail::add(&mut model);
    model
}

fn marks() -> Marks {
    let reason = toml_text(HOSTILE);
    let text = format!(
        r#"
        schema = 1
        [[mark]]
        kind = "expected"
        case = "memory/triad*"
        at = "{}"
        reason = "checks bounds now; {reason}"
        [[mark]]
        kind = "acknowledge"
        case = "memory/triad*"
        at = "abcdef0"
        reason = "nobody knows where"
        "#,
        run_id(20)
    );
    Marks::parse(&text).unwrap()
}

/// Text within a string of TOML.
fn toml_text(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".into(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn fingerprints() -> BTreeMap<Digest, assay_record::Fingerprint> {
    let mut after = fingerprint(1.75);
    after.software.insert(HOSTILE.into(), Field::text(HOSTILE));
    BTreeMap::from([
        (Digest::of("before"), fingerprint(0.12)),
        (Digest::of("after"), after),
    ])
}

fn nightly(day: u32) -> RunSummary {
    let slower = if day < 20 { 1.0 } else { 1.06 };
    let wobble = |n: u64| 1.0 + 0.012 * (noise(u64::from(day) * 16 + n) - 0.5);
    let mut triad = case(TRIAD, 8.31e6 * slower * wobble(1));
    triad.metrics.push(peak_memory(214_958_080.0));
    let mut small = case(
        "memory/triad[dtype=f32,elements=2^10]@cpu",
        212.4 * wobble(2),
    );
    if day < 4 {
        small.case.definition = Digest::of("older definition");
    }
    RunSummary {
        run: run(day, "smoke", "lab-1"),
        cases: vec![triad, small, gemm(day, wobble(3)), no_gpu()],
        events: Vec::new(),
    }
}

fn gemm(day: u32, wobble: f64) -> CaseSummary {
    let mut gemm = case(GEMM, 4.417e6 * wobble);
    let lost = round(2, BlockStatus::Failed("worker ended with signal 9".into()));
    gemm.case.rounds[2].attempt = 1;
    gemm.case.rounds[4].steady = false;
    gemm.case.rounds.insert(2, lost);
    if day + 1 < DAYS {
        return gemm;
    }
    let reason = "worker ended with signal 11 before it answered `sample`";
    let log =
        "\u{1b}[31mthread 'main' panicked\u{1b}[0m at gemm.rs:41\nnote: run with RUST_BACKTRACE=1";
    bad(
        gemm,
        CaseState::Failed(reason.into()),
        &BlockStatus::Failed(reason.into()),
        log,
    )
}

fn no_gpu() -> CaseSummary {
    let reason = "no CUDA driver on this machine";
    let gpu = case("memory/triad[dtype=f32,elements=2^24]@cuda", 1.0);
    bad(
        gpu,
        CaseState::Skipped(reason.into()),
        &BlockStatus::Skipped(reason.into()),
        "",
    )
}

/// Everything that comes from outside is hostile or endless.
fn hostile_run() -> RunSummary {
    let mut run = run(40, HOSTILE, HOSTILE);
    run.commit = Some(HOSTILE.into());
    run.branch = Some(HOSTILE.into());
    run.tags = vec![HOSTILE.into(), "release".into()];
    run.tool = HOSTILE.into();
    let endless = format!("{}{HOSTILE}", "long/".repeat(2_000));
    let mut measured = case(&endless, 1.5e9);
    measured.case.arm = HOSTILE.into();
    measured.case.work.formula = HOSTILE.into();
    measured.case.params = BTreeMap::from([(
        HOSTILE.into(),
        assay_protocol::ParamValue::Text(HOSTILE.into()),
    )])
    .into();
    let wrong = bad(
        case(HOSTILE, 1.0),
        CaseState::Wrong(HOSTILE.into()),
        &BlockStatus::Wrong(HOSTILE.into()),
        &HOSTILE.repeat(400),
    );
    let event = EventRow {
        at: at(40, 7),
        kind: EventKind::Note,
        text: HOSTILE.into(),
        case: Some(HOSTILE.into()),
    };
    RunSummary {
        run,
        cases: vec![measured, wrong],
        events: vec![event],
    }
}

fn partial_run() -> RunSummary {
    let mut run = run(41, "cpu", "lab-2");
    run.status = RunStatus::Partial;
    run.finished = None;
    run.after = None;
    run.commit = None;
    run.before = Digest::of("lost");
    RunSummary {
        run,
        cases: Vec::new(),
        events: Vec::new(),
    }
}

fn reproduction_run() -> RunSummary {
    let mut again = nightly(DAYS - 2);
    again.run = run(42, "smoke", "lab-1");
    again.run.reproduces = Some(run_id(DAYS - 2));
    again.run.status = RunStatus::Interrupted;
    again
}

fn reproduction() -> Reproduction {
    let case = |id: &str, speed, ratio| CaseReproduction {
        case: id.into(),
        arm: "main".into(),
        inputs: Likeness::Identical,
        outputs: Likeness::WithinTolerance,
        speed,
        ratio: Some(interval(ratio, 0.008)),
        note: "margin 3 %; 4 more rounds would settle it".into(),
    };
    Reproduction {
        original: run_id(DAYS - 2),
        again: run_id(42),
        inputs: Likeness::Identical,
        outputs: Likeness::Differs(HOSTILE.into()),
        speed: Verdict::Inconclusive,
        cases: vec![
            case(TRIAD, Verdict::Unchanged, 1.003),
            case(GEMM, Verdict::Inconclusive, 1.027),
        ],
        explanations: vec![
            "the kernel went from 6.1.0-29 to 6.1.0-30"
                .to_owned()
                .into(),
            HOSTILE.to_owned().into(),
        ],
        comparison: None,
    }
}

fn changes() -> Vec<Change> {
    vec![
        Change {
            field: "software.kernel.release".into(),
            before: "6.1.0-29-amd64".into(),
            after: "6.1.0-30-amd64".into(),
        },
        Change {
            field: "settings.cpu.turbo".into(),
            before: "yes".into(),
            after: HOSTILE.into(),
        },
    ]
}

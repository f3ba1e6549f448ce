//! How to read the site: the words, the numbers, the versions.

use assay_protocol::PROTOCOL_VERSION;
use assay_record::body::RECORD_VERSION;
use assay_record::manifest::MANIFEST_SCHEMA;
use assay_stats::Rules;
use assay_stats::levels::MIN_BASELINE_RUNS;
use assay_verdicts::window::DEFAULT_RUNS;
use assay_verdicts::{CONFIDENCE, DEFAULT_MARGIN};
use serde::Serialize;

use super::fill;
use crate::data::{self, Downloads};
use crate::error::ReportError;
use crate::model::Library;

#[derive(Serialize)]
struct About {
    confidence_percent: u32,
    margin_percent: u32,
    least_percent: u32,
    discovery_percent: u32,
    family_percent: u32,
    suspect_level: f64,
    suspects_in: u32,
    window_runs: usize,
    least_runs: usize,
    protocol: u32,
    record: u32,
    manifest: u32,
    words: &'static [(&'static str, &'static str)],
    downloads: Downloads,
}

/// The glossary: one meaning per word, in code, command line, database and pages alike.
const WORDS: &[(&str, &str)] = &[
    ("workload", "Something that can be run and timed."),
    ("suite", "A file that lists benchmarks."),
    (
        "benchmark",
        "A workload with axes of parameters, as a suite declares it.",
    ),
    (
        "case",
        "One benchmark at one point of its axes on one kind of device.",
    ),
    (
        "sample",
        "One timed observation: a count of iterations and integer nanoseconds.",
    ),
    (
        "round",
        "One visit to a case by a fresh worker process; a case is visited in several rounds, spread over the run.",
    ),
    (
        "arm",
        "One of the environments that a run interleaves. Most runs have one.",
    ),
    (
        "manifest",
        "What determines a run before it starts; its SHA-256 names it.",
    ),
    ("run", "One execution of a manifest on one machine."),
    (
        "record",
        "The append-only file that a run writes: the truth that everything here can be rebuilt from.",
    ),
    (
        "fingerprint",
        "What the machine was: hardware, software, settings, and its volatile state, apart.",
    ),
    (
        "series",
        "One case's history on one comparable machine and configuration.",
    ),
    (
        "night",
        "A run of a suite that came to its end and stands for itself: no reproduction, nothing that was run to explain another run.",
    ),
    (
        "baseline",
        "The earlier runs, or the other side, that something is compared with.",
    ),
    (
        "suspect",
        "What may have changed and is run again, interleaved with what the baseline ran, before anybody is told.",
    ),
    (
        "confirmation",
        "The rounds by which suspects are run again. Only what they confirm alerts.",
    ),
    (
        "moved",
        "The measurement changed though what was started is the same: the machine, or something that is not pinned.",
    ),
    ("margin", "Within it two values count as equal."),
    (
        "ceiling",
        "The most that a machine was seen to do at a memory level or in an arithmetic unit.",
    ),
    (
        "geometric mean",
        "The ratio of a suite: each case counts alike, however long it takes.",
    ),
    (
        "change point",
        "Where the level of a series changed to stay, with the runs and commits between which that surely was.",
    ),
    (
        "mark",
        "What somebody said of a change, in a file that is reviewed like code: acknowledged, expected, or ignored for a while.",
    ),
    (
        "verdict",
        "Regressed, improved, unchanged or inconclusive; for a reproduction also identical or different.",
    ),
    (
        "reproduction",
        "A run that repeats the manifest of an earlier one, with a verdict on inputs, outputs and speed.",
    ),
];

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let rules = Rules::default();
    let percent = |share: f64| (share * 100.0).round() as u32;
    let page = About {
        confidence_percent: percent(CONFIDENCE),
        margin_percent: percent(DEFAULT_MARGIN),
        least_percent: percent(rules.least_effect),
        discovery_percent: percent(rules.false_discovery_rate),
        family_percent: percent(rules.family_error),
        suspect_level: rules.suspect_level,
        suspects_in: (1.0 / rules.suspect_level).round() as u32,
        window_runs: DEFAULT_RUNS,
        least_runs: MIN_BASELINE_RUNS,
        protocol: PROTOCOL_VERSION,
        record: RECORD_VERSION,
        manifest: MANIFEST_SCHEMA,
        words: WORDS,
        downloads: data::downloads(library),
    };
    fill(library.settings, "about.html", "About", &page)
}

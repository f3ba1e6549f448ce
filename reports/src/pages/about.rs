//! How to read the site: the words, the numbers, the versions.

use assay_protocol::PROTOCOL_VERSION;
use assay_record::body::RECORD_VERSION;
use assay_record::manifest::MANIFEST_SCHEMA;
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
];

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let page = About {
        confidence_percent: (CONFIDENCE * 100.0).round() as u32,
        margin_percent: (DEFAULT_MARGIN * 100.0).round() as u32,
        protocol: PROTOCOL_VERSION,
        record: RECORD_VERSION,
        manifest: MANIFEST_SCHEMA,
        words: WORDS,
        downloads: data::downloads(library),
    };
    fill(library.settings, "about.html", "About", &page)
}

//! Scores of synthetic rows as a page.

use anyhow::Result;
use assay_reports::scores::{ColumnLine, Distribution, PairLine, ScoreLine, ScoreSheet, render};
use assay_suites::synthetic::quality::profile::{associations, distributions};
use assay_suites::synthetic::quality::report::Report;
use assay_suites::synthetic::table::{Table, Values};

use super::score::SCORES;

/// Pairs that are listed.
const WORST: usize = 10;

/// What each score means, in the order of [`SCORES`].
const MEANINGS: [&str; 6] = [
    "Mean of shapes and trends; 1 is best",
    "How alike the distributions of columns are; 1 is best",
    "How alike pairs of columns hang together; 1 is best",
    "How much of the ranges and categories occurs; 1 is best",
    "Distance of joint distributions of two columns; 0 is best",
    "The same of three columns; 0 is best",
];

/// The page of a report on two tables, the real one first, called by the names of their files.
pub fn page(
    names: &[String; 2],
    [real, synthetic]: [&Table; 2],
    report: &Report,
    missed: Vec<String>,
) -> Result<String> {
    let synthetic = real.align(synthetic)?;
    let lines = SCORES
        .iter()
        .zip(MEANINGS)
        .map(|((name, value), meaning)| ScoreLine {
            name: (*name).into(),
            meaning: meaning.into(),
            values: [&report.scores, &report.bootstrap, &report.independent]
                .map(|of| score(Some(value(of)))),
        });
    let shape = |name: &str| {
        let column = report.columns.iter().find(|column| column.name == name);
        column.and_then(|column| column.shape)
    };
    let drawn = distributions(real, &synthetic)
        .into_iter()
        .map(|column| Distribution {
            shape: shape(&column.name)
                .map(|shape| score(Some(shape)))
                .unwrap_or_default(),
            name: column.name,
            is_number: column.is_number,
            bins: column.bins,
            shares: column.shares,
        });
    // Keys have no place in a map.
    let is_mapped = |column: &usize| !matches!(real.columns[*column].values, Values::Key { .. });
    let mapped: Vec<usize> = (0..real.columns.len()).filter(is_mapped).collect();
    let place = |column: usize| {
        mapped
            .iter()
            .position(|mapped| *mapped == column)
            .unwrap_or(column)
    };
    let pairs = associations(real, &synthetic).into_iter();
    let pairs = pairs.map(|pair| (pair.columns.map(place), pair.strength));
    Ok(render(&ScoreSheet {
        title: format!("{} beside {}", names[1], names[0]),
        lead: format!(
            "{} synthetic rows beside the {} real ones that they were learned from, {} columns.",
            synthetic.rows(),
            real.rows(),
            real.columns.len()
        ),
        missed,
        scores: lines.collect(),
        notes: super::score::notes(report),
        columns: report.columns.iter().map(line).collect(),
        more_columns: 0,
        distributions: drawn.collect(),
        names: mapped
            .iter()
            .map(|column| real.columns[*column].name.clone())
            .collect(),
        pairs: pairs.collect(),
        worst_pairs: worst(report),
    })?)
}

fn line(column: &assay_suites::synthetic::quality::report::ColumnScore) -> ColumnLine {
    ColumnLine {
        name: column.name.clone(),
        shape: score(column.shape),
        coverage: score(column.coverage),
        missing: column
            .missing
            .map(|share| format!("{:.1} %", 100.0 * share)),
    }
}

fn worst(report: &Report) -> Vec<PairLine> {
    let mut pairs: Vec<_> = report.pairs.iter().collect();
    pairs.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    let line = |pair: &&assay_suites::synthetic::quality::report::PairScore| PairLine {
        names: pair.columns.join(" and "),
        trend: score(Some(pair.trend)),
    };
    pairs.iter().take(WORST).map(line).collect()
}

/// A score in four digits; a word where there is none.
fn score(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.4}"),
        _ => "none".into(),
    }
}

//! Scores of synthetic rows as a page.

use anyhow::Result;
use assay_reports::scores::{
    ColumnLine, ConstraintLine, Distribution, PairLine, ScoreLine, ScoreSheet, UtilityLine, render,
};
use assay_suites::synthetic::quality::constraints::RuleScore;
use assay_suites::synthetic::quality::figures::FIGURES;
use assay_suites::synthetic::quality::profile::{associations, distributions};
use assay_suites::synthetic::quality::report::Report;
use assay_suites::synthetic::quality::scores::{ColumnScore, PairScore};
use assay_suites::synthetic::quality::utility::Utility;
use assay_suites::synthetic::table::{Table, Values};

/// Pairs that are listed.
const WORST: usize = 10;

/// The page of a report on two tables, the real one first, called by the names of their files.
pub fn page(
    names: &[String; 2],
    [real, synthetic]: [&Table; 2],
    report: &Report,
    missed: Vec<String>,
) -> Result<String> {
    let synthetic = real.align(synthetic)?;
    let lines = FIGURES.iter().map(|figure| ScoreLine {
        name: figure.name.into(),
        meaning: figure.meaning.into(),
        values: figure.words(report),
    });
    let shape = |name: &str| {
        let column = report.columns.iter().find(|column| column.name == name)?;
        column
            .shape
            .map(|_| three(column.shape, column.shape_floors))
    };
    let drawn = distributions(real, &synthetic)
        .into_iter()
        .map(|column| Distribution {
            shape: shape(&column.name),
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
    let (constraints, kept_constraints) = constraints(report);
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
        utility: report.utility.iter().map(utility).collect(),
        constraints,
        kept_constraints,
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

fn line(column: &ColumnScore) -> ColumnLine {
    let [real, synthetic] = column.missing;
    let [again, apart] = column.missing_floors;
    ColumnLine {
        name: column.name.clone(),
        shape: three(column.shape, column.shape_floors),
        coverage: three(column.coverage, column.coverage_floors),
        missing: [real, synthetic, again, apart].map(|share| format!("{:.1} %", 100.0 * share)),
    }
}

/// A score beside its floors.
fn three(value: Option<f64>, [again, apart]: [Option<f64>; 2]) -> [String; 3] {
    [value, again, apart].map(score)
}

/// What is declared and does not hold everywhere, what is broken most first; and how much else is declared.
fn constraints(report: &Report) -> (Vec<ConstraintLine>, usize) {
    let rules = report.constraints.iter().flat_map(|all| &all.rules);
    let (mut broken, kept): (Vec<_>, Vec<_>) =
        rules.partition(|rule| rule.broken.iter().any(|share| *share > 0.0));
    broken.sort_by(|a, b| b.broken[0].total_cmp(&a.broken[0]));
    let line = |rule: &&RuleScore| ConstraintLine {
        what: rule.what.replace('`', ""),
        broken: rule.broken.map(|share| score(Some(share))),
        first_row: rule
            .first_row
            .map_or_else(|| "none".into(), |row| row.to_string()),
    };
    (broken.iter().map(line).collect(), kept.len())
}

fn utility(one: &Utility) -> UtilityLine {
    UtilityLine {
        column: one.target.clone(),
        question: one.question.clone(),
        synthetic: score(Some(one.synthetic)),
        real: score(Some(one.real)),
        floors: [one.bootstrap, one.independent].map(|area| score(Some(area))),
        kept: [0, 1, 2].map(|which| score(one.kept().map(|kept| kept[which]))),
    }
}

fn worst(report: &Report) -> Vec<PairLine> {
    let mut pairs: Vec<_> = report.pairs.iter().collect();
    pairs.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    let line = |pair: &&PairScore| PairLine {
        names: pair.columns.join(" and "),
        trend: three(Some(pair.trend), pair.trend_floors),
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

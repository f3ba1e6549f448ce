//! Many sides against one, as text: cases by sides.

use std::collections::BTreeSet;

use assay_protocol::Metric;
use assay_verdicts::{Comparison, Verdict};

use super::verdicts::{Text, WIDTH, side};
use super::{plain, words};

/// Sides beside the baseline that fit beside a case's name.
const SIDES_ABREAST: usize = 4;
/// Columns of one side.
const CELL: usize = 12;

/// Cases by sides, each against the first one.
pub fn text(comparisons: &[Comparison]) -> String {
    let mut text = Text::default();
    let Some(first) = comparisons.first() else {
        return text.0;
    };
    text.line(0, &format!("A (baseline)  {}", side(first, true)));
    for (comparison, letter) in comparisons.iter().zip('B'..) {
        text.line(
            0,
            &format!("{letter}             {}", side(comparison, false)),
        );
        text.list("  what differs from A:", &comparison.differences);
        for caveat in &comparison.caveats {
            text.sentence(2, &format!("note: {caveat}"));
        }
        if let Some(shift) = words::common_shift(comparison) {
            text.sentence(2, &shift);
        }
    }
    text.line(
        0,
        "! failed or wrong   R regressed   I improved   = unchanged   ? inconclusive",
    );
    let lettered: Vec<(char, &Comparison)> = ('B'..).zip(comparisons).collect();
    for abreast in lettered.chunks(SIDES_ABREAST) {
        block(&mut text, abreast);
    }
    for (letter, comparison) in &lettered {
        text.line(0, &letter.to_string());
        for case in &comparison.cases {
            let trouble = case.trouble.as_ref().map(ToString::to_string);
            if let Some(said) = trouble.or_else(|| case.remark.clone()) {
                text.sentence(2, &format!("{}: {said}", words::name(case)));
            }
        }
        text.suite(comparison, 2);
    }
    text.0
}

/// Some sides beside each other.
fn block(text: &mut Text, sides: &[(char, &Comparison)]) {
    let names = names(sides);
    let room = WIDTH - sides.len() * CELL;
    let longest = names
        .iter()
        .map(|(case, metric)| shown(case, metric).chars().count());
    let width = longest.max().unwrap_or(0).clamp(4, room - 1);
    let head = cells(sides.iter().map(|(letter, _)| letter.to_string()));
    text.line(0, &format!("{:<width$}{head}", "case"));
    for (case, metric) in &names {
        let own = sides.iter();
        let cells = cells(own.map(|(_, comparison)| cell(comparison, case, metric)));
        let name = shown(case, metric);
        if name.chars().count() <= width {
            text.line(0, &format!("{name:<width$}{cells}"));
        } else {
            text.line(0, &name);
            text.line(0, &format!("{:width$}{cells}", ""));
        }
    }
    let means = cells(sides.iter().map(|(_, comparison)| mean(comparison)));
    text.line(0, &format!("{:<width$}{means}", "geometric mean of times"));
}

/// The mean of a side, in the column of the effects.
fn mean(comparison: &Comparison) -> String {
    let mean = comparison.suite.geometric_mean.as_ref();
    mean.map_or("-".into(), |mean| {
        format!("{}  ", words::percent(mean.ratio.estimate))
    })
}

/// Cells beside each other, each at the right of its column.
fn cells(texts: impl Iterator<Item = String>) -> String {
    let padded = texts.map(|text| format!("{text:>CELL$}"));
    padded.collect::<Vec<_>>().concat()
}

fn shown(case: &str, metric: &str) -> String {
    let name = if metric == Metric::TIME {
        case.to_owned()
    } else {
        format!("{case} {metric}")
    };
    plain(&name)
}

/// Every case and metric of any side, in the order of the first that has it.
pub fn names(sides: &[(char, &Comparison)]) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut seen = BTreeSet::new();
    for case in sides.iter().flat_map(|(_, comparison)| &comparison.cases) {
        let name = (case.case.clone(), case.metric.name.clone());
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

/// One cell of a matrix: `+10.2 % R`.
pub fn cell(comparison: &Comparison, case: &str, metric: &str) -> String {
    let mut cases = comparison.cases.iter();
    let Some(found) = cases.find(|have| have.case == case && have.metric.name == metric) else {
        return "-".into();
    };
    let sign = match (&found.trouble, found.verdict) {
        (Some(_), _) => '!',
        (None, Verdict::Regressed) => 'R',
        (None, Verdict::Improved) => 'I',
        (None, Verdict::Unchanged) => '=',
        (None, Verdict::Inconclusive) => '?',
    };
    let effect = found
        .ratio
        .as_ref()
        .map_or(String::new(), |ratio| words::percent(ratio.estimate));
    format!("{effect} {sign}").trim().to_owned()
}

//! Every comparison that has a page, by suite, with what it says in short.

use std::collections::BTreeMap;

use assay_verdicts::Comparison;
use assay_verdicts::window::MAIN_ARM;
use serde::Serialize;

use super::fill;
use super::judged::{self, Effect};
use super::part::{self, Link, cell};
use crate::address;
use crate::error::ReportError;
use crate::model::{By, Library, Matrix};
use crate::words;

/// Most sides of a comparison that are summed up here; its page has them all.
const SIDES: usize = 12;

#[derive(Serialize)]
struct Compare {
    suites: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    id: String,
    suite: Link,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    link: Link,
    baseline: String,
    sides: Vec<SideLine>,
    more: usize,
}

#[derive(Serialize)]
struct SideLine {
    label: String,
    mean: Option<Effect>,
    counts: String,
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let mut suites: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
    for (href, matrix) in all(library) {
        suites
            .entry(&matrix.suite)
            .or_default()
            .push(line(library, href, matrix));
    }
    let suite = |(at, (name, lines)): (usize, (&str, Vec<Line>))| Section {
        id: format!("suite-{at}"),
        suite: part::suite_link(name),
        lines,
    };
    let suites = suites.into_iter().enumerate().map(suite).collect();
    fill(
        library.settings,
        "compare.html",
        "Compare",
        &Compare { suites },
    )
}

fn line(library: &Library<'_>, href: String, matrix: &Matrix) -> Line {
    let side = |comparison: &Comparison| SideLine {
        label: cell(&comparison.candidate.label),
        mean: mean(comparison),
        counts: words::counts(&comparison.suite.counts),
    };
    Line {
        link: Link {
            href,
            text: title(library, matrix),
        },
        baseline: baseline(matrix).map_or(String::new(), |one| cell(&one.baseline.label)),
        sides: matrix.comparisons.iter().take(SIDES).map(side).collect(),
        more: matrix.comparisons.len().saturating_sub(SIDES),
    }
}

/// The geometric mean of a side's times over the baseline's.
pub fn mean(comparison: &Comparison) -> Option<Effect> {
    let mean = comparison.suite.geometric_mean.as_ref()?;
    Some(judged::effect(&mean.ratio))
}

fn baseline(matrix: &Matrix) -> Option<&Comparison> {
    matrix.comparisons.first()
}

/// All comparisons with their pages; one that was asked for twice has one.
pub fn all<'a>(library: &Library<'a>) -> BTreeMap<String, &'a Matrix> {
    let matrices = library.model.matrices.iter();
    matrices
        .map(|matrix| (href(library, matrix), matrix))
        .collect()
}

/// The comparisons of a suite.
pub fn links_of(library: &Library<'_>, suite: &str) -> Vec<Link> {
    let own = all(library).into_iter();
    own.filter(|(_, matrix)| matrix.suite == suite)
        .map(|(href, matrix)| Link {
            href,
            text: title(library, matrix),
        })
        .collect()
}

/// Its page. What is compared anew each night keeps its address; what somebody chose is named by its runs.
fn href(library: &Library<'_>, matrix: &Matrix) -> String {
    let arm = arm(matrix).filter(|arm| *arm != MAIN_ARM);
    let parts: Vec<&str> = match matrix.by {
        By::Night | By::Driver | By::Image => {
            [machine(library, matrix)].into_iter().chain(arm).collect()
        }
        By::Machine | By::Gpu | By::GpuDriver => arm.into_iter().collect(),
        By::Chosen => {
            let sides = matrix.comparisons.iter().map(|one| &one.candidate);
            let sides = baseline(matrix)
                .map(|one| &one.baseline)
                .into_iter()
                .chain(sides);
            sides
                .flat_map(|side| {
                    let runs = side.runs.iter().map(assay_record::RunId::as_str);
                    runs.chain([side.arm.as_str()])
                })
                .collect()
        }
        By::Arm => Vec::new(),
    };
    address::comparison(&matrix.suite, key(matrix.by), &parts)
}

/// The arm that all sides share, which is not what they differ in.
fn arm(matrix: &Matrix) -> Option<&str> {
    let of_sides = !matches!(matrix.by, By::Arm | By::Chosen);
    baseline(matrix)
        .filter(|_| of_sides)
        .map(|one| one.baseline.arm.as_str())
}

/// The machine of the newest side.
fn machine<'a>(library: &Library<'a>, matrix: &Matrix) -> &'a str {
    let run = baseline(matrix).and_then(|one| one.candidate.runs.last());
    let row = run.and_then(|run| library.runs.get(run));
    row.map_or("", |row| &row.machine)
}

fn key(by: By) -> &'static str {
    match by {
        By::Night => "night",
        By::Machine => "machine",
        By::Gpu => "gpu",
        By::Driver => "driver",
        By::GpuDriver => "gpu-driver",
        By::Image => "image",
        By::Arm => "arm",
        By::Chosen => "chosen",
    }
}

/// What a comparison is called.
pub fn title(library: &Library<'_>, matrix: &Matrix) -> String {
    let on = |what: &str| match machine(library, matrix) {
        "" => what.to_owned(),
        machine => format!("{what}, on {}", cell(machine)),
    };
    let named = arm(matrix).map_or("", |arm| library.arm_in(&matrix.suite, arm));
    let arm = match named {
        "" => String::new(),
        named => format!(", arm {}", cell(named)),
    };
    let what = match matrix.by {
        By::Night => on("The newest night and the one before"),
        By::Machine => "Machine by machine".into(),
        By::Gpu => "GPU by GPU".into(),
        By::Driver => on("Driver by driver"),
        By::GpuDriver => "GPU by driver".into(),
        By::Image => on("Image by image"),
        By::Arm => on("Arm by arm"),
        By::Chosen => {
            let labels = baseline(matrix).map(|one| (&one.baseline.label, &one.candidate.label));
            let more = match matrix.comparisons.len() {
                0 | 1 => String::new(),
                sides => format!(" and {} more", sides - 1),
            };
            labels.map_or("Chosen runs".into(), |(a, b)| {
                format!("Chosen: {} and {}{more}", cell(a), cell(b))
            })
        }
    };
    what + &arm
}

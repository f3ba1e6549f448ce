//! A comparison: what differs between the sides first, then each side as a whole, then case by case.

use std::collections::{BTreeMap, BTreeSet};

use assay_stats::Interval;
use assay_verdicts::{CaseComparison, Comparison, Side};
use serde::Serialize;

use super::compare;
use super::fill;
use super::judged::{self, Effect};
use super::part::{self, Badge, Link, cell};
use crate::chart::{self, Axis};
use crate::error::ReportError;
use crate::model::{Cross, Library, Matrix};
use crate::text::{breakable, clip};
use crate::words;

/// Longest reason of a verdict, in characters.
const NOTE: usize = 400;
/// Most differences, notes and cases left out of one side that are listed.
const LISTED: usize = 20;
/// Most runs of a side that are named.
const RUNS: usize = 8;

#[derive(Serialize)]
struct Page {
    title: String,
    suite: Link,
    baseline: SideView,
    sides: Vec<Column>,
    is_pair: bool,
    cross: Option<CrossView>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct SideView {
    letter: char,
    label: String,
    /// The page of its run where it is called by that alone; then `runs` is empty.
    href: String,
    arm: String,
    runs: Vec<Link>,
    more_runs: usize,
}

/// Sides by two things in which they differ: the geometric mean of each over the baseline.
#[derive(Serialize)]
struct CrossView {
    columns: Vec<String>,
    rows: Vec<CrossRow>,
}

#[derive(Serialize)]
struct CrossRow {
    label: String,
    /// Per column; absent where it was never measured.
    cells: Vec<Option<CrossCell>>,
}

#[derive(Serialize)]
struct CrossCell {
    letter: char,
    is_baseline: bool,
    mean: Option<Effect>,
    cases: usize,
}

/// A side beside the baseline, and what is said of it as a whole.
#[derive(Serialize)]
struct Column {
    side: SideView,
    differences: Vec<String>,
    more_differences: usize,
    shift: String,
    notes: Vec<String>,
    basis: String,
    mean: Option<Effect>,
    mean_cases: usize,
    counts: String,
    best: Option<Extreme>,
    worst: Option<Extreme>,
    trust: String,
    left_out: Vec<(String, String)>,
    more_left_out: usize,
}

/// What is known to have changed the most in one direction.
#[derive(Serialize)]
struct Extreme {
    /// As HTML.
    name: String,
    metric: String,
    effect: Effect,
}

#[derive(Serialize)]
struct Row {
    /// As HTML.
    case: String,
    /// Its series on the newest side; empty where it has none.
    href: String,
    metric: String,
    cells: Vec<Option<Cell>>,
}

#[derive(Serialize)]
struct Cell {
    badge: Badge,
    effect: Option<Effect>,
    chart: String,
    /// Why there is no number, or no right one, and what must be said beside it; for a pair also why the verdict is what it is.
    note: String,
}

/// The page at `href`.
pub fn render(library: &Library<'_>, matrix: &Matrix, href: &str) -> Result<String, ReportError> {
    let title = compare::title(library, matrix);
    let baseline = matrix.comparisons.first().map(|one| &one.baseline);
    let lettered = ('B'..).zip(&matrix.comparisons);
    let rows = rows(library, matrix, href)?;
    let page = Page {
        suite: part::suite_link(&matrix.suite),
        baseline: side(
            'A',
            baseline.unwrap_or(&Side {
                label: String::new(),
                runs: Vec::new(),
                arm: String::new(),
            }),
        ),
        sides: lettered.map(|(letter, one)| column(letter, one)).collect(),
        is_pair: matrix.comparisons.len() == 1,
        cross: matrix.cross.as_ref().map(|cross| crossed(matrix, cross)),
        rows,
        title,
    };
    let whole = format!("{}: {}", matrix.suite, page.title);
    fill(library.settings, "matrix.html", &whole, &page)
}

fn side(letter: char, side: &Side) -> SideView {
    let newest_first = side.runs.iter().rev();
    let mut runs: Vec<Link> = newest_first.take(RUNS).map(part::run_link).collect();
    let is_label = matches!(&side.runs[..], [run] if side.label == run.as_str());
    let only = runs.pop_if(|_| is_label);
    SideView {
        letter,
        label: cell(&side.label),
        href: only.map_or(String::new(), |run| run.href),
        arm: cell(part::arm(&side.arm)),
        runs,
        more_runs: side.runs.len().saturating_sub(RUNS),
    }
}

fn column(letter: char, comparison: &Comparison) -> Column {
    let (differences, more_differences) = judged::listed(&comparison.differences, LISTED);
    let said =
        |words: Option<String>| words.map_or(String::new(), |words| judged::sentence(&words));
    let caveats: Vec<String> = comparison
        .caveats
        .iter()
        .map(|note| judged::sentence(note))
        .collect();
    Column {
        side: side(letter, &comparison.candidate),
        differences,
        more_differences,
        shift: said(words::common_shift(comparison)),
        notes: judged::listed(&caveats, LISTED).0,
        basis: said(Some(words::basis(comparison))),
        mean: compare::mean(comparison),
        mean_cases: comparison.suite.geometric_mean.map_or(0, |mean| mean.cases),
        counts: said(Some(words::counts(&comparison.suite.counts))),
        best: comparison.best().and_then(extreme),
        worst: comparison.worst().and_then(extreme),
        trust: said(Some(words::false_alarms(comparison))),
        left_out: comparison
            .left_out
            .iter()
            .take(LISTED)
            .map(|left| (cell(&left.case), cell(&left.note)))
            .collect(),
        more_left_out: comparison.left_out.len().saturating_sub(LISTED),
    }
}

fn crossed(matrix: &Matrix, cross: &Cross) -> CrossView {
    let cell_of = |at: usize| {
        let comparison = at.checked_sub(1).map(|at| &matrix.comparisons[at]);
        let mean = comparison.and_then(|one| one.suite.geometric_mean);
        CrossCell {
            letter: ('A'..).nth(at).unwrap_or('?'),
            is_baseline: at == 0,
            mean: comparison.and_then(compare::mean),
            cases: mean.map_or(0, |mean| mean.cases),
        }
    };
    let row = |(row, label): (usize, &String)| {
        let at = |column| {
            cross
                .places
                .iter()
                .position(|place| *place == (row, column))
        };
        let cells = (0..cross.columns.len()).map(|column| at(column).map(cell_of));
        CrossRow {
            label: cell(label),
            cells: cells.collect(),
        }
    };
    CrossView {
        columns: cross.columns.iter().map(|label| cell(label)).collect(),
        rows: cross.rows.iter().enumerate().map(row).collect(),
    }
}

fn extreme(case: &CaseComparison) -> Option<Extreme> {
    Some(Extreme {
        name: breakable(&cell(&case.case)),
        metric: part::metric(&case.metric.name),
        effect: judged::effect_of(case)?,
    })
}

/// Case and metric.
type Name<'a> = (&'a str, &'a str);

fn rows(library: &Library<'_>, matrix: &Matrix, href: &str) -> Result<Vec<Row>, ReportError> {
    let sides: Vec<BTreeMap<Name<'_>, &CaseComparison>> = matrix
        .comparisons
        .iter()
        .map(|one| one.cases.iter().map(|case| (name(case), case)).collect())
        .collect();
    let is_pair = sides.len() == 1;
    let axis = axis(matrix);
    let cell_of = |case: &CaseComparison| {
        let badge = judged::case(case);
        let draw = |ratio: &Interval| chart::forest(axis, ratio, badge.class);
        let chart = case.ratio.as_ref().filter(|_| is_pair).map(draw);
        Ok(Cell {
            chart: chart.transpose()?.unwrap_or_default(),
            effect: case.ratio.as_ref().map(judged::effect),
            note: note(case, is_pair),
            badge,
        })
    };
    let cells = |name: Name<'_>| {
        let found = sides.iter().map(|side| side.get(&name).copied());
        let drawn = found.map(|case| case.map(cell_of).transpose());
        drawn.collect::<Result<Vec<_>, String>>()
    };
    let row = |(case, metric): Name<'_>| {
        Ok(Row {
            case: breakable(&cell(case)),
            href: series(library, matrix, case, metric),
            metric: part::metric(metric),
            cells: cells((case, metric))?,
        })
    };
    let rows: Result<Vec<Row>, String> = names(matrix).into_iter().map(row).collect();
    rows.map_err(|reason| ReportError::Chart {
        page: href.into(),
        reason,
    })
}

fn name(case: &CaseComparison) -> Name<'_> {
    (&case.case, &case.metric.name)
}

/// Every case and metric of any side, in the order of the first that has it.
fn names(matrix: &Matrix) -> Vec<Name<'_>> {
    let mut seen = BTreeSet::new();
    let all = matrix.comparisons.iter().flat_map(|one| &one.cases);
    all.map(name).filter(|name| seen.insert(*name)).collect()
}

fn note(case: &CaseComparison, is_pair: bool) -> String {
    let said = match &case.trouble {
        Some(trouble) => trouble.to_string(),
        None if case.ratio.is_none() || is_pair => case.note.clone(),
        None => case.remark.clone().unwrap_or_default(),
    };
    clip(&said, NOTE).into_owned()
}

/// The axis that all rows of a pair share.
fn axis(matrix: &Matrix) -> Axis {
    let cases = matrix.comparisons.iter().flat_map(|one| &one.cases);
    let margin = matrix
        .comparisons
        .first()
        .map_or(0.0, |one| one.rules.margin);
    Axis::of(cases.filter_map(|case| case.ratio.as_ref()), margin)
}

/// The series' page on the machine of the last side that has it.
fn series(library: &Library<'_>, matrix: &Matrix, case: &str, metric: &str) -> String {
    let sides = matrix.comparisons.iter().rev().map(|one| &one.candidate);
    let found = sides.filter_map(|side| {
        let row = library.runs.get(side.runs.last()?)?;
        library.series_at(row, &side.arm, case, metric)
    });
    let history = found.into_iter().next();
    history.map_or(String::new(), |history| {
        library.hrefs[&history.series.key].clone()
    })
}

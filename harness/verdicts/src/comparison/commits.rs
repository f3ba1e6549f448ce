//! Sides paired by commit: machines, drivers or images that measured the same commits of a project.
//!
//! What the project's own changes did is the same on both sides and cancels in the ratio of each commit. How much these ratios differ
//! from commit to commit, and with them the nights on both sides, is what the interval is made of.

use std::collections::BTreeMap;

use assay_stats::{median, run_value};

use super::Loaded;
use super::pairing::Row;
use crate::RunView;

/// Fewer common commits do not show how much ratios differ from commit to commit: two that agree by chance would look certain.
pub(super) const MIN_COMMITS: usize = 3;

/// How many commits both sides have.
pub(super) fn common(baseline: &Loaded<'_>, candidate: &Loaded<'_>) -> usize {
    let [before, after] = [baseline, candidate].map(|side| {
        let runs = side.runs.iter().zip(0..);
        by_commit(runs.filter_map(|(view, at)| Some((of(view)?, at))))
    });
    before
        .keys()
        .filter(|commit| after.contains_key(*commit))
        .count()
}

/// The commit that a run measured; with changes in its tree it is none.
pub(super) fn of(view: &RunView) -> Option<&str> {
    view.run.commit.as_deref().filter(|_| !view.run.dirty)
}

/// Values of a metric of a case at the commits that both sides have it at, in the same order.
#[derive(Default)]
pub(super) struct Paired {
    /// Of each commit, the place of its last run in the baseline.
    pub places: Vec<usize>,
    pub baseline: Vec<f64>,
    pub candidate: Vec<f64>,
}

/// Pairs the rows of a case: oldest first, as the baseline has them.
pub(super) fn paired(before: &[Row<'_>], after: &[Row<'_>], metric: &str) -> Paired {
    let [before, after] = [before, after].map(|rows| {
        let known = rows.iter().filter_map(|row| {
            let rounds = row.case.good_values(metric);
            let commit = of(row.view).filter(|_| !rounds.is_empty())?;
            Some((commit, (row.run, rounds)))
        });
        by_commit(known)
    });
    let pairs = before.into_iter().filter_map(|(commit, before)| {
        let place = before.last()?.0;
        let after = after.get(commit)?;
        Some((place, level(&before)?, level(after)?))
    });
    let mut pairs: Vec<(usize, f64, f64)> = pairs.collect();
    pairs.sort_unstable_by_key(|(place, ..)| *place);
    let mut paired = Paired::default();
    for (place, before, after) in pairs {
        paired.places.push(place);
        paired.baseline.push(before);
        paired.candidate.push(after);
    }
    paired
}

fn by_commit<'a, T>(known: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut commits: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (commit, what) in known {
        commits.entry(commit).or_default().push(what);
    }
    commits
}

/// The value of a commit: the geometric mean over its runs, each the trimmed one of its rounds; the median where there is none, for a value is zero or less.
fn level(runs: &[(usize, Vec<f64>)]) -> Option<f64> {
    let logs: Option<Vec<f64>> = runs.iter().map(|(_, rounds)| run_value(rounds)).collect();
    if let Some(logs) = logs {
        return Some((logs.iter().sum::<f64>() / logs.len() as f64).exp());
    }
    let rounds = runs.iter().flat_map(|(_, rounds)| rounds).copied();
    median(&rounds.collect::<Vec<f64>>())
}

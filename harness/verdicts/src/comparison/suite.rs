//! The suite as one more case: its value in a round is the geometric mean over the cases.

use std::collections::BTreeSet;

use assay_protocol::Metric;
use assay_stats::{Interval, geometric_mean};

use super::effects::{Ground, MIN_BASELINE_RUNS};
use super::pairing::Item;
use super::{Basis, GeometricMean, commits, effects};
use crate::History;
use crate::effect::Effect;

/// Geometric mean of the ratios of times, over the cases that have enough in common.
///
/// Its interval comes from the runs' (or rounds', or commits') own means over those cases, compared as a case is. So what all cases of a
/// night have in common is in it, which adding up the cases' errors as if they were independent would leave out.
pub(super) fn geometric_mean_of(
    items: &[Item],
    found: &[Option<Effect>],
    ground: &Ground<'_>,
) -> Option<GeometricMean> {
    let timed: Vec<(&Item, &Effect)> = items
        .iter()
        .zip(found)
        .filter_map(|(item, effect)| {
            let is_time = item.metric.name == Metric::TIME && item.obstacle.is_none();
            is_time.then_some((item, effect.as_ref()?))
        })
        .collect();
    let complete = at_common_runs(&timed, ground.basis).or_else(|| with_most_runs(&timed))?;
    let ratios: Vec<f64> = complete
        .iter()
        .map(|case| case.effect.interval.ratio)
        .collect();
    let estimate = geometric_mean(&ratios)?;
    let whole = Item {
        case: String::new(),
        metric: Metric::time(),
        baseline: means(&complete, |case| &case.sides[0])?,
        candidate: means(&complete, |case| &case.sides[1])?,
        baseline_runs: Vec::new(),
        obstacle: None,
        remark: None,
        trouble: None,
        excuse: None,
        since: None,
    };
    let nothing = History::default();
    let ground = Ground {
        history: &nothing,
        ..*ground
    };
    let mut effect = effects::effects(&[whole], &ground);
    let interval = effect.pop()??.interval;
    let centred = estimate / interval.ratio;
    Some(GeometricMean {
        ratio: Interval {
            estimate,
            low: interval.low * centred,
            high: interval.high * centred,
            confidence: interval.confidence,
        },
        cases: complete.len(),
    })
}

/// A case with the values that all cases of the mean have.
struct Part<'a> {
    effect: &'a Effect,
    /// Per side, run and round.
    sides: [Vec<Vec<f64>>; 2],
}

/// Cases that have enough runs, or commits, at those that all of them have; `None` where these are too few to show how much they differ.
fn at_common_runs<'a>(timed: &[(&'a Item, &'a Effect)], basis: Basis) -> Option<Vec<Part<'a>>> {
    let (least, is_by_commit) = match basis {
        Basis::ByCommit { .. } => (commits::MIN_COMMITS, true),
        Basis::AcrossRuns { .. } => (MIN_BASELINE_RUNS, false),
        Basis::Interleaved | Basis::FewRuns { .. } => return None,
    };
    let most = timed.iter().map(|(item, _)| item.candidate.len()).max()?;
    let has_enough =
        |item: &Item| item.baseline_runs.len() >= least && item.candidate.len() == most;
    let enough: Vec<_> = timed.iter().filter(|(item, _)| has_enough(item)).collect();
    let own = |item: &Item| {
        item.baseline_runs
            .iter()
            .copied()
            .collect::<BTreeSet<usize>>()
    };
    let common = enough.iter().map(|(item, _)| own(item));
    let common = common.reduce(|all, own| &all & &own)?;
    let part = |one: &&(&'a Item, &'a Effect)| {
        let (item, effect) = **one;
        let places = item.baseline_runs.iter().zip(0..);
        let places = places.filter(|(run, _)| common.contains(run));
        let at: Vec<usize> = places.map(|(_, at)| at).collect();
        let picked = |values: &[f64]| at.iter().map(|at| values[*at]).collect::<Vec<f64>>();
        Part {
            effect,
            sides: if is_by_commit {
                [&item.baseline, &item.candidate]
                    .map(|side| side.iter().map(|all| picked(all)).collect())
            } else {
                let before = at.iter().map(|at| item.baseline[*at].clone());
                [before.collect(), item.candidate.clone()]
            },
        }
    };
    (common.len() >= least).then(|| enough.iter().map(part).collect())
}

/// The cases with the most runs.
fn with_most_runs<'a>(timed: &[(&'a Item, &'a Effect)]) -> Option<Vec<Part<'a>>> {
    let runs = |item: &Item| (item.baseline.len(), item.candidate.len());
    let most = timed.iter().map(|(item, _)| runs(item)).max()?;
    let complete = timed.iter().filter(|(item, _)| runs(item) == most);
    let part = |one: &(&'a Item, &'a Effect)| Part {
        effect: one.1,
        sides: [one.0.baseline.clone(), one.0.candidate.clone()],
    };
    Some(complete.map(part).collect())
}

/// Per run and round the geometric mean over the cases; as many rounds as every case has.
fn means<'a>(
    complete: &'a [Part<'_>],
    side: impl Fn(&'a Part<'_>) -> &'a Vec<Vec<f64>>,
) -> Option<Vec<Vec<f64>>> {
    let cases: Vec<&Vec<Vec<f64>>> = complete.iter().map(side).collect();
    let runs = cases.first()?.len();
    (0..runs)
        .map(|run| {
            let rounds = cases.iter().map(|case| case[run].len()).min()?;
            (0..rounds)
                .map(|round| {
                    let values: Vec<f64> = cases.iter().map(|case| case[run][round]).collect();
                    geometric_mean(&values)
                })
                .collect()
        })
        .collect()
}

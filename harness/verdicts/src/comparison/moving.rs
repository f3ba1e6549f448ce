//! How the suite as a whole moved, and each case relative to it.

use assay_protocol::Metric;
use assay_stats::{Movement, RatioInterval, movement, run_value};

use super::pairing::Item;
use super::{Basis, Loaded, Options, Question};
use crate::effect::Effect;

/// The movement of the times of a suite from run to run. Arms of one run share their machine to the minute: what
/// they differ by is the arms'. So it is with sides that are paired by commit.
pub(super) fn of_suite(
    items: &[Item],
    baseline: &Loaded<'_>,
    basis: Basis,
    options: &Options,
) -> Option<Movement> {
    if basis.is_paired() {
        return None;
    }
    let timed: Vec<&Item> = items.iter().filter(|item| is_timed(item)).collect();
    let in_run = |run: usize| timed.iter().map(|item| value_in(item, run)).collect();
    let before: Vec<Vec<Option<f64>>> = (0..baseline.runs.len()).map(in_run).collect();
    let after: Vec<Option<f64>> = timed.iter().map(|item| value_of(item)).collect();
    movement(&before, &after, options.gap, options.rules.least_effect)
}

/// What is judged: of a gate the times relative to what the suite did, else the ratios as they are.
pub(super) fn judged_by(
    items: &[Item],
    found: &[Option<Effect>],
    movement: Option<&Movement>,
    options: &Options,
) -> Vec<Option<RatioInterval>> {
    let movement = movement.filter(|_| options.question == Question::Gate);
    let judged = items.iter().zip(found).map(|(item, effect)| {
        let interval = effect.as_ref()?.interval;
        let relative = movement
            .filter(|_| is_timed(item))
            .and_then(|movement| relative(item, &interval, movement, options.gap));
        Some(relative.unwrap_or(interval))
    });
    judged.collect()
}

fn relative(
    item: &Item,
    effect: &RatioInterval,
    movement: &Movement,
    gap: usize,
) -> Option<RatioInterval> {
    let runs = item.baseline_runs.iter().zip(&item.baseline);
    let before: Vec<(usize, f64)> = runs
        .filter_map(|(run, rounds)| Some((*run, run_value(rounds)?)))
        .collect();
    Some(movement.relative(&before, value_of(item)?, gap, effect))
}

fn is_timed(item: &Item) -> bool {
    item.metric.name == Metric::TIME && item.obstacle.is_none()
}

/// Value of the case in a run of the baseline.
fn value_in(item: &Item, run: usize) -> Option<f64> {
    let at = item.baseline_runs.iter().position(|have| *have == run)?;
    run_value(&item.baseline[at])
}

/// Value of the case in the candidate, over all its runs.
fn value_of(item: &Item) -> Option<f64> {
    let values: Option<Vec<f64>> = item.candidate.iter().map(|run| run_value(run)).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

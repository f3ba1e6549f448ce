//! The effect in each item, by what there is to compare.

use assay_protocol::Metric;
pub(super) use assay_stats::levels::MIN_BASELINE_RUNS;
use assay_stats::{RatioInterval, levels, paired_log_ratio, ratio_of_runs};

use super::pairing::Item;
use super::{Basis, commits};
use crate::effect::{Effect, Origin};
use crate::few_runs::{self, Times};
use crate::{CONFIDENCE, History};

/// What the items of a comparison have in common.
pub(super) struct Ground<'a> {
    pub basis: Basis,
    /// Name of the candidate's arm.
    pub arm: &'a str,
    /// Asked where there are too few runs.
    pub history: &'a History,
    /// Runs between the last of the baseline and the candidate.
    pub gap: usize,
}

/// Candidate over baseline in each item; `None` where the values allow no ratio.
pub(super) fn effects(items: &[Item], ground: &Ground<'_>) -> Vec<Option<Effect>> {
    let pairs_of = match ground.basis {
        Basis::Interleaved => Some((Origin::Pairs, 2)),
        Basis::ByCommit { .. } => Some((Origin::Commits, commits::MIN_COMMITS)),
        Basis::AcrossRuns { .. } | Basis::FewRuns { .. } => None,
    };
    if let Some((origin, least)) = pairs_of {
        let found = items.iter().map(|item| {
            let paired = paired(item, origin).filter(|found| found.rounds as usize >= least);
            paired.or(constant(item))
        });
        return found.collect();
    }
    let found = items
        .iter()
        .map(|item| across_runs(item, ground.gap).or(constant(item)));
    let mut found: Vec<Option<Effect>> = found.collect();
    for metric in metrics(items) {
        let few: Vec<usize> = (0..items.len())
            .filter(|&at| items[at].metric.name == metric && !has_enough_runs(&items[at]))
            .collect();
        let times: Vec<Times> = few.iter().map(|&at| times(&items[at], ground)).collect();
        for (at, effect) in few.into_iter().zip(few_runs::effects(&times)) {
            found[at] = constant(&items[at]).or(effect);
        }
    }
    found
}

fn metrics(items: &[Item]) -> Vec<&str> {
    let mut metrics: Vec<&str> = items.iter().map(|item| item.metric.name.as_str()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    metrics
}

fn has_enough_runs(item: &Item) -> bool {
    item.baseline.len().max(item.candidate.len()) >= MIN_BASELINE_RUNS
}

fn times(item: &Item, ground: &Ground<'_>) -> Times {
    Times {
        baseline: item.baseline.clone(),
        candidate: item.candidate.clone(),
        history: ground
            .history
            .of(&item.case, ground.arm, &item.metric.name)
            .to_vec(),
    }
}

fn paired(item: &Item, origin: Origin) -> Option<Effect> {
    let (before, after) = (item.baseline.first()?, item.candidate.first()?);
    let interval = paired_log_ratio(before, after, CONFIDENCE)?;
    let of_pair = interval.log_standard_error * (before.len() as f64).sqrt();
    Some(Effect {
        interval,
        round_sd: of_pair / std::f64::consts::SQRT_2,
        run_sd: 0.0,
        rounds: before.len() as u32,
        origin,
    })
}

/// With enough runs on either side: that side shows how much runs differ.
fn across_runs(item: &Item, gap: usize) -> Option<Effect> {
    let (interval, reference) = if item.baseline.len() >= MIN_BASELINE_RUNS {
        let ratio = ratio_of_runs(&item.baseline, &item.candidate, gap, CONFIDENCE)?;
        (ratio, &item.baseline)
    } else {
        // Backwards in time: the runs next to the baseline last.
        let mut runs = item.candidate.clone();
        runs.reverse();
        let ratio = ratio_of_runs(&runs, &item.baseline, gap, CONFIDENCE)?;
        (inverse(&ratio), &item.candidate)
    };
    let sides = 1.0 / item.baseline.len() as f64 + 1.0 / item.candidate.len() as f64;
    let of_runs = interval.log_standard_error / sides.sqrt();
    let (round_sd, run_sd) =
        levels(reference).map_or((0.0, of_runs), |levels| (levels.round_sd, levels.run_sd));
    let shortest = item.baseline.iter().chain(&item.candidate).map(Vec::len);
    Some(Effect {
        interval,
        round_sd,
        run_sd,
        rounds: shortest.min()? as u32,
        origin: Origin::Runs,
    })
}

fn inverse(ratio: &RatioInterval) -> RatioInterval {
    RatioInterval {
        ratio: 1.0 / ratio.ratio,
        low: 1.0 / ratio.high,
        high: 1.0 / ratio.low,
        ..*ratio
    }
}

/// A metric that is no time and the same in every round of a side is computed, not measured: no run will give another value.
/// The same value on both sides is a ratio of 1 even where it is zero or negative.
fn constant(item: &Item) -> Option<Effect> {
    let value = |runs: &[Vec<f64>]| {
        let rounds = runs.concat();
        let first = *rounds.first()?;
        // To the bit: what was computed twice, not what was measured to be close.
        let is_constant = rounds.len() > 1
            && rounds
                .iter()
                .all(|value| value.to_bits() == first.to_bits());
        (is_constant && first.is_finite()).then_some(first)
    };
    if item.metric.name == Metric::TIME {
        return None;
    }
    let (before, after) = (value(&item.baseline)?, value(&item.candidate)?);
    let ratio = match () {
        () if before.to_bits() == after.to_bits() => 1.0,
        () if before > 0.0 && after > 0.0 => after / before,
        () => return None,
    };
    Some(Effect {
        interval: RatioInterval {
            ratio,
            low: ratio,
            high: ratio,
            confidence: CONFIDENCE,
            log_standard_error: 0.0,
            degrees_of_freedom: 1e6,
        },
        round_sd: 0.0,
        run_sd: 0.0,
        rounds: item.candidate.concat().len() as u32,
        origin: Origin::Constant,
    })
}

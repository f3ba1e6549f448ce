//! Change points in a series of runs: where the level of a benchmark shifted, and how sure that is.
//!
//! One value per night goes in, in time order; the rule is stated on [`change_points`]. It is binary segmentation
//! (Scott and Knott 1974, Biometrics 30(3), 507-512; Vostrikova 1981, Soviet Mathematics Doklady 24, 55-59) from the whole series
//! down, because noise is best told from change on the longest stretch: a benchmark that flips between two states every
//! fortnight is noisy, and no flip of it is news. It does not judge whether a change is good, and does not watch a
//! series night by night: each call judges one finished series, so that calling it every night adds chances of a false alarm.
//!
//! The rooms: `clean` takes spikes off, `sums` makes fits cheap, `fit` finds the best cuts, `noise` and `evidence` say what they are worth,
//! `locate` where they are.

mod clean;
mod evidence;
mod fit;
mod locate;
mod noise;
mod sums;

use serde::{Deserialize, Serialize};

use crate::sample::all_finite;
use crate::summary::median_in_place;
use evidence::{Pace, evidence, is_jump, pace};
use fit::{Fit, SHORTEST, SHORTEST_SHAPED, best_cut, best_passing};
use locate::locate;
use sums::{Shape, Stretch, Sums};

/// Chance that one look at a stretch without change reports one. A stretch gets up to three looks (step, passing shift, jump
/// on a line) and heavy tails cost a little, so that about 5 in 1000 series of pure noise show a change.
const SIGNIFICANCE: f64 = 0.001;

/// Squares below this are rounding, in a series whose largest value is 1.
const ROUNDING: f64 = 1e-20;

/// One shift of the level of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePoint {
    /// The first point after the change, counted from 0; never 0 itself.
    pub index: usize,
    /// The earliest index that the series cannot tell from `index`, at 95 %.
    pub earliest: usize,
    /// The latest such index: what changed is after the run of point `earliest - 1` and not after that of `latest`.
    pub latest: usize,
    /// Median of the points since the change before, in the unit of the series.
    pub before: f64,
    /// Median of the points up to the next change, in the unit of the series.
    pub after: f64,
    /// Probability that noise alone looks like this somewhere in the stretch that was searched; 0 if there is no noise.
    pub p_value: f64,
    /// Whether the level moved over many points instead of from one to the next: no single commit is to blame, and the
    /// interval says where a step fits best.
    pub gradual: bool,
}

/// The changes of level in a series of runs in time order; empty if there are none, `None` if the series is empty or any value is
/// not finite. Fewer than 8 points never show a change.
///
/// The rule: pull spikes in to three robust standard deviations of their neighbours. Then, for the whole series and
/// again for each part of it, look for the best step and the best passing shift. One counts if noise with the same
/// memory does as well in less than 1 of 1000 stretches, and if it explains the stretch better than a straight line does,
/// by ln n (Schwarz's price for the place of the step). Where a line is better, look for a jump between two lines. A
/// change that is not to be seen among the nights next to it is gradual, and is not taken apart into more of that kind.
///
/// The values may have any sign and unit: scale and shift change nothing but `before` and `after`.
/// O(n²) up to 1000 points, O(n) with a large constant beyond, for each part.
pub fn change_points(values: &[f64]) -> Option<Vec<ChangePoint>> {
    if !all_finite(values) {
        return None;
    }
    let Some(cleaned) = clean::cleaned(values) else {
        return Some(Vec::new());
    };
    let sums = Sums::of(cleaned);
    let mut cuts = Vec::new();
    segment(&sums, sums.whole(), false, &mut cuts);
    cuts.sort_unstable_by_key(|cut| cut.index);
    Some(described(values, &sums, &cuts))
}

/// A cut that was found, before its neighbours are known.
#[derive(Clone, Copy, Debug)]
struct Cut {
    index: usize,
    shape: Shape,
    p_value: f64,
    gradual: bool,
}

/// Cuts a stretch as long as there is something to find. Parts of a gradual change are `drifting`: there only what is clearly
/// abrupt counts, so that a drift is told once and not as a flight of steps.
fn segment(sums: &Sums, stretch: Stretch, drifting: bool, cuts: &mut Vec<Cut>) {
    let counts = |found: &Split| !drifting || found.pace == Pace::Abrupt;
    let Some(found) = split(sums, stretch).filter(counts) else {
        return;
    };
    let gradual = found.pace == Pace::Gradual;
    cuts.extend(found.fit.cuts.iter().map(|&index| Cut {
        index,
        shape: found.fit.shape,
        p_value: found.p_value,
        gradual,
    }));
    for piece in found.fit.pieces() {
        segment(sums, piece, drifting || gradual, cuts);
    }
}

/// A split that counts.
struct Split {
    fit: Fit,
    p_value: f64,
    pace: Pace,
}

/// The most convincing split of a stretch, if any counts.
fn split(sums: &Sums, stretch: Stretch) -> Option<Split> {
    if stretch.nights() < 2 * SHORTEST || sums.around(stretch, Shape::Level) < ROUNDING {
        return None;
    }
    split_levels(sums, stretch).or_else(|| split_lines(sums, stretch))
}

/// The best step, or the best passing shift if that explains more; if it is sure and no line does as well.
fn split_levels(sums: &Sums, stretch: Stretch) -> Option<Split> {
    let uncut = sums.around(stretch, Shape::Level);
    let step = best_cut(sums, stretch, Shape::Level, SHORTEST)?;
    let line = sums.around(stretch, Shape::Line);
    let passing = best_passing(sums, stretch)
        .and_then(|fit| level_split(sums, fit, uncut, step.squares.min(line)));
    passing.or_else(|| level_split(sums, step, uncut, line))
}

/// Levels, if they are sure and explain more than `rival` squares by the price of their places.
fn level_split(sums: &Sums, fit: Fit, uncut: f64, rival: f64) -> Option<Split> {
    if fit.squares >= rival {
        return None;
    }
    let found = evidence(&fit, uncut, sums)?;
    let price = found.long_run * fit.cuts.len() as f64 * (fit.stretch.nights() as f64).ln();
    let counts = found.p_value <= SIGNIFICANCE && fit.squares + price < rival;
    counts.then(|| Split {
        p_value: found.p_value,
        pace: pace(&fit, found.long_run, sums),
        fit,
    })
}

/// The best jump between two lines, if it is sure and is a jump.
fn split_lines(sums: &Sums, stretch: Stretch) -> Option<Split> {
    let uncut = sums.around(stretch, Shape::Line);
    if uncut < ROUNDING {
        return None;
    }
    let fit = best_cut(sums, stretch, Shape::Line, SHORTEST_SHAPED)?;
    let found = evidence(&fit, uncut, sums)?;
    let counts = found.p_value <= SIGNIFICANCE && is_jump(&fit, sums);
    counts.then(|| Split {
        p_value: found.p_value,
        pace: pace(&fit, found.long_run, sums),
        fit,
    })
}

/// Cuts in time order with their places among each other and the levels between them.
fn described(values: &[f64], sums: &Sums, cuts: &[Cut]) -> Vec<ChangePoint> {
    let ends = cuts
        .iter()
        .skip(1)
        .map(|cut| cut.index)
        .chain([values.len()]);
    let mut start = 0;
    let located: Vec<_> = cuts
        .iter()
        .zip(ends)
        .map(|(cut, end)| {
            let found = locate(sums, Stretch::new(start, end), cut.index, cut.shape);
            start = found.index;
            found
        })
        .collect();
    let index = |place: usize| located.get(place).map_or(values.len(), |found| found.index);
    let level = |from: usize, to: usize| median_in_place(&mut values[from..to].to_vec());
    let describe = |(place, cut): (usize, &Cut)| ChangePoint {
        index: located[place].index,
        earliest: located[place].earliest,
        latest: located[place].latest,
        before: level(if place == 0 { 0 } else { index(place - 1) }, index(place)),
        after: level(index(place), index(place + 1)),
        p_value: cut.p_value,
        gradual: cut.gradual,
    };
    cuts.iter().enumerate().map(describe).collect()
}

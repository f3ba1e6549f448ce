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
use evidence::{Pace, evidence, is_jump, is_trending, pace};
use fit::{Fit, SHORTEST, SHORTEST_SHAPED, best_cut, best_passing};
use locate::locate;
use sums::{Shape, Stretch, Sums};

/// Chance that one look at a stretch without change reports one. A stretch gets up to three looks (step, passing shift, jump
/// on a line) and heavy tails cost a little, so that about 5 in 1000 series of pure noise show a change.
const SIGNIFICANCE: f64 = 0.001;

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
/// not finite. Fewer than 10 points never show a change.
///
/// The rule: pull spikes in to three robust standard deviations of their neighbours. Then, for the whole series and
/// again for each part of it, look for the best step and the best passing shift. One counts if noise with the same
/// memory does as well in less than 1 of 1000 stretches, and if it explains the stretch better than a straight line does, by
/// ln n for each cut (Schwarz's price for its place). Where a line is better, look for a jump between two lines. Where there
/// is only a trend, look at its halves for steps. A change that is not to be seen among the nights next to it is
/// gradual, and its parts may only be cut by abrupt ones.
///
/// The values may have any sign and unit: scale and shift change nothing but `before` and `after`.
/// O(n²) up to 1000 points and O(n) beyond, for each part: about 2 ms for 1000 points, 0.15 s for the worst 10,000 tried.
pub fn change_points(values: &[f64]) -> Option<Vec<ChangePoint>> {
    if !all_finite(values) {
        return None;
    }
    let Some(cleaned) = clean::cleaned(values) else {
        return Some(Vec::new());
    };
    let sums = Sums::of(cleaned);
    let mut cuts = Vec::new();
    let look = Look {
        only_abrupt: false,
        significance: SIGNIFICANCE,
    };
    segment(&sums, sums.whole(), look, &mut cuts);
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

/// How a stretch is to be looked at.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Only what is clearly abrupt counts, so that a drift is told once and not as a flight of steps.
    only_abrupt: bool,
    /// Chance of a false alarm that it may take.
    significance: f64,
}

/// Cuts a stretch as long as there is something to find.
fn segment(sums: &Sums, stretch: Stretch, look: Look, cuts: &mut Vec<Cut>) {
    let counts = |found: &Split| !look.only_abrupt || found.pace == Pace::Abrupt;
    let Some(found) = split(sums, stretch, look.significance).filter(counts) else {
        if is_trending(sums, stretch) {
            segment_halves(sums, stretch, look, cuts);
        }
        return;
    };
    let gradual = found.pace == Pace::Gradual;
    cuts.extend(found.fit.cuts.iter().map(|&index| Cut {
        index,
        shape: found.fit.shape,
        p_value: found.p_value,
        gradual,
    }));
    let only_abrupt = look.only_abrupt || gradual;
    for piece in found.fit.pieces() {
        segment(
            sums,
            piece,
            Look {
                only_abrupt,
                ..look
            },
            cuts,
        );
    }
}

/// Looks at both halves of a stretch that has a trend but no change: a flight of equal steps looks like a line from
/// afar. What is found there cuts the stretch, and its parts are looked at again.
fn segment_halves(sums: &Sums, stretch: Stretch, look: Look, cuts: &mut Vec<Cut>) {
    let closer = Look {
        only_abrupt: true,
        significance: look.significance / 2.0,
    };
    let middle = usize::midpoint(stretch.from, stretch.to);
    let mut found = Vec::new();
    segment(sums, Stretch::new(stretch.from, middle), closer, &mut found);
    segment(sums, Stretch::new(middle, stretch.to), closer, &mut found);
    if found.is_empty() {
        return;
    }
    found.sort_unstable_by_key(|cut| cut.index);
    let starts = [stretch.from]
        .into_iter()
        .chain(found.iter().map(|cut| cut.index));
    let ends = found.iter().map(|cut| cut.index).chain([stretch.to]);
    for (from, to) in starts.zip(ends) {
        segment(sums, Stretch::new(from, to), closer, cuts);
    }
    cuts.append(&mut found);
}

/// A split that counts.
struct Split {
    fit: Fit,
    p_value: f64,
    pace: Pace,
}

/// The most convincing split of a stretch, if any counts.
fn split(sums: &Sums, stretch: Stretch, significance: f64) -> Option<Split> {
    if stretch.nights() < 2 * SHORTEST || sums.is_exact(stretch, Shape::Level) {
        return None;
    }
    split_levels(sums, stretch, significance).or_else(|| split_lines(sums, stretch, significance))
}

/// The best step, or the best passing shift if that explains more; if it is sure and no line does as well.
fn split_levels(sums: &Sums, stretch: Stretch, significance: f64) -> Option<Split> {
    let uncut = sums.around(stretch, Shape::Level);
    let step = best_cut(sums, stretch, Shape::Level, SHORTEST)?;
    let line = sums.around(stretch, Shape::Line);
    let passing = best_passing(sums, stretch)
        .and_then(|fit| level_split(sums, fit, uncut, step.squares.min(line), significance));
    passing.or_else(|| level_split(sums, step, uncut, line, significance))
}

/// Levels, if they are sure and explain more than `rival` squares by the price of their places.
fn level_split(sums: &Sums, fit: Fit, uncut: f64, rival: f64, significance: f64) -> Option<Split> {
    if fit.squares >= rival {
        return None;
    }
    let found = evidence(&fit, uncut, sums)?;
    let price = found.long_run * fit.cuts.len() as f64 * (fit.stretch.nights() as f64).ln();
    let counts = found.p_value <= significance && fit.squares + price < rival;
    counts.then(|| Split {
        p_value: found.p_value,
        pace: pace(&fit, found.long_run, sums),
        fit,
    })
}

/// The best jump between two lines, if it is sure and is a jump.
fn split_lines(sums: &Sums, stretch: Stretch, significance: f64) -> Option<Split> {
    let uncut = sums.around(stretch, Shape::Line);
    if sums.is_exact(stretch, Shape::Line) {
        return None;
    }
    let fit = best_cut(sums, stretch, Shape::Line, SHORTEST_SHAPED)?;
    let found = evidence(&fit, uncut, sums)?;
    let counts = found.p_value <= significance && is_jump(&fit, sums);
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

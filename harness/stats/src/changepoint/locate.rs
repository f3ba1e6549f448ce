//! Where a change is, given its neighbours: the best night and all that the nights cannot tell from it.

use super::fit::{Fit, SHORTEST, squares_cut};
use super::noise::Noise;
use super::sums::{Shape, Stretch, Sums};

/// How much more squares than the best cut a cut may leave, in long-run variances, to stay in the 95 % set.
/// It solves (1 - e^(-x/2))² = 0.95. Source: Eo and Morley 2015, "Likelihood-ratio-based confidence sets for the timing of
/// structural breaks", Quantitative Economics 6(2), 463-497.
const CRITICAL: f64 = 7.35;

/// First nights after a change: the best one and the ends of its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    pub index: usize,
    pub earliest: usize,
    pub latest: usize,
}

/// The location of the one change in `stretch`, which was found at `cut`.
pub(super) fn locate(sums: &Sums, stretch: Stretch, cut: usize, shape: Shape) -> Location {
    let shortest = SHORTEST.min(cut - stretch.from).min(stretch.to - cut);
    let left: Vec<(usize, f64)> = (stretch.from + shortest..=stretch.to - shortest)
        .map(|cut| (cut, squares_cut(sums, stretch, cut, shape)))
        .collect();
    let best = left.iter().min_by(|one, other| one.1.total_cmp(&other.1));
    let (index, squares) = best.copied().unwrap_or((cut, 0.0));
    let fit = Fit {
        stretch,
        cuts: vec![index],
        shape,
        squares,
    };
    let allowed = squares + CRITICAL * Noise::around(&fit, sums).map_or(0.0, Noise::long_run);
    let possible = || {
        left.iter()
            .filter(|(_, squares)| *squares <= allowed)
            .map(|(cut, _)| *cut)
    };
    Location {
        index,
        earliest: possible().min().unwrap_or(index),
        latest: possible().max().unwrap_or(index),
    }
}

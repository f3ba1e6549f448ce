//! Three ways to cut a stretch, each at its best place: one step, a passing shift, and a jump between two lines.
//!
//! The place with the least squares left, by trying all (Bai 1997, Review of Economics and Statistics 79(4), section 2). How much that
//! is worth is the business of [`super::evidence`].

use super::sums::{Shape, Stretch, Sums};

/// Fewest nights between two changes: in five, two adjacent spikes are outvoted. In the first four nights after a step it is
/// too early to say.
pub(super) const SHORTEST: usize = 5;

/// Fewest nights of a passing shift and beside a jump between lines: three times as many, since both have more
/// freedom to follow a few odd nights than one step has.
pub(super) const SHORTEST_SHAPED: usize = 3 * SHORTEST;

/// Starts and ends of a passing shift that are tried, per stretch; longer stretches are searched on a grid, then around its
/// best place. It bounds the cost of long series at half a million trials.
const GRID: usize = 1000;

/// A stretch cut in two or three.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub stretch: Stretch,
    pub cuts: Vec<usize>,
    pub shape: Shape,
    /// Squares left around it; for three pieces, around one level inside and one outside.
    pub squares: f64,
}

impl Fit {
    /// The pieces, in time order.
    pub fn pieces(&self) -> Vec<Stretch> {
        let starts = [self.stretch.from]
            .into_iter()
            .chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([self.stretch.to]);
        starts
            .zip(ends)
            .map(|(from, to)| Stretch::new(from, to))
            .collect()
    }

    /// What the pieces leave, each with its own fit.
    pub fn residuals(&self, sums: &Sums) -> Vec<f64> {
        let pieces = self.pieces().into_iter();
        pieces
            .flat_map(|piece| sums.residuals(piece, self.shape))
            .collect()
    }
}

/// Squares left when `stretch` is cut at `cut` and both sides get their own fit.
pub(super) fn squares_cut(sums: &Sums, stretch: Stretch, cut: usize, shape: Shape) -> f64 {
    sums.around(Stretch::new(stretch.from, cut), shape)
        + sums.around(Stretch::new(cut, stretch.to), shape)
}

/// The best single cut that leaves `shortest` nights on both sides.
pub(super) fn best_cut(
    sums: &Sums,
    stretch: Stretch,
    shape: Shape,
    shortest: usize,
) -> Option<Fit> {
    if stretch.nights() < 2 * shortest {
        return None;
    }
    let (cut, squares) = (stretch.from + shortest..=stretch.to - shortest)
        .map(|cut| (cut, squares_cut(sums, stretch, cut, shape)))
        .min_by(|one, other| one.1.total_cmp(&other.1))?;
    Some(Fit {
        stretch,
        cuts: vec![cut],
        shape,
        squares,
    })
}

/// The best passing shift: one level up to a night, another up to a second night, and the first one again.
/// Source: Levin and Kline 1985, Statistics in Medicine 4(4), 469-488; Olshen et al. 2004, Biostatistics 5(4), section 2.
pub(super) fn best_passing(sums: &Sums, stretch: Stretch) -> Option<Fit> {
    let (first, last) = (stretch.from + SHORTEST, stretch.to.checked_sub(SHORTEST)?);
    if last < first + SHORTEST_SHAPED {
        return None;
    }
    let mean = sums.mean(stretch);
    let nights = stretch.nights() as f64;
    let explained = |from: usize, to: usize| {
        let count = (to - from) as f64;
        let excess = sums.total(Stretch::new(from, to)) - count * mean;
        excess * excess / (count * (1.0 - count / nights))
    };
    let stride = stretch.nights().div_ceil(GRID);
    let (mut from, mut to) = best_pair(sums, stretch, (first, last), stride);
    let mut best = explained(from, to);
    if stride > 1 {
        let near = |at: usize| at.saturating_sub(stride).max(first)..=(at + stride).min(last);
        let (starts, ends) = (near(from), near(to));
        let pairs = starts.flat_map(|start| ends.clone().map(move |end| (start, end)));
        for (start, end) in pairs.filter(|(start, end)| *end >= start + SHORTEST_SHAPED) {
            let found = explained(start, end);
            if found > best {
                (best, from, to) = (found, start, end);
            }
        }
    }
    let squares = (sums.around(stretch, Shape::Level) - best).max(0.0);
    Some(Fit {
        stretch,
        cuts: vec![from, to],
        shape: Shape::Level,
        squares,
    })
}

/// Of the starts and ends on a grid, those that explain most: the outermost where none explains anything.
///
/// Most of the time of a search goes here. With `q` the running sum less its mean, `n` nights of `N` explain `(q[to] - q[from])² / (n (1 - n / N))`,
/// and the divisors are the same for every start. Ends are looked at by the block, and most blocks not at all: what their highest or
/// lowest `q` would explain beside their least divisor, which is that of their first or last end, is less than what is found.
fn best_pair(
    sums: &Sums,
    stretch: Stretch,
    (first, last): (usize, usize),
    stride: usize,
) -> (usize, usize) {
    let mean = sums.mean(stretch);
    let nights = stretch.nights() as f64;
    let places: Vec<usize> = (first..=last).step_by(stride).collect();
    let excess: Vec<f64> = places
        .iter()
        .map(|at| {
            let before = Stretch::new(stretch.from, *at);
            sums.total(before) - before.nights() as f64 * mean
        })
        .collect();
    let weights: Vec<f64> = (0..places.len())
        .map(|steps| {
            let count = (steps * stride) as f64;
            1.0 / (count * (1.0 - count / nights))
        })
        .collect();
    let blocks: Vec<[f64; 2]> = excess.chunks(BLOCK).map(extremes).collect();
    let shortest = SHORTEST_SHAPED.div_ceil(stride);
    let (mut best, mut pair) = (0.0, (first, last));
    for start in 0..places.len().saturating_sub(shortest) {
        let from = start + shortest;
        let mut found = best;
        for (block, extremes) in blocks.iter().enumerate().skip(from / BLOCK) {
            let ends = from.max(block * BLOCK)..places.len().min((block + 1) * BLOCK);
            let weights = &weights[ends.start - start..ends.end - start];
            let heaviest = larger(weights[0], weights[weights.len() - 1]);
            let bound = extremes.map(|end| value(excess[start], end, heaviest));
            if larger(bound[0], bound[1]) * ROUNDED > found {
                found = larger(found, most(excess[start], &excess[ends], weights));
            }
        }
        if found > best {
            let (ends, weights) = (&excess[from..], &weights[shortest..]);
            let is_it = |(end, weight): (&f64, &f64)| value(excess[start], *end, *weight) >= found;
            let end = ends.iter().zip(weights).position(is_it);
            let end = from + end.unwrap_or(ends.len() - 1);
            (best, pair) = (found, (places[start], places[end]));
        }
    }
    pair
}

fn value(start: f64, end: f64, weight: f64) -> f64 {
    (end - start) * (end - start) * weight
}

/// Ends that are passed over together.
const BLOCK: usize = 32;

/// A bound on rounded numbers, from rounded numbers.
const ROUNDED: f64 = 1.0 + 1e-12;

/// Numbers that are compared at once.
const LANES: usize = 8;

fn larger(one: f64, other: f64) -> f64 {
    if other > one { other } else { one }
}

/// The least of some numbers, and the largest.
fn extremes(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [least, most]
}

/// The largest value of a start with any end; 0 of none.
fn most(start: f64, ends: &[f64], weights: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (ends, weights) = (ends.chunks_exact(LANES), weights.chunks_exact(LANES));
    let rest = ends.remainder().iter().zip(weights.remainder());
    let rest = rest.fold(0.0, |most, (end, weight)| {
        larger(most, value(start, *end, *weight))
    });
    for (ends, weights) in ends.zip(weights) {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], value(start, ends[lane], weights[lane]));
        }
    }
    lanes.into_iter().fold(rest, larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SHORTEST, SHORTEST_SHAPED, Shape, Stretch, Sums, best_passing};

    /// The least squares that any passing shift leaves, by trying all.
    fn least(sums: &Sums, stretch: Stretch) -> f64 {
        let mean = sums.mean(stretch);
        let (first, last) = (stretch.from + SHORTEST, stretch.to - SHORTEST);
        let pairs = (first..=last).flat_map(|from| {
            let ends = from + SHORTEST_SHAPED..=last;
            ends.map(move |to| Stretch::new(from, to))
        });
        let explained = pairs.map(|inside| {
            let share = inside.nights() as f64 / stretch.nights() as f64;
            let excess = sums.total(inside) - inside.nights() as f64 * mean;
            excess * excess / (inside.nights() as f64 * (1.0 - share))
        });
        sums.around(stretch, Shape::Level) - explained.fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn no_passing_shift_leaves_less_than_the_one_that_is_found(
            noise in prop::collection::vec(-1.0f64..1.0, 30..300),
            height in -3.0f64..3.0,
            begin in 0.0f64..1.0,
        ) {
            let begin = (begin * noise.len() as f64) as usize;
            let shifted = begin..begin + noise.len() / 4;
            let values = noise.iter().enumerate();
            let values = values.map(|(at, value)| value + if shifted.contains(&at) { height } else { 0.0 });
            let sums = Sums::of(values.collect());
            let stretch = sums.whole();
            let found = best_passing(&sums, stretch).unwrap();
            let all = sums.around(stretch, Shape::Level);
            prop_assert!((found.squares - least(&sums, stretch)).abs() <= 1e-9 * all);
        }
    }
}

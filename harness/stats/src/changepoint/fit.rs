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
    let search = |starts: (usize, usize), ends: (usize, usize), stride: usize| {
        let mut best = (0.0, first, last);
        for from in (starts.0.max(first)..=starts.1.min(last)).step_by(stride) {
            for to in (ends.0.max(from + SHORTEST_SHAPED)..=ends.1.min(last)).step_by(stride) {
                let found = explained(from, to);
                if found > best.0 {
                    best = (found, from, to);
                }
            }
        }
        best
    };
    let stride = stretch.nights().div_ceil(GRID);
    let mut best = search((first, last), (first, last), stride);
    if stride > 1 {
        let around = |index: usize| (index - stride, index + stride);
        best = search(around(best.1), around(best.2), 1);
    }
    let squares = (sums.around(stretch, Shape::Level) - best.0).max(0.0);
    Some(Fit {
        stretch,
        cuts: vec![best.1, best.2],
        shape: Shape::Level,
        squares,
    })
}

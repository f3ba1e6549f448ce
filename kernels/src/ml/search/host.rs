//! Search on the host: tiles of inner products, and lists of what is nearest so far.
//!
//! Tiles have one shape for any number of threads, which take whole ones: of the base where it has more of them, else of the
//! queries. So every product has the same bits, and lists of the nearest are the same however they are made.
#![allow(unsafe_code)] // the interface of the `gemm` crate takes pointers

use std::ops::Range;

use super::{Metric, NOTHING, Search, key, result, rising};
use crate::buffer::granule;
use crate::device::{Team, chunk};
use crate::simd::{in_pairs, wide};

/// Queries and vectors of a tile, whose products stay in the second cache.
const QUERIES: usize = 256;
const VECTORS: usize = 512;

/// The nearest so far, and some more.
pub struct Nearest {
    keys: Vec<u64>,
    k: usize,
    /// What is not below it is not among them.
    bound: u64,
}

impl Nearest {
    /// Of nothing yet.
    pub fn new(k: usize) -> Self {
        Self {
            keys: vec![],
            k,
            bound: NOTHING,
        }
    }

    /// Keeps those of some scores that are near enough; `place` says what each is called.
    pub fn fill(&mut self, scores: &[f32], place: impl Fn(usize) -> u32) {
        let score = (self.bound >> 32) as u32;
        for (index, x) in scores.iter().enumerate() {
            if rising(*x) <= score || x.is_nan() {
                self.push(key(*x, place(index)));
            }
        }
    }

    fn push(&mut self, key: u64) {
        if key >= self.bound {
            return;
        }
        self.keys.push(key);
        if self.keys.len() >= 2 * self.k + 16 {
            self.shrink();
        }
    }

    /// Leaves the nearest.
    pub fn shrink(&mut self) {
        if self.keys.len() >= self.k {
            let (_, last, _) = self.keys.select_nth_unstable(self.k - 1);
            self.bound = *last;
            self.keys.truncate(self.k);
        }
    }

    /// The largest score that may still be among them, as it rises.
    pub fn bound(&self) -> u32 {
        (self.bound >> 32) as u32
    }
}

/// Writes the nearest of several lists, in order, and what stands for nothing behind them.
pub fn write<'a>(
    metric: Metric,
    lists: impl Iterator<Item = &'a Nearest>,
    values: &mut [f32],
    places: &mut [u32],
) {
    let mut keys: Vec<u64> = lists.flat_map(|list| &list.keys).copied().collect();
    keys.sort_unstable();
    let all = keys.into_iter().chain(std::iter::repeat(NOTHING));
    for ((value, place), key) in values.iter_mut().zip(places).zip(all) {
        (*value, *place) = result(metric, key);
    }
}

/// A part of the work: some queries, some of the base, and what is found there.
struct Cell {
    queries: Range<usize>,
    base: Range<usize>,
    nearest: Vec<Nearest>,
}

/// Finds the nearest vectors of each query.
pub fn search(
    team: &Team,
    shape: Search,
    [queries, base]: [&[f32]; 2],
    values: &mut [f32],
    places: &mut [u32],
) {
    let norms = [queries, base].map(|rows| match shape.metric {
        Metric::L2 => norms(team, rows, shape.width),
        Metric::InnerProduct => vec![],
    });
    let mut cells = cells(team, shape);
    team.each(cells.iter_mut().collect(), |cell| {
        fill(shape, [queries, base], &norms, cell);
    });
    let k = shape.k;
    let mut first = 0;
    let parts = team.split_mut(values, k).into_iter();
    let parts = parts
        .zip(team.split_mut(places, k))
        .map(|(values, places)| {
            let begin = first;
            first += values.len() / k;
            (begin, values, places)
        });
    let parts = parts.collect();
    team.each(
        parts,
        |(first, values, places): &mut (usize, &mut [f32], &mut [u32])| {
            let rows = values.chunks_exact_mut(k).zip(places.chunks_exact_mut(k));
            for (query, (values, places)) in (*first..).zip(rows) {
                let lists = cells.iter().filter(|cell| cell.queries.contains(&query));
                let lists = lists.map(|cell| &cell.nearest[query - cell.queries.start]);
                write(shape.metric, lists, values, places);
            }
        },
    );
}

/// A part for each thread.
fn cells(team: &Team, shape: Search) -> Vec<Cell> {
    let tiles = [
        shape.queries.div_ceil(QUERIES),
        shape.vectors.div_ceil(VECTORS),
    ];
    let members = team.threads();
    (0..members)
        .map(|member| {
            let (queries, base) = if tiles[1] >= tiles[0] {
                let part = chunk(shape.vectors, VECTORS, members, member);
                (0..shape.queries, part)
            } else {
                let part = chunk(shape.queries, QUERIES, members, member);
                (part, 0..shape.vectors)
            };
            let nearest = queries.clone().map(|_| Nearest::new(shape.k)).collect();
            Cell {
                queries,
                base,
                nearest,
            }
        })
        .collect()
}

fn fill(shape: Search, [queries, base]: [&[f32]; 2], norms: &[Vec<f32>; 2], cell: &mut Cell) {
    let width = shape.width;
    let mut products = vec![0.0; QUERIES * VECTORS];
    for first in cell.base.clone().step_by(VECTORS) {
        let end = cell.base.end.min(first + VECTORS);
        let vectors = &base[first * width..end * width];
        for query in cell.queries.clone().step_by(QUERIES) {
            let until = cell.queries.end.min(query + QUERIES);
            let left = &queries[query * width..until * width];
            let products = &mut products[..(until - query) * (end - first)];
            multiply(width, left, vectors, products);
            for (row, scores) in (query..).zip(products.chunks_exact_mut(end - first)) {
                let least = match shape.metric {
                    Metric::L2 => distances(scores, &norms[1][first..end], norms[0][row]),
                    Metric::InnerProduct => negated(scores),
                };
                let nearest = &mut cell.nearest[row - cell.queries.start];
                if least > nearest.bound() {
                    continue;
                }
                let place = |index: usize| (first + index) as u32;
                // The only one that is wanted, unless there is one that is no number.
                let is_least = |x: &f32| rising(*x) == least;
                let only = (shape.k == 1 && shape.metric == Metric::L2)
                    .then(|| scores.iter().position(is_least))
                    .flatten();
                match only {
                    Some(index) => nearest.push(key(scores[index], place(index))),
                    None => nearest.fill(scores, place),
                }
            }
        }
    }
    cell.nearest.iter_mut().for_each(Nearest::shrink);
}

/// Inner products of all rows of one with all of the other, by this thread.
fn multiply(width: usize, left: &[f32], right: &[f32], products: &mut [f32]) {
    let (rows, cols) = (left.len() / width, right.len() / width);
    assert!(products.len() == rows * cols, "shapes fit");
    // No slice is longer than `isize::MAX`.
    let (line, step) = (width.cast_signed(), cols.cast_signed());
    // SAFETY: the lengths are those of row-major matrices with these strides, the right one transposed, and `products` is
    // borrowed exclusively. Its old content is not read.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            width,
            products.as_mut_ptr(),
            1,
            step,
            false,
            left.as_ptr(),
            1,
            line,
            right.as_ptr(),
            line,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Squared norms of all rows.
fn norms(team: &Team, rows: &[f32], width: usize) -> Vec<f32> {
    let mut norms = vec![0.0; rows.len() / width];
    let parts = team.split_mut(&mut norms, 1).into_iter();
    let parts = parts.zip(team.split(rows, width)).collect();
    team.each(parts, |(norms, rows): &mut (&mut [f32], &[f32])| {
        for (norm, row) in norms.iter_mut().zip(rows.chunks_exact(width)) {
            *norm = dot(row, row);
        }
    });
    norms
}

/// Partial sums of a product.
const LANES: usize = 32;

wide! {
    /// Inner product of two vectors.
    fn dot(left: &[f32], right: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let mut rows = left.chunks_exact(LANES).zip(right.chunks_exact(LANES));
        for (left, right) in &mut rows {
            for (lane, (x, y)) in lanes.iter_mut().zip(left.iter().zip(right)) {
                *lane += x * y;
            }
        }
        let whole = left.len() / LANES * LANES;
        for (lane, (x, y)) in lanes.iter_mut().zip(left[whole..].iter().zip(&right[whole..])) {
            *lane += x * y;
        }
        in_pairs(&lanes)
    }

    /// The least of some scores, as it rises. One that is no number is as little as can be.
    pub fn least(scores: &[f32]) -> u32 {
        scores.iter().map(|score| looked_at(*score)).fold(u32::MAX, u32::min)
    }

    /// Makes distances of products; gives the least, as it rises. One that is no number is as little as can be.
    fn distances(products: &mut [f32], norms: &[f32], norm: f32) -> u32 {
        let mut least = u32::MAX;
        for (product, of_vector) in products.iter_mut().zip(norms) {
            let distance = norm + (of_vector - 2.0 * *product);
            *product = distance;
            least = least.min(looked_at(distance));
        }
        least
    }

    /// Makes scores of products; gives the least, as it rises, in the same way.
    fn negated(products: &mut [f32]) -> u32 {
        let mut least = u32::MAX;
        for product in products {
            let score = -*product;
            *product = score;
            least = least.min(looked_at(score));
        }
        least
    }

    fn accumulate(sums: &mut [f32], point: &[f32]) {
        for (sum, x) in sums.iter_mut().zip(point) {
            *sum += x;
        }
    }
}

/// The score as it rises; what is no number is to be looked at in any case.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn looked_at(score: f32) -> u32 {
    let rises = rising(score);
    if score.is_nan() { 0 } else { rises }
}

/// The means of the points of each centroid, added in the order of the points: each thread has some of the columns.
pub fn means(
    team: &Team,
    width: usize,
    [points, centroids]: [&[f32]; 2],
    nearest: &[u32],
    next: &mut [f32],
) {
    let count = centroids.len() / width;
    let mut counts = vec![0_u32; count];
    for place in nearest {
        counts[*place as usize] += 1;
    }
    let columns = |member| chunk(width, granule::<f32>(), team.threads(), member);
    let parts: Vec<_> = (0..team.threads())
        .map(|member| (columns(member), vec![]))
        .collect();
    let mut parts = parts;
    team.each(parts.iter_mut().collect(), |(columns, sums)| {
        *sums = vec![0.0_f32; count * columns.len()];
        if columns.start == columns.end {
            return;
        }
        for (point, place) in points.chunks_exact(width).zip(nearest) {
            let first = *place as usize * columns.len();
            accumulate(
                &mut sums[first..first + columns.len()],
                &point[columns.clone()],
            );
        }
    });
    for (cluster, next) in next.chunks_exact_mut(width).enumerate() {
        let before = &centroids[cluster * width..][..width];
        for (columns, sums) in &parts {
            let sums = &sums[cluster * columns.len()..][..columns.len()];
            for ((next, before), sum) in next[columns.clone()]
                .iter_mut()
                .zip(&before[columns.clone()])
                .zip(sums)
            {
                *next = if counts[cluster] == 0 {
                    *before
                } else {
                    sum / counts[cluster] as f32
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Metric, Search};
    use super::search;
    use crate::device::Team;

    /// Tiles of several shapes, and what is no number.
    #[test]
    fn many_tiles_and_no_numbers() {
        let shape = Search {
            queries: 3,
            vectors: 1300,
            width: 2,
            k: 4,
            metric: Metric::L2,
        };
        let queries = [0.0, 0.0, 5.0, 0.0, f32::NAN, 0.0];
        let mut base: Vec<f32> = (0..2600).map(|i| (1 + i / 2) as f32).collect();
        // The nearest of all to the first, the same twice, and one that is none.
        base[2400..2404].copy_from_slice(&[0.5, 0.0, 0.5, 0.0]);
        base[0] = f32::NAN;
        for threads in [1, 3] {
            let team = Team::new(threads).unwrap();
            let (mut values, mut places) = (vec![0.0; 12], vec![0; 12]);
            search(&team, shape, [&queries, &base], &mut values, &mut places);
            assert_eq!(places[..4], [1200, 1201, 1, 2]);
            assert_eq!(places[8..], [0, 1, 2, 3]);
            assert!(values[8..].iter().all(|value| value.is_nan()));
            assert!((values[6] - 17.0).abs() < 1e-6, "{values:?}");
        }
    }
}

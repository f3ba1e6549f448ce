//! Attention on the host: a head at a time, by one thread each, in blocks of queries and keys.
//!
//! Products of blocks are the `gemm` crate's, of `f32`, whatever is stored. A task has a head, or some queries of one, whatever the number of threads: so
//! the bits are the same for any. Queries and keys of a head are gathered once, scaled, rotated and turned as products
//! like them best.

mod naive;

use std::ops::Range;

pub use naive::{naive, naive_backward};

use super::{Attention, Given, Position};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::lane::{self, Lane};
use crate::math::exp_beneath;
use crate::matrix::{Matrix, MatrixMut, Store, multiply};
use crate::ml::position::rotate_head;
use crate::simd::{in_pairs, wide};

/// Queries and keys of a block: its scores stay in the second cache.
const QUERIES: usize = 64;
const KEYS: usize = 512;
/// Queries of a task of the forward pass.
const TASK: usize = 1024;
/// Independent partial results of a row.
const LANES: usize = 32;

/// A head of one sequence.
#[derive(Clone, Copy)]
struct Head<'a, T = f32> {
    q: Matrix<'a, T>,
    k: Matrix<'a, T>,
    v: Matrix<'a, T>,
    /// Cosines and sines of every place, where queries and keys are rotated.
    angles: Option<&'a [f32]>,
    /// Slope of the linear biases; 0 without.
    slope: f32,
    is_causal: bool,
}

/// A head's rows of a matrix of all heads.
fn of_head<'a, T: Copy>(shape: &Attention, matrix: &'a [T], index: usize) -> Matrix<'a, T> {
    let width = shape.head_width();
    let of_sequence = shape.length * shape.width;
    let rows = &matrix[index / shape.heads * of_sequence..][..of_sequence];
    let first = index % shape.heads * width;
    Matrix::whole(rows, shape.length, shape.width).block(0..shape.length, first..first + width)
}

/// The same of every head, to be written, `rows` rows at a time: by sequence, then by rows, then by head.
fn parts<'a, T>(
    shape: &Attention,
    matrix: &'a mut [T],
    width: usize,
    rows: usize,
) -> Vec<MatrixMut<'a, T>> {
    let columns = shape.heads * width;
    let of_sequence = (shape.length * columns).max(1);
    let sequences = matrix.chunks_mut(of_sequence);
    let whole = sequences.map(|rows| MatrixMut::whole(rows, shape.length, columns));
    whole.flat_map(|whole| whole.tiles(rows, width)).collect()
}

impl<'a, T: Lane> Head<'a, T> {
    fn new(
        shape: &Attention,
        [q, k, v]: [&'a [T]; 3],
        table: Option<&'a [f32]>,
        index: usize,
    ) -> Self {
        let [q, k, v] = [q, k, v].map(|matrix| of_head(shape, matrix, index));
        let is = |position| table.filter(|_| shape.position == position);
        Self {
            q,
            k,
            v,
            angles: is(Position::Rope),
            slope: is(Position::Alibi).map_or(0.0, |slopes| slopes[index % shape.heads]),
            is_causal: shape.is_causal,
        }
    }

    fn width(&self) -> usize {
        self.q.cols()
    }

    fn length(&self) -> usize {
        self.q.rows()
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width() as f32).sqrt()
    }

    /// A row at some place, its pairs rotated `turn` times: 1, or -1 for gradients.
    fn rotated(&self, from: &[f32], place: usize, out: &mut [f32], turn: f32) {
        match self.angles {
            None => out.copy_from_slice(from),
            Some(angles) => rotate(
                out,
                from,
                &angles[place * self.width()..][..self.width()],
                turn,
            ),
        }
    }

    /// Some rows, rotated and scaled, one behind the other.
    fn gather(&self, out: &mut [f32], from: Matrix<T>, rows: Range<usize>, scale: f32) {
        let mut room = vec![0.0; self.width()];
        for (out, row) in out.chunks_exact_mut(self.width()).zip(rows) {
            let from = T::widen_all(from.row(row), &mut room);
            self.rotated(from, row, out, 1.0);
            multiply_row(out, scale);
        }
    }

    /// The values, one behind the other.
    fn gather_values(&self, out: &mut [f32]) {
        for (row, out) in out.chunks_exact_mut(self.width()).enumerate() {
            lane::widen(out, self.v.row(row));
        }
    }

    /// How many keys some queries see together.
    fn seen(&self, queries: &Range<usize>) -> usize {
        if self.is_causal {
            queries.end
        } else {
            self.length()
        }
    }

    /// How many of `count` keys query `query` sees.
    fn seen_of(&self, count: usize, query: usize, first_key: usize) -> usize {
        if self.is_causal {
            (query + 1).saturating_sub(first_key).min(count)
        } else {
            count
        }
    }

    /// Makes scores of products: biases, and nothing of keys that query `query` does not see. Says how many it sees.
    fn finish_scores(&self, scores: &mut [f32], query: usize, first_key: usize) -> usize {
        if self.slope != 0.0 {
            add_bias(scores, self.slope, query as i32 - first_key as i32);
        }
        self.seen_of(scores.len(), query, first_key)
    }

    /// Adds biases to scores that query `query` sees, and gives the largest, of at least `least`.
    fn top(&self, scores: &mut [f32], query: usize, first_key: usize, least: f32) -> f32 {
        if self.slope == 0.0 {
            return largest(scores, least);
        }
        let distance = query as i32 - first_key as i32;
        largest_biased(scores, self.slope, distance, least)
    }
}

/// Rows of `cols` elements, which `row` makes, turned into columns.
fn turn(out: &mut [f32], rows: usize, cols: usize, mut row: impl FnMut(usize, &mut [f32])) {
    const AT_ONCE: usize = 16;
    let mut some = vec![0.0; AT_ONCE * cols];
    for first in (0..rows).step_by(AT_ONCE) {
        let count = AT_ONCE.min(rows - first);
        for (i, out) in some.chunks_exact_mut(cols).take(count).enumerate() {
            row(first + i, out);
        }
        for (col, out) in out.chunks_exact_mut(rows).enumerate() {
            for (i, out) in out[first..first + count].iter_mut().enumerate() {
                *out = some[i * cols + col];
            }
        }
    }
}

wide! {
    fn rotate(out: &mut [f32], x: &[f32], angles: &[f32], turn: f32) {
        rotate_head(out, x, angles, turn);
    }

    /// Adds linear biases: the first key is `distance` before the query.
    fn add_bias(scores: &mut [f32], slope: f32, distance: i32) {
        for (key, score) in scores.iter_mut().enumerate() {
            *score -= slope * (distance - key as i32).abs() as f32;
        }
    }

    /// As [`add_bias`] and then [`largest`], in one go.
    fn largest_biased(scores: &mut [f32], slope: f32, distance: i32, least: f32) -> f32 {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut lanes = [least; LANES];
        let mut left = distance;
        for chunk in scores.chunks_mut(LANES) {
            for (key, (lane, score)) in lanes.iter_mut().zip(chunk).enumerate() {
                *score -= slope * (left - key as i32).abs() as f32;
                *lane = larger(*lane, *score);
            }
            left -= LANES as i32;
        }
        lanes.into_iter().fold(least, larger)
    }

    /// The largest, of at least `least`. Numbers that are none are passed over: their exponentials show.
    fn largest(row: &[f32], least: f32) -> f32 {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut lanes = [least; LANES];
        let mut chunks = row.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = larger(*lane, *x);
            }
        }
        let rest = chunks.remainder().iter().copied();
        lanes.into_iter().chain(rest).fold(least, larger)
    }

    /// Replaces scores by their exponentials beneath `top`, which is the largest, or more, and gives the sum of them.
    fn exponentials(row: &mut [f32], top: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let mut chunks = row.chunks_exact_mut(LANES);
        for chunk in &mut chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *x = exp_beneath(*x - top);
                *lane += *x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(chunks.into_remainder()) {
            *x = exp_beneath(*x - top);
            *lane += *x;
        }
        in_pairs(&lanes)
    }

    /// The sum of products.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (a, b) in (&mut a).zip(&mut b) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * b;
            }
        }
        let rest = a.remainder().iter().zip(b.remainder());
        for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
            *lane += a * b;
        }
        in_pairs(&lanes)
    }

    fn multiply_row(row: &mut [f32], factor: f32) {
        for x in row {
            *x *= factor;
        }
    }

    /// The gradients of scores: `p (dp - d)`, times a factor, in place of `dp`.
    fn gradients(dp: &mut [f32], p: &[f32], d: f32, factor: f32) {
        for (dp, p) in dp.iter_mut().zip(p) {
            *dp = factor * (p * (*dp - d));
        }
    }
}

/// What a thread needs for a block.
#[derive(Default)]
struct Room {
    query: Vec<f32>,
    scores: Vec<f32>,
    gradients: Vec<f32>,
    keys: Vec<f32>,
    keys_turned: Vec<f32>,
    values_turned: Vec<f32>,
    tops: Vec<f32>,
    sums: Vec<f32>,
    d_query: Vec<f32>,
    d_keys: Vec<f32>,
    d_values: Vec<f32>,
    values: Vec<f32>,
    out: Vec<f32>,
    d_out: Vec<f32>,
    row: Vec<f32>,
}

fn sized(room: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if room.len() < len {
        room.resize(len, 0.0);
    }
    &mut room[..len]
}

/// Blocks of a range.
fn blocks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(size)
        .map(move |first| first..end.min(first + size))
}

/// The forward pass, fused: scores live in the cache alone.
pub fn fused<T: Lane>(shape: &Attention, given: Given, team: &Team, buffers: &mut Buffers) {
    let table = given
        .table
        .map(|table| buffers.0[table].get::<f32>().to_vec());
    let [q, k, v, out, kept] = buffers.many([given.q, given.k, given.v, given.out, given.kept]);
    let inputs = [q.get::<T>(), k.get(), v.get()];
    let out = parts(shape, out.get_mut::<T>(), shape.head_width(), TASK);
    let kept = parts(shape, kept.get_mut::<f32>(), 1, TASK);
    let per_sequence = shape.length.div_ceil(TASK) * shape.heads;
    let tasks = out.into_iter().zip(kept).enumerate().collect();
    team.deal_with(
        tasks,
        Room::default,
        |room, (index, (mut out, mut kept))| {
            let (sequence, within) = (index / per_sequence, index % per_sequence);
            let number = sequence * shape.heads + within % shape.heads;
            let head = Head::new(shape, inputs, table.as_deref(), number);
            let first = within / shape.heads * TASK;
            let queries = first..first + out.rows();
            fused_queries(&head, queries, &mut out, &mut kept, room);
        },
    );
}

/// Some queries of a head.
fn fused_queries<T: Lane>(
    head: &Head<T>,
    queries: Range<usize>,
    out: &mut MatrixMut<T>,
    kept: &mut MatrixMut,
    room: &mut Room,
) {
    let (width, length) = (head.width(), head.length());
    let Room {
        query,
        scores,
        keys,
        keys_turned,
        values,
        tops,
        sums,
        out: block_out,
        ..
    } = room;
    let keys_turned = sized(keys_turned, width * length);
    let key = sized(keys, width);
    turn(keys_turned, length, width, |row, out| {
        let from = T::widen_all(head.k.row(row), key);
        head.rotated(from, row, out, 1.0);
    });
    let values = sized(values, width * length);
    head.gather_values(values);
    let (keys, values) = (
        Matrix::whole(keys_turned, width, length),
        Matrix::whole(values, length, width),
    );
    let first = queries.start;
    for block in blocks(queries, QUERIES) {
        let count = block.len();
        let query = sized(query, count * width);
        head.gather(query, head.q, block.clone(), head.scale());
        let query = Matrix::whole(query, count, width);
        let (tops, sums) = (sized(tops, count), sized(sums, count));
        let block_out = sized(block_out, count * width);
        let mut product = MatrixMut::whole(block_out, count, width);
        fused_block(
            head,
            &block,
            [query, keys, values],
            &mut product,
            scores,
            [tops, sums],
        );
        for (i, query) in block.enumerate() {
            let row = product.row(i);
            multiply_row(row, 1.0 / sums[i]);
            lane::narrow(out.row(query - first), row);
            kept.row(query - first)[0] = tops[i] + sums[i].ln();
        }
    }
}

/// The output of a block of queries before it is divided by the sums, which it gives beside the largest scores.
fn fused_block<T: Lane>(
    head: &Head<T>,
    block: &Range<usize>,
    [query, keys, values]: [Matrix; 3],
    out: &mut MatrixMut,
    scores: &mut Vec<f32>,
    [tops, sums]: [&mut [f32]; 2],
) {
    let (width, count) = (head.width(), block.len());
    tops.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    for part in blocks(0..head.seen(block), KEYS) {
        let scores = sized(scores, count * part.len());
        let mut products = MatrixMut::whole(scores, count, part.len());
        let some_keys = keys.block(0..width, part.clone());
        multiply(&mut products, query, some_keys, Store::Set);
        for (i, row) in scores.chunks_exact_mut(part.len()).enumerate() {
            let seen = head.seen_of(row.len(), block.start + i, part.start);
            let (seen, unseen) = row.split_at_mut(seen);
            unseen.fill(0.0);
            let top = head.top(seen, block.start + i, part.start, tops[i]);
            let sum = exponentials(seen, top);
            let less = exp_beneath(tops[i] - top);
            sums[i] = if part.start == 0 {
                sum
            } else {
                sums[i] * less + sum
            };
            if top > tops[i] && part.start > 0 {
                multiply_row(out.row(i), less);
            }
            tops[i] = top;
        }
        let store = if part.start == 0 {
            Store::Set
        } else {
            Store::Add
        };
        let weights = Matrix::whole(scores, count, part.len());
        multiply(out, weights, values.block(part, 0..width), store);
    }
}

/// The backward pass, fused: probabilities are computed again from what the forward pass kept.
pub fn fused_backward<T: Lane>(
    shape: &Attention,
    given: Given,
    d_out: usize,
    [dq, dk, dv]: [usize; 3],
    team: &Team,
    buffers: &mut Buffers,
) {
    let table = given
        .table
        .map(|table| buffers.0[table].get::<f32>().to_vec());
    let Given {
        q, k, v, out, kept, ..
    } = given;
    let [q, k, v, out, kept, d_out, dq, dk, dv] =
        buffers.many([q, k, v, out, kept, d_out, dq, dk, dv]);
    let inputs = [q.get::<T>(), k.get(), v.get()];
    let (out, d_out, kept) = (out.get::<T>(), d_out.get::<T>(), kept.get::<f32>());
    let width = shape.head_width();
    let [dq, dk, dv] = [dq, dk, dv].map(|d| parts(shape, d.get_mut(), width, shape.length.max(1)));
    let tasks = dq.into_iter().zip(dk).zip(dv).enumerate().collect();
    team.deal_with(tasks, Room::default, |room, (index, ((dq, dk), dv))| {
        let head = Head::new(shape, inputs, table.as_deref(), index);
        let rows = Rows {
            out: of_head(shape, out, index),
            d_out: of_head(shape, d_out, index),
            log_sum: &|query: usize| {
                let row = index / shape.heads * shape.length + query;
                kept[row * shape.heads + index % shape.heads]
            },
        };
        fused_head_backward(&head, &rows, [dq, dk, dv], room);
    });
}

/// What the backward pass knows of the forward one.
struct Rows<'a, T> {
    out: Matrix<'a, T>,
    d_out: Matrix<'a, T>,
    log_sum: &'a dyn Fn(usize) -> f32,
}

impl<T: Lane> Rows<'_, T> {
    /// Gradients of outputs of some queries, and for each of these the sum of the products of output and gradient.
    fn gather(&self, queries: Range<usize>, d_out: &mut [f32], sums: &mut [f32], row: &mut [f32]) {
        let width = self.out.cols();
        let gradients = d_out.chunks_exact_mut(width).zip(sums);
        for (query, (d_out, sum)) in queries.zip(gradients) {
            lane::widen(d_out, self.d_out.row(query));
            *sum = dot(d_out, T::widen_all(self.out.row(query), row));
        }
    }
}

fn fused_head_backward<T: Lane>(
    head: &Head<T>,
    rows: &Rows<T>,
    [mut dq, mut dk, mut dv]: [MatrixMut<T>; 3],
    room: &mut Room,
) {
    let (width, length) = (head.width(), head.length());
    let keys_plain = sized(&mut room.keys, width * length);
    head.gather(keys_plain, head.k, 0..length, 1.0);
    let keys_plain = Matrix::whole(keys_plain, length, width);
    let keys_turned = sized(&mut room.keys_turned, width * length);
    turn(keys_turned, length, width, |row, out| {
        out.copy_from_slice(keys_plain.row(row));
    });
    let keys_turned = Matrix::whole(keys_turned, width, length);
    let values_turned = sized(&mut room.values_turned, width * length);
    turn(values_turned, length, width, |row, out| {
        lane::widen(out, head.v.row(row));
    });
    let row = sized(&mut room.row, width);
    let values_turned = Matrix::whole(values_turned, width, length);
    let mut d_keys = MatrixMut::whole(sized(&mut room.d_keys, width * length), length, width);
    let mut d_values = MatrixMut::whole(sized(&mut room.d_values, width * length), length, width);
    (0..length).for_each(|row| {
        d_keys.row(row).fill(0.0);
        d_values.row(row).fill(0.0);
    });
    for block in blocks(0..length, QUERIES) {
        let count = block.len();
        let query = sized(&mut room.query, count * width);
        head.gather(query, head.q, block.clone(), head.scale());
        let query = Matrix::whole(query, count, width);
        let d_out = sized(&mut room.d_out, count * width);
        let sums = sized(&mut room.sums, count);
        rows.gather(block.clone(), d_out, sums, row);
        let d_out = Matrix::whole(d_out, count, width);
        let mut d_query = MatrixMut::whole(sized(&mut room.d_query, count * width), count, width);
        for keys in blocks(0..head.seen(&block), KEYS) {
            let scores = sized(&mut room.scores, count * keys.len());
            let gradients_of = sized(&mut room.gradients, count * keys.len());
            let products = |out: &mut [f32], a, b: Matrix| {
                let b = b.block(0..width, keys.clone());
                multiply(
                    &mut MatrixMut::whole(out, count, keys.len()),
                    a,
                    b,
                    Store::Set,
                );
            };
            products(scores, query, keys_turned);
            products(gradients_of, d_out, values_turned);
            let both = scores
                .chunks_exact_mut(keys.len())
                .zip(gradients_of.chunks_exact_mut(keys.len()));
            for (i, (p, dp)) in both.enumerate() {
                let query = block.start + i;
                let seen = head.finish_scores(p, query, keys.start);
                exponentials(&mut p[..seen], (rows.log_sum)(query));
                p[seen..].fill(0.0);
                gradients(&mut dp[..seen], &p[..seen], sums[i], 1.0);
                dp[seen..].fill(0.0);
            }
            let p = Matrix::whole(scores, count, keys.len());
            let ds = Matrix::whole(gradients_of, count, keys.len());
            let store = if keys.start == 0 {
                Store::Set
            } else {
                Store::Add
            };
            multiply(
                &mut d_query,
                ds,
                keys_plain.block(keys.clone(), 0..width),
                store,
            );
            multiply(
                &mut d_values.rows_of(keys.clone()),
                p.transposed(),
                d_out,
                Store::Add,
            );
            multiply(
                &mut d_keys.rows_of(keys),
                ds.transposed(),
                query,
                Store::Add,
            );
        }
        for (i, query) in block.enumerate() {
            multiply_row(d_query.row(i), head.scale());
            head.rotated(d_query.row(i), query, row, -1.0);
            lane::narrow(dq.row(query), row);
        }
    }
    for key in 0..length {
        head.rotated(d_keys.row(key), key, row, -1.0);
        lane::narrow(dk.row(key), row);
        lane::narrow(dv.row(key), d_values.row(key));
    }
}

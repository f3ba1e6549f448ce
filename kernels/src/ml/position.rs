//! Where a token is, told to attention: rotary embedding and linear biases.
//!
//! **`RoPE`** rotates each pair of neighbours `(x[2p], x[2p + 1])` of a head of width `d` at place `i` by the angle
//! `i 10000^(-2p / d)`, so that a product of a query and a key depends on the distance of their places. Source: J. Su et
//! al., "`RoFormer`: enhanced transformer with rotary position embedding", 2021, equations 15 and 34. The gradient is rotated back.
//! Angles come from a table of cosines and sines, made once in `f64`. Work of `n` elements: `8 n` bytes and a table of
//! `4 length d`; 3 flops an element.
//!
//! **`ALiBi`** adds `-m |i - j|` to the score of query `i` and key `j`, with a slope `m` for each head: of `H` heads, a power of two,
//! `2^(-8 h / H)` for h = 1 ... H, and of other numbers those of the next smaller power and then every second of the next
//! larger one. Source: O. Press, N. A. Smith, M. Lewis, "Train short, test long", 2022, section 3, and its code for other
//! numbers. Slopes are not learned: the gradient of the scores goes through as it is. Work of `n` scores: `8 n` bytes and 2 flops each.
//!
//! Errors: a rotated element has three roundings, two of products and one of their sum, so it is off by at most `gamma_2` times the
//! sum of the magnitudes of both; a biased score by two roundings. Fused operations round less.

use assay_protocol::{Failure, Work};

use super::expect;
use crate::bound::tolerance;
use crate::check;
use crate::element::DType;
use crate::lane::WIDTH;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store::{Around, goes_around};

static SOURCE: Source = cuda_source!("ml/position.cu");
const THREADS: u32 = 256;
/// Blocks that stride over everything.
const MOST_BLOCKS: u32 = 1 << 14;
/// Rows of a task of the host.
const ROWS: usize = 16;
/// Base of the angles.
const BASE: f64 = 10_000.0;

/// Rotary embedding of `batch` sequences of `length` tokens, each of `heads` heads in `width` columns.
#[derive(Clone, Copy, Debug)]
pub struct Rope {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Columns of a token: those of all heads, a multiple of twice their number.
    pub width: usize,
}

impl Rope {
    /// Adds the table of all places and pairs to a program, and gives its number.
    pub fn table(&self, program: &mut Program) -> usize {
        let (length, pairs) = (self.length, self.pairs_of_head());
        let fill = Fill::Host(Box::new(move |table, _| {
            fill_table(table.get_mut(), pairs);
        }));
        program.input("rope-table", DType::F32, 2 * length * pairs, fill)
    }

    /// Rotates `x` into `out`.
    pub fn forward(&self, program: &mut Program, x: usize, table: usize, out: usize) {
        self.append(program, [x, table, out], 1.0);
    }

    /// Rotates the gradient of what came out back into that of what went in.
    pub fn backward(&self, program: &mut Program, d_out: usize, table: usize, dx: usize) {
        self.append(program, [d_out, table, dx], -1.0);
    }

    fn pairs_of_head(&self) -> usize {
        self.width / self.heads.max(1) / 2
    }

    fn elements(&self) -> usize {
        self.batch * self.length * self.width
    }

    fn append(&self, program: &mut Program, [x, table, out]: [usize; 3], turn: f32) {
        let Self { length, width, .. } = *self;
        let pairs = self.pairs_of_head();
        expect(
            program,
            "rope",
            &[
                ("x", x, DType::F32, self.elements()),
                ("table", table, DType::F32, 2 * length * pairs),
                ("out", out, DType::F32, self.elements()),
            ],
        );
        program.step_on_cpu(move |team, buffers| {
            let [x, table, out] = buffers.many([x, table, out]);
            let (x, table) = (x.get::<f32>(), table.get::<f32>());
            let is_large = goes_around(2 * size_of_val(x) as u64);
            // A task has some rows.
            let of_task = ROWS * width.max(1);
            let tasks = out.get_mut::<f32>().chunks_mut(of_task);
            let tasks = tasks.zip(x.chunks(of_task)).enumerate();
            let angles = |row: usize| &table[row % length * 2 * pairs..][..2 * pairs];
            team.deal_with(
                tasks.collect(),
                || vec![0.0; width],
                |room, (task, (out, x)): (usize, (&mut [f32], &[f32]))| {
                    let rows = (task * ROWS..).zip(x.chunks_exact(width));
                    if is_large {
                        let mut around = Around::new(out);
                        for (place, (row, x)) in rows.enumerate() {
                            rotate(room, x, angles(row), turn);
                            around.send(place * width, room);
                        }
                    } else {
                        for (out, (row, x)) in out.chunks_exact_mut(width).zip(rows) {
                            rotate(out, x, angles(row), turn);
                        }
                    }
                },
            );
        });
        self.launch(program, [x, table, out], turn);
    }

    /// The launch alone.
    pub(super) fn launch(&self, program: &mut Program, [x, table, out]: [usize; 3], turn: f32) {
        let sizes = [self.length, self.width / 2, self.pairs_of_head()];
        let [length, per_row, per_head] = sizes.map(|size| Arg::U32(size as u32));
        let all = self.elements() / 2;
        program.launch(
            Launch::new(
                &SOURCE,
                "rope",
                blocks(all, THREADS as usize, MOST_BLOCKS),
                THREADS,
            )
            .args([out, x, table].map(Arg::Buffer))
            .args([Arg::size(all), length, per_row, per_head, Arg::F32(turn)]),
        );
    }
}

/// Cosine and sine of every place and pair.
fn fill_table(table: &mut [f32], pairs: usize) {
    for (index, angle) in table.chunks_exact_mut(2).enumerate() {
        let (place, pair) = (index / pairs, index % pairs);
        let (sine, cosine) = (place as f64 * BASE.powf(-(pair as f64) / pairs as f64)).sin_cos();
        angle.copy_from_slice(&[cosine as f32, sine as f32]);
    }
}

wide! {
    /// Rotates the pairs of neighbours of a row: heads, each by the same angles.
    fn rotate(out: &mut [f32], x: &[f32], angles: &[f32], turn: f32) {
        for (out, x) in out.chunks_exact_mut(angles.len()).zip(x.chunks_exact(angles.len())) {
            rotate_head(out, x, angles, turn);
        }
    }
}

/// Rotates one head.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub(super) fn rotate_head(out: &mut [f32], x: &[f32], angles: &[f32], turn: f32) {
    let whole = x.len() / WIDTH * WIDTH;
    let lines = x.as_chunks().0.iter().zip(angles.as_chunks().0);
    for (out, (x, angles)) in out.as_chunks_mut().0.iter_mut().zip(lines) {
        *out = rotated(x, angles, turn);
    }
    let pairs = x[whole..]
        .chunks_exact(2)
        .zip(angles[whole..].chunks_exact(2));
    for (out, (x, angle)) in out[whole..].chunks_exact_mut(2).zip(pairs) {
        let sine = turn * angle[1];
        out[0] = x[0] * angle[0] - x[1] * sine;
        out[1] = x[0] * sine + x[1] * angle[0];
    }
}

/// The pairs of a line: each number times its cosine, and its neighbour times the sine, of either sign.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn rotated(x: &[f32; WIDTH], angles: &[f32; WIDTH], turn: f32) -> [f32; WIDTH] {
    let [mut neighbours, mut cosines, mut sines, mut out] = [[0.0; WIDTH]; 4];
    for lane in 0..WIDTH {
        neighbours[lane] = x[lane ^ 1];
    }
    for lane in 0..WIDTH {
        cosines[lane] = angles[lane & !1];
    }
    for lane in 0..WIDTH {
        let sign = if lane % 2 == 0 { -turn } else { turn };
        sines[lane] = sign * angles[lane | 1];
    }
    for lane in 0..WIDTH {
        out[lane] = x[lane] * cosines[lane] + neighbours[lane] * sines[lane];
    }
    out
}

/// Slopes of the biases of so many heads.
pub fn slopes(heads: usize) -> Vec<f64> {
    let of_power = |heads: usize| move |h: usize| (-8.0 * (h + 1) as f64 / heads as f64).exp2();
    let lower = if heads.is_power_of_two() {
        heads
    } else {
        heads.next_power_of_two() / 2
    };
    let others = (0..heads - lower).map(|h| of_power(2 * lower)(2 * h));
    (0..lower).map(of_power(lower)).chain(others).collect()
}

/// Linear biases of the scores of `batch` sequences of `length` tokens, `heads` of each: `[batch, heads, length, length]`.
#[derive(Clone, Copy, Debug)]
pub struct Alibi {
    /// Sequences.
    pub batch: usize,
    /// Heads, at least one.
    pub heads: usize,
    /// Queries and keys.
    pub length: usize,
}

impl Alibi {
    /// Adds the slopes of all heads to a program, and gives the number of the buffer.
    pub fn table(&self, program: &mut Program) -> usize {
        let slopes = slopes(self.heads);
        let fill = Fill::Host(Box::new(move |table, _| {
            for (out, slope) in table.get_mut::<f32>().iter_mut().zip(&slopes) {
                *out = *slope as f32;
            }
        }));
        program.input("alibi-slopes", DType::F32, self.heads, fill)
    }

    /// Adds the biases to `scores`. The gradient of `scores` is that of `out`.
    pub fn forward(&self, program: &mut Program, scores: usize, table: usize, out: usize) {
        let Self {
            batch,
            heads,
            length,
        } = *self;
        let len = batch * heads * length * length;
        expect(
            program,
            "alibi",
            &[
                ("scores", scores, DType::F32, len),
                ("table", table, DType::F32, heads),
                ("out", out, DType::F32, len),
            ],
        );
        program.step_on_cpu(move |team, buffers| {
            let [scores, table, out] = buffers.many([scores, table, out]);
            let (scores, table) = (scores.get::<f32>(), table.get::<f32>());
            // A task has the rows of a head.
            let of_head = (length * length).max(1);
            let heads_of = out
                .get_mut::<f32>()
                .chunks_mut(of_head)
                .zip(scores.chunks(of_head));
            team.deal(heads_of.enumerate().collect(), |(index, (out, scores))| {
                let rows = out.chunks_mut(length).zip(scores.chunks(length));
                for (query, (out, scores)) in rows.enumerate() {
                    add_bias(out, scores, table[index % heads], query);
                }
            });
        });
        let rows = batch * heads * length;
        let sizes = [rows, length, heads].map(|size| Arg::U32(size as u32));
        program.launch(
            Launch::new(&SOURCE, "alibi", blocks(rows, 1, MOST_BLOCKS), THREADS)
                .args([out, scores, table].map(Arg::Buffer))
                .args(sizes),
        );
    }
}

wide! {
    /// Adds the biases of a query to its scores.
    fn add_bias(out: &mut [f32], scores: &[f32], slope: f32, query: usize) {
        for (key, (out, score)) in out.iter_mut().zip(scores).enumerate() {
            *out = score - slope * (query as i32 - key as i32).unsigned_abs() as f32;
        }
    }
}

/// Which way an op goes.
const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];

/// Rotary embedding as an op.
pub struct RopeOp;

impl Op for RopeOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "rope",
            summary: "rotary embedding of queries or keys, f32",
            parameters: vec![
                parameters::integer("batch"),
                parameters::integer("length"),
                parameters::integer("heads"),
                parameters::integer("width"),
                parameters::choice("pass", &PASSES.map(|(name, _)| name)),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let rope = Rope {
            batch: arguments.size("batch")?,
            length: arguments.size("length")?,
            heads: arguments.count("heads")?,
            width: arguments.size("width")?,
        };
        let Rope {
            batch,
            length,
            heads,
            width,
        } = rope;
        if !width.is_multiple_of(2 * heads) {
            return Err(Failure::Failed(format!(
                "parameter `width`: expected a multiple of twice `heads`, {}, since pairs of a head are rotated; found {width}",
                2 * heads
            )));
        }
        let names = "`batch`, `length` and `width`";
        let elements = parameters::size_product(names, &[batch, length, width, 16])? / 16;
        for name in ["length", "width"] {
            arguments.check_most(name, u32::MAX as usize)?;
        }
        let is_backward = arguments.choice("pass", &PASSES)?;
        let table_len = length * (width / heads);
        let mut program = Program::new(Work {
            bytes: Some(8 * elements as u64 + 4 * table_len as u64),
            flops: Some(3 * elements as u64),
            items: Some(elements as u64),
            formula: "bytes = 2 n sizeof(f32) + length width / heads sizeof(f32), flops = 3 n, items = n; \
                      n = batch length width"
                .into(),
        });
        let names = if is_backward {
            ["dout", "dx"]
        } else {
            ["x", "out"]
        };
        let x = program.input(names[0], DType::F32, elements, Fill::signed(0));
        let table = rope.table(&mut program);
        let out = program.output(names[1], DType::F32, elements);
        if is_backward {
            rope.backward(&mut program, x, table, out);
        } else {
            rope.forward(&mut program, x, table, out);
        }
        let turn = if is_backward { -1.0 } else { 1.0 };
        program.check(move |outcome| check_rope(outcome, &rope, [x, table, out], turn));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            // Of one head, a pair.
            ("batch", 2..) | ("width", 1) => 2,
            ("heads", 2..) => 3,
            ("width", 2..) => 42,
            _ => size,
        }
    }
}

fn check_rope(outcome: &Outcome, rope: &Rope, [x, table, out]: [usize; 3], turn: f64) -> Checked {
    let (x, table) = (outcome.get::<f32>(x), outcome.get::<f32>(table));
    let out = outcome.get::<f32>(out);
    let Rope { length, width, .. } = *rope;
    let pairs = rope.pairs_of_head();
    let error = check::worst(out.len(), |i| {
        let (place, pair) = (i / width % length, i % width % (2 * pairs) / 2);
        let at = |index: usize| f64::from(table[(place * pairs + pair) * 2 + index]);
        let (cosine, sine) = (at(0), turn * at(1));
        let (own, other) = (f64::from(x[i]), f64::from(x[i ^ 1]));
        let sine = if i % 2 == 0 { -sine } else { sine };
        let condition = (own * cosine).abs() + (other * sine).abs();
        check::relative(out[i].into(), own * cosine + other * sine, condition)
    });
    Checked {
        error,
        tolerance: tolerance::<f32>(2, 2),
        detail: "largest |out - exact| / (|x cos| + |x' sin|); bound gamma_2".into(),
    }
}

/// Linear biases as an op.
pub struct AlibiOp;

impl Op for AlibiOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "alibi",
            summary: "linear biases of the scores of attention, f32",
            parameters: vec![
                parameters::integer("batch"),
                parameters::integer("heads"),
                parameters::integer("length"),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let alibi = Alibi {
            batch: arguments.size("batch")?,
            heads: arguments.count("heads")?,
            length: arguments.size("length")?,
        };
        let Alibi {
            batch,
            heads,
            length,
        } = alibi;
        let names = "`batch`, `heads` and `length`";
        let scores = parameters::size_product(names, &[batch, heads, length, length, 16])? / 16;
        if batch * heads * length > u32::MAX as usize {
            return Err(Failure::Failed(format!(
                "parameters {names}: expected fewer than 2^32 rows of scores"
            )));
        }
        let mut program = Program::new(Work {
            bytes: Some(8 * scores as u64),
            flops: Some(2 * scores as u64),
            items: Some(scores as u64),
            formula: "bytes = 2 n sizeof(f32), flops = 2 n, items = n; n = batch heads length^2"
                .into(),
        });
        let x = program.input("scores", DType::F32, scores, Fill::signed(0));
        let table = alibi.table(&mut program);
        let out = program.output("out", DType::F32, scores);
        alibi.forward(&mut program, x, table, out);
        program.check(move |outcome| check_alibi(outcome, &alibi, [x, out]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            ("batch", 2..) => 2,
            ("heads", 2..) => 3,
            _ => size,
        }
    }
}

fn check_alibi(outcome: &Outcome, alibi: &Alibi, [scores, out]: [usize; 2]) -> Checked {
    let (scores, out) = (outcome.get::<f32>(scores), outcome.get::<f32>(out));
    let Alibi { heads, length, .. } = *alibi;
    let slopes = slopes(heads);
    let error = check::worst(out.len(), |i| {
        let (row, key) = (i / length, i % length);
        let bias = slopes[row / length % heads] * (row % length).abs_diff(key) as f64;
        let score = f64::from(scores[i]);
        check::relative(out[i].into(), score - bias, score.abs() + bias)
    });
    Checked {
        error,
        // The slope, its product, the sum.
        tolerance: tolerance::<f32>(3, 3),
        detail: "largest |out - exact| / (|score| + |bias|); bound gamma_3".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{fill_table, rotate_head, slopes};

    fn is_near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() < within
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let pairs = 8;
        let mut table = vec![0.0; 40 * 2 * pairs];
        fill_table(&mut table, pairs);
        let numbers = |from: u16| -> Vec<f32> {
            (0..16)
                .map(|i| f32::from((from + i * 7) % 11) - 5.0)
                .collect()
        };
        let at = |x: &[f32], place: usize| {
            let mut out = vec![0.0; 16];
            rotate_head(&mut out, x, &table[place * 2 * pairs..][..2 * pairs], 1.0);
            out
        };
        let product = |i, j| -> f64 {
            let (query, key) = (at(&numbers(1), i), at(&numbers(4), j));
            query
                .iter()
                .zip(key)
                .map(|(a, b)| f64::from(*a) * f64::from(b))
                .sum()
        };
        assert!(is_near(product(3, 1), product(39, 37), 1e-3));
        assert!(!is_near(product(3, 1), product(3, 2), 1e-1));
        let mut back = vec![0.0; 16];
        rotate_head(
            &mut back,
            &at(&numbers(1), 17),
            &table[17 * 16..][..16],
            -1.0,
        );
        assert!(
            back.iter()
                .zip(numbers(1))
                .all(|(a, b)| is_near((*a).into(), b.into(), 1e-5))
        );
    }

    /// The lists of the paper's code.
    #[test]
    fn slopes_fall_by_powers() {
        let of_8: Vec<_> = (1..=8).map(|h| 0.5_f64.powi(h)).collect();
        assert!(
            slopes(8)
                .iter()
                .zip(&of_8)
                .all(|(a, b)| is_near(*a, *b, 1e-15))
        );
        let of_12 = slopes(12);
        assert_eq!(of_12.len(), 12);
        let others = [0.5, 1.5, 2.5, 3.5].map(|power: f64| (-power).exp2());
        assert!(
            of_12[8..]
                .iter()
                .zip(others)
                .all(|(a, b)| is_near(*a, b, 1e-15))
        );
        assert!(slopes(1)[0] < 0.004);
    }
}

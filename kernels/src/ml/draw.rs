//! What is drawn for a turn of training: rows of a set, and labels from what a model says.
//!
//! | op            | what it draws                                                               | bytes                    |
//! |---------------|-----------------------------------------------------------------------------|--------------------------|
//! | `draw-rows`   | example `b` of turn `t`: row `word(t batch + b) * rows >> 32` of a set      | `8 batch cols`           |
//! | `draw-labels` | a class for row `r` of logits, by inversion of their softmax with `word(t rows + r)` | `4 rows classes`, and 4 a row |
//!
//! Words are those of a Philox stream, so that all of it is a function of seed, turn and place. Rows have the same bits on every
//! device; so have labels, but where a draw lies closer to the bound of two classes than exponentials are exact.

use assay_protocol::{Failure, Philox, Work};

use super::bound::EXP;
use super::expect;
use crate::check;
use crate::device::chunk;
use crate::element::DType;
use crate::math;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/draw.cu");
const THREADS: u32 = 256;
/// Logits of the op are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;

/// The brick: rows of a set.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Rows of the set: at least one, and fewer than 2^32.
    pub rows: usize,
    /// Rows of a turn.
    pub batch: usize,
    /// Seed of the places.
    pub seed: u64,
    /// Stream of the places.
    pub stream: u64,
}

impl Draw {
    /// The row of the set that is example `b` of a turn.
    pub fn row(&self, turn: u64, b: usize) -> usize {
        let index = turn.wrapping_mul(self.batch as u64).wrapping_add(b as u64);
        let word = Philox::new(self.seed, self.stream).word(index);
        ((u64::from(word) * self.rows as u64) >> 32) as usize
    }

    /// Adds the drawing of the turn's rows from `set` into `out`, both of elements of 32 bits; `turn` is one `u64`, which
    /// stays as it is.
    ///
    /// # Panics
    /// If these do not have whole rows of one size.
    pub fn forward(&self, program: &mut Program, turn: usize, set: usize, out: usize) {
        let draw = *self;
        let cols = program.buffers[set].len / draw.rows;
        let dtype = program.buffers[set].dtype;
        assert_eq!(dtype.bytes(), 4, "draw: elements of 32 bits");
        let buffers = [
            ("turn", turn, DType::U64, 1),
            ("set", set, dtype, draw.rows * cols),
            ("out", out, dtype, draw.batch * cols),
        ];
        expect(program, "draw", &buffers);
        let row_bytes = 4 * cols;
        program.step_on_cpu(move |team, buffers| {
            let [turn, set, out] = buffers.many([turn, set, out]);
            let (turn, set) = (turn.get::<u64>()[0], set.bytes());
            let first = |index| chunk(draw.batch, 1, team.threads(), index).start;
            let parts = team
                .split_mut(out.bytes_mut(), row_bytes.max(1))
                .into_iter();
            let parts = parts.enumerate().map(|(index, part)| (first(index), part));
            team.each(parts.collect(), |(first, part): &mut (usize, &mut [u8])| {
                let rows = part.chunks_exact_mut(row_bytes.max(1)).enumerate();
                for (b, out) in rows {
                    let row = draw.row(turn, *first + b);
                    out.copy_from_slice(&set[row * row_bytes..][..row_bytes]);
                }
            });
        });
        let grid = blocks(draw.batch * cols, THREADS as usize, u32::MAX >> 1);
        program.launch(
            Launch::new(&SOURCE, "draw_rows", grid, THREADS)
                .args([out, set, turn].map(Arg::Buffer))
                .args([draw.batch, cols].map(Arg::size))
                .args([
                    Arg::U32(draw.rows as u32),
                    Arg::U64(draw.seed),
                    Arg::U64(draw.stream),
                ]),
        );
    }
}

/// Adds the counting of a turn: what is drawn for the next one comes next.
pub fn count(program: &mut Program, turn: usize) {
    pass(program, turn, 1);
}

/// Adds the counting of so many turns.
pub fn pass(program: &mut Program, turn: usize, turns: u64) {
    expect(program, "count", &[("turn", turn, DType::U64, 1)]);
    program.step_on_cpu(move |_, buffers| {
        let turn = &mut buffers.0[turn].get_mut::<u64>()[0];
        *turn = turn.wrapping_add(turns);
    });
    let args = [Arg::Buffer(turn), Arg::U64(turns)];
    program.launch(Launch::new(&SOURCE, "count_turns", 1, 1).args(args));
}

/// The brick: a label for each row of logits. Source: H. Liu et al., "Sophia", ICLR 2024, algorithm 2 (the Gauss-Newton-Bartlett
/// estimator).
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    /// Rows.
    pub rows: usize,
    /// Logits of a row, at least one.
    pub classes: usize,
    /// Seed of the labels.
    pub seed: u64,
    /// Stream of the labels.
    pub stream: u64,
}

impl Labels {
    /// Adds the drawing of the turn's labels, of `u32`; `turn` is one `u64`, which stays as it is. Where a row of logits has what is
    /// no number, its label is no class.
    pub fn forward(&self, program: &mut Program, turn: usize, logits: usize, labels: usize) {
        let brick = *self;
        let Self { rows, classes, .. } = brick;
        let buffers = [
            ("turn", turn, DType::U64, 1),
            ("logits", logits, DType::F32, rows * classes),
            ("labels", labels, DType::U32, rows),
        ];
        expect(program, "labels", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [turn, logits, labels] = buffers.many([turn, logits, labels]);
            let (turn, logits) = (turn.get::<u64>()[0], logits.get::<f32>());
            let firsts =
                (0..team.threads()).map(|index| chunk(rows, 1, team.threads(), index).start);
            let parts = team.split_mut(labels.get_mut::<u32>(), 1).into_iter();
            team.each(
                parts.zip(firsts).collect(),
                |(labels, first): &mut (&mut [u32], usize)| {
                    for (row, label) in (*first..).zip(labels.iter_mut()) {
                        let logits = &logits[row * classes..][..classes];
                        *label = drawn(logits, brick.word(turn, row));
                    }
                },
            );
        });
        let grid = blocks(rows, THREADS as usize, u32::MAX >> 1);
        program.launch(
            Launch::new(&SOURCE, "draw_labels", grid, THREADS)
                .args([labels, logits, turn].map(Arg::Buffer))
                .args([rows, classes].map(Arg::size))
                .args([brick.seed, brick.stream].map(Arg::U64)),
        );
    }

    /// The random word of a row.
    fn word(&self, turn: u64, row: usize) -> u32 {
        let index = turn.wrapping_mul(self.rows as u64).wrapping_add(row as u64);
        Philox::new(self.seed, self.stream).word(index)
    }
}

/// What of all probability lies below a draw.
fn share(word: u32) -> f64 {
    (f64::from(word) + 0.5) * 2_f64.powi(-32)
}

/// The first class up to which more than a random share of all probability lies.
fn drawn(logits: &[f32], word: u32) -> u32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = || logits.iter().map(|x| f64::from(math::exp(*x - largest)));
    let total: f64 = weights().sum();
    let share = share(word) * total;
    let mut below = 0.0;
    let found = weights().position(|weight| {
        below += weight;
        below > share
    });
    // Nothing is found where logits are no numbers: the loss of such a label shows it.
    found.map_or(u32::MAX, |class| class as u32)
}

/// The ops: [`Draw::forward`] and [`Labels::forward`], after each of which the turn is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawOp {
    /// `draw-rows`
    Rows,
    /// `draw-labels`
    Labels,
}

impl Op for DrawOp {
    fn info(&self) -> OpInfo {
        let (name, summary, sizes) = match self {
            Self::Rows => (
                "draw-rows",
                "rows of a set, drawn for a turn of training",
                &["rows", "batch", "cols"][..],
            ),
            Self::Labels => (
                "draw-labels",
                "labels drawn from the softmax of logits",
                &["rows", "classes"][..],
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: sizes.iter().map(|name| parameters::integer(name)).collect(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        match self {
            Self::Rows => rows_program(arguments),
            Self::Labels => labels_program(arguments),
        }
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "batch" {
            size.min(7)
        } else {
            size
        }
    }
}

fn rows_program(arguments: &Arguments) -> Result<Program, Failure> {
    let (batch, cols) = (arguments.size("batch")?, arguments.size("cols")?);
    let draw = Draw {
        rows: arguments.at_most("rows", u32::MAX as usize)?,
        batch,
        seed: arguments.0.seed.0,
        stream: 1,
    };
    let all = parameters::size_product("`rows` and `cols`", &[draw.rows, cols])?;
    let len = parameters::size_product("`batch` and `cols`", &[batch, cols])?;
    let mut program = Program::new(Work {
        bytes: Some(parameters::product("`batch` and `cols`", &[8, len as u64])?),
        flops: Some(0),
        items: Some(batch as u64),
        formula: "bytes = 8 batch cols, flops = 0, items = batch".into(),
    });
    let set = program.input("set", DType::U32, all, Fill::Words { stream: 0 });
    let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 2 });
    let out = program.output("out", DType::U32, len);
    draw.forward(&mut program, turn, set, out);
    count(&mut program, turn);
    program.check(move |outcome| check_rows(outcome, draw, [turn, set, out]));
    Ok(program)
}

/// The turn of the last iteration, and whether it was counted behind that.
pub(super) fn last_turn(outcome: &Outcome, turn: usize) -> (u64, bool) {
    let before = outcome.initial::<u64>(turn)[0];
    let last = before.wrapping_add(outcome.iterations.wrapping_sub(1));
    (last, outcome.get::<u64>(turn)[0] == last.wrapping_add(1))
}

fn check_rows(outcome: &Outcome, draw: Draw, [turn, set, out]: [usize; 3]) -> Checked {
    let (last, is_counted) = last_turn(outcome, turn);
    let (set, out) = (outcome.get::<u32>(set), outcome.get::<u32>(out));
    let cols = set.len() / draw.rows;
    let differs = |i: usize| out[i] != set[draw.row(last, i / cols) * cols + i % cols];
    let wrong = check::count(out.len(), differs) + usize::from(!is_counted);
    Checked::exact(wrong, "elements that are not those of the turn's rows")
}

fn labels_program(arguments: &Arguments) -> Result<Program, Failure> {
    let brick = Labels {
        rows: arguments.size("rows")?,
        classes: arguments.at_most("classes", u32::MAX as usize)?,
        seed: arguments.0.seed.0,
        stream: 1,
    };
    let Labels { rows, classes, .. } = brick;
    let len = parameters::size_product("`rows` and `classes`", &[rows, classes])?;
    let mut program = Program::new(Work {
        bytes: Some(parameters::product(
            "`rows` and `classes`",
            &[4, (len + rows) as u64],
        )?),
        flops: Some(parameters::product(
            "`rows` and `classes`",
            &[3, len as u64],
        )?),
        items: Some(rows as u64),
        formula: "bytes = 4 rows (classes + 1), flops = 3 rows classes, items = rows".into(),
    });
    let logits = program.input(
        "logits",
        DType::F32,
        len,
        Fill::Signed {
            stream: 0,
            scale: SPREAD,
        },
    );
    let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 2 });
    let labels = program.output("labels", DType::U32, rows);
    brick.forward(&mut program, turn, logits, labels);
    count(&mut program, turn);
    program.check(move |outcome| check_labels(outcome, brick, [turn, logits, labels]));
    Ok(program)
}

/// How far each draw lies from the class that was found for it, as a share of all probability.
fn check_labels(outcome: &Outcome, brick: Labels, [turn, logits, labels]: [usize; 3]) -> Checked {
    let (last, is_counted) = last_turn(outcome, turn);
    let (logits, labels) = (outcome.get::<f32>(logits), outcome.get::<u32>(labels));
    let error = check::worst(labels.len(), |row| {
        let x = &logits[row * brick.classes..][..brick.classes];
        let share = share(brick.word(last, row));
        distance(x, labels[row] as usize, share)
    });
    // An exponential, and the subtraction of the largest logit from one that is at most twice the spread away: in a sum and in
    // the whole.
    let roundings = 2 * (EXP + 2 * SPREAD as u64 + 2);
    Checked {
        error: if is_counted { error } else { f64::INFINITY },
        tolerance: crate::bound::gamma(roundings, 2_f64.powi(-24)),
        detail: "largest distance of a draw from its class, as a share of all probability".into(),
    }
}

/// How far a share of all probability lies from that of a class; infinite, where there is no such class.
fn distance(logits: &[f32], class: usize, share: f64) -> f64 {
    if class >= logits.len() {
        return f64::INFINITY;
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: &f32| f64::from(*x - largest).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let below: f64 = logits[..class].iter().map(weight).sum::<f64>() / total;
    let above = below + weight(&logits[class]) / total;
    (below - share).max(share - above).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::drawn;
    use assay_protocol::Philox;

    #[test]
    fn labels_are_as_frequent_as_they_are_probable() {
        let logits = [0.0, 3_f32.ln(), f32::NEG_INFINITY, 6_f32.ln()];
        let random = Philox::new(1, 1);
        let mut counts = [0_u32; 4];
        for i in 0..10_000 {
            counts[drawn(&logits, random.word(i)) as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([1000_i64, 3000, 0, 6000]) {
            assert!((i64::from(count) - expected).abs() < 200, "{counts:?}");
        }
        assert_eq!(counts[2], 0);
        assert_eq!([0, u32::MAX].map(|word| drawn(&logits, word)), [0, 3]);
        assert_eq!(drawn(&[0.0, f32::NAN], 5), u32::MAX);
    }
}

//! Rows of a table by number, and the gradient of the table: in a fixed order, or as blocks of a CUDA device finish.
//!
//! Forward `out[t] = table[ids[t]]`, exact: `(tokens + K) width s` bytes for the rows, `K` of which differ and are read once each, and 4 for
//! each number. Backward `dtable[v] = sum of
//! dout[t] over the tokens t with ids[t] = v`, in `f32`, zeros elsewhere: `tokens width s` bytes read and `4 vocabulary width` written, and
//! `tokens width` flops. The `fixed` order is that of the tokens. On CUDA devices the first token of each number adds up all of its rows;
//! which it is, each block finds by comparing numbers, `tokens^2 / 2` of them together: little beside the rows up to some 10^5 tokens.
//! `atomic`, on CUDA devices alone, adds every row as it comes. A number that is no row gives a row that is none, or is left out backward,
//! and the check names it, on every device.

use assay_protocol::{Failure, Philox, Work};

use super::host::{Each, Sink, fetch, pointwise};
use super::{DTYPES, cuda, expect, with_lane};
use crate::bound::{gamma, likely_gamma};
use crate::buffer::Buffers;
use crate::check;
use crate::device::Team;
use crate::element::{DType, Real};
use crate::lane::{Lane, WIDTH};
use crate::ml::column_sum::Order;
use crate::ml::groups::Groups;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, Step, cuda_source};
use crate::simd::wide;
use crate::store::{Around, goes_around};

static SOURCE: Source = cuda_source!("ml/embedding.cu");
/// Random stream of the numbers.
const IDS: u64 = 0;

/// The brick: rows of a table by number.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// Numbers.
    pub tokens: usize,
    /// Rows of the table.
    pub vocabulary: usize,
    /// Elements of a row.
    pub width: usize,
    /// Type of table and rows.
    pub dtype: DType,
}

impl Embedding {
    /// Adds `out[t] = table[ids[t]]`; `table` is `vocabulary` by `width`, `ids` are `tokens` of `u32`.
    pub fn forward(&self, program: &mut Program, table: usize, ids: usize, out: usize) {
        let Self {
            tokens,
            vocabulary,
            width,
            dtype,
        } = *self;
        expect(
            program,
            "embedding",
            &[
                ("table", table, dtype, vocabulary * width),
                ("out", out, dtype, tokens * width),
                ("ids", ids, DType::U32, tokens),
            ],
        );
        with_lane!(dtype, forward_on_cpu(program, *self, [table, ids, out]));
        let launch = cuda::by_rows(&SOURCE, "embedding", dtype, tokens, width);
        program.launch(
            launch
                .args([out, table, ids].map(Arg::Buffer))
                .args([Arg::size(vocabulary)]),
        );
    }

    /// Adds `dtable`, `vocabulary` by `width` of `f32`, given `ids` and `dout`.
    pub fn backward(
        &self,
        program: &mut Program,
        order: Order,
        ids: usize,
        dout: usize,
        dtable: usize,
    ) {
        let Self {
            tokens,
            vocabulary,
            width,
            dtype,
        } = *self;
        expect(
            program,
            "embedding",
            &[
                ("dout", dout, dtype, tokens * width),
                ("dtable", dtable, DType::F32, vocabulary * width),
                ("ids", ids, DType::U32, tokens),
            ],
        );
        with_lane!(dtype, backward_on_cpu(program, *self, [ids, dout, dtable]));
        let kernel = match order {
            Order::Fixed => "embedding_backward",
            Order::Atomic => "embedding_backward_atomic",
        };
        program.cuda.push(Step::Set {
            buffer: dtable,
            byte: 0,
        });
        let launch = cuda::by_rows(&SOURCE, kernel, dtype, tokens, width);
        program.launch(
            launch
                .args([dtable, dout, ids].map(Arg::Buffer))
                .args([Arg::size(vocabulary)]),
        );
    }
}

/// Says which number is no row, if one is.
pub fn find_bad_id(ids: &[u32], vocabulary: usize) -> Option<String> {
    let bad = ids.iter().position(|id| *id as usize >= vocabulary)?;
    Some(format!(
        "token {} at place {bad}: expected less than the vocabulary of {vocabulary}; correct the tokens",
        ids[bad]
    ))
}

fn forward_on_cpu<T: Lane>(program: &mut Program, brick: Embedding, buffers: [usize; 3]) {
    let width = brick.width.max(1);
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [table, ids, out] = all.many(buffers);
        let table = table.get::<T>();
        let is_large = goes_around(2 * out.bytes().len() as u64);
        let parts = team
            .split_mut(out.get_mut::<T>(), width)
            .into_iter()
            .zip(team.split(ids.get::<u32>(), 1));
        team.each(parts.collect(), |(out, ids): &mut (&mut [T], &[u32])| {
            let no_row = vec![T::narrow(f32::NAN); width];
            let row = |id: &u32| table.get(*id as usize * width..(*id as usize + 1) * width);
            let rows = ids.iter().map(|id| row(id).unwrap_or(&no_row));
            if is_large {
                let mut around = Around::new(out);
                // Where the next row is nobody can foresee.
                let after = ids.iter().skip(AHEAD).map(|id| row(id).unwrap_or(&[]));
                let after = after.chain(std::iter::repeat(&[][..]));
                for (r, (row, next)) in rows.zip(after).enumerate() {
                    around.send_and_fetch(r * width, row, next);
                }
            } else {
                out.chunks_exact_mut(width)
                    .zip(rows)
                    .for_each(|(out, row)| out.copy_from_slice(row));
            }
        });
    });
}

/// Rows of the table that a member takes at a time.
const ROWS: usize = 64;
/// Tokens whose rows are asked for before their turn: what comes from memory and what leaves for it go on together.
const AHEAD: usize = 3;

/// The sum of rows, from zero on.
struct Sum;

pointwise!(Sum, |_, [x], 1 => 1| [0.0 + x]);
pointwise!(Sum, |_, [x, y], 2 => 1| [0.0 + x + y]);

/// Every row of the table is added up once, of its tokens in their order, and leaves for memory once.
fn backward_on_cpu<T: Lane>(program: &mut Program, brick: Embedding, buffers: [usize; 3]) {
    let width = brick.width.max(1);
    let mut tokens = Groups::default();
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [ids, dout, dtable] = all.many(buffers);
        tokens.sort(ids.get(), brick.vocabulary);
        let (tokens, dout) = (&tokens, dout.get::<T>());
        let traffic = size_of_val(dout) + dtable.bytes().len();
        let tasks = dtable.get_mut::<f32>().chunks_mut(ROWS * width);
        let of_place = |place: usize| {
            let token = tokens.members()[place.min(tokens.members().len() - 1)];
            &dout[token as usize * width..][..width]
        };
        team.deal_with(
            tasks.enumerate().collect(),
            || (vec![0.0; width], vec![T::default(); width]),
            |(sums, zeros), (task, part): (usize, &mut [f32])| {
                let rows = part.len() / width;
                let mut sink = Sink::new(part, traffic);
                for row in 0..rows {
                    let (to, places) = (row * width, tokens.range(task * ROWS + row));
                    let rows = |first: usize| (of_place(first), of_place(first + AHEAD));
                    match places.len() {
                        0 => sink.row_of(to, &Each(Sum), [zeros.as_slice()], []),
                        1 => {
                            let (x, next) = rows(places.start);
                            sink.row_of(to, &Each(Sum), [x], [next]);
                        }
                        2 => {
                            let [(x, next), (y, last)] = [0, 1].map(|i| rows(places.start + i));
                            sink.row_of(to, &Each(Sum), [x, y], [next, last]);
                        }
                        _ => {
                            sums.fill(0.0);
                            for (x, next) in places.map(rows) {
                                add_and_fetch(sums, x, next);
                            }
                            sink.row_of(to, &Each(Sum), [sums.as_slice()], []);
                        }
                    }
                }
            },
        );
    });
}

wide! {
    /// Adds a row to sums, and fetches the one that comes next.
    fn add_and_fetch<T: Lane>(sums: &mut [f32], row: &[T], next: &[T]) {
        let whole = sums.len() / WIDTH * WIDTH;
        let lines = sums.as_chunks_mut::<WIDTH>().0.iter_mut().zip(row.as_chunks::<WIDTH>().0);
        for (index, (sums, line)) in lines.enumerate() {
            if let Some(next) = next.get(index * WIDTH..(index + 1) * WIDTH) {
                fetch(next);
            }
            for (sum, x) in sums.iter_mut().zip(&T::widen_line(line)) {
                *sum += *x;
            }
        }
        for (sum, x) in sums[whole..].iter_mut().zip(&row[whole..]) {
            *sum += x.widen();
        }
    }
}

/// The ops: [`Embedding::forward`] and [`Embedding::backward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingOp {
    /// `embedding`
    Forward,
    /// `embedding-backward`
    Backward,
}

impl Op for EmbeddingOp {
    fn info(&self) -> OpInfo {
        let names = ["tokens", "vocabulary", "width"];
        let mut parameters: Vec<_> = names.map(parameters::integer).into();
        parameters.push(parameters::dtype(DTYPES));
        let (name, summary) = match self {
            Self::Forward => ("embedding", "rows of a table by random number"),
            Self::Backward => (
                "embedding-backward",
                "gradient of a table of embeddings, in a fixed or a free order",
            ),
        };
        if *self == Self::Backward {
            parameters.push(parameters::on_cuda(parameters::choice(
                "variant",
                &["fixed", "atomic"],
            )));
        }
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    /// The first of the forward op counted a row as often as it came.
    fn definition(&self) -> u32 {
        match self {
            Self::Forward => 2,
            Self::Backward => 1,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let vocabulary = arguments.at_most("vocabulary", u32::MAX as usize)?;
        let brick = Embedding {
            tokens: arguments.size("tokens")?,
            vocabulary,
            width: arguments.size("width")?,
            dtype,
        };
        let rows = parameters::size_product("`tokens` and `width`", &[brick.tokens, brick.width])?;
        let table_len =
            parameters::size_product("`vocabulary` and `width`", &[vocabulary, brick.width])?;
        let mut program = Program::new(self.work(&brick, table_len, arguments.0.seed.0)?);
        let ids = program.input(
            "ids",
            DType::U32,
            brick.tokens,
            Fill::Below {
                stream: IDS,
                bound: vocabulary as u32,
            },
        );
        if *self == Self::Forward {
            let table = program.input("table", dtype, table_len, Fill::signed(1));
            let out = program.output("out", dtype, rows);
            brick.forward(&mut program, table, ids, out);
            program
                .check(move |outcome| with_lane!(dtype, check(outcome, brick, [table, ids, out])));
            return Ok(program);
        }
        let order = arguments.cuda_choice(
            "variant",
            &[("fixed", Order::Fixed), ("atomic", Order::Atomic)],
        )?;
        let dout = program.input("dout", dtype, rows, Fill::signed(1));
        let dtable = program.output("dtable", DType::F32, table_len);
        brick.backward(&mut program, order, ids, dout, dtable);
        if order == Order::Atomic {
            program.deterministic = false;
            program.distinct = Some(dtable);
        }
        program.check(move |outcome| {
            with_lane!(dtype, check_backward(outcome, brick, [ids, dout, dtable]))
        });
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            // Numbers come more than once.
            "vocabulary" => size.min(20),
            "width" => size.min(72),
            _ => size,
        }
    }
}

impl EmbeddingOp {
    fn work(self, brick: &Embedding, table: usize, seed: u64) -> Result<Work, Failure> {
        let names = "`tokens`, `vocabulary` and `width`";
        let (tokens, width) = (brick.tokens as u64, brick.width as u64);
        let element = brick.dtype.bytes() as u64;
        let rows = parameters::product(names, &[tokens, width])?;
        let of_rows = parameters::product(names, &[rows, element])?;
        let (other, flops, formula) = match self {
            Self::Forward => {
                let numbers = parameters::product(names, &[tokens, 4])?;
                let read = different_ids(brick.tokens, brick.vocabulary, seed);
                let read = parameters::product(names, &[read, width, element])?;
                (
                    read.saturating_add(numbers),
                    0,
                    "bytes = (T + K) W sizeof(T) + 4 T, flops = 0, items = T; T = tokens, K = rows that come, W = width",
                )
            }
            Self::Backward => {
                let formula = "bytes = T W sizeof(T) + 4 V W, flops = T W, items = T; T = tokens, V = vocabulary, W = width";
                (
                    parameters::product(names, &[table as u64, 4])?,
                    rows,
                    formula,
                )
            }
        };
        Ok(Work {
            bytes: Some(of_rows.saturating_add(other)),
            flops: Some(flops),
            items: Some(tokens),
            formula: formula.into(),
        })
    }
}

/// How many rows the numbers of a case name; of more numbers than are worth looking at, how many they could.
fn different_ids(tokens: usize, vocabulary: usize, seed: u64) -> u64 {
    const MOST: usize = 1 << 28;
    if tokens >= MOST {
        return tokens.min(vocabulary) as u64;
    }
    let mut words = vec![0; tokens];
    Philox::new(seed, IDS).fill_words(0, &mut words);
    let mut is_named = vec![0_u64; vocabulary.div_ceil(64)];
    let mut different = 0;
    for word in words {
        // As `Fill::Below` has it.
        let id = (u64::from(word) * vocabulary as u64) >> 32;
        let (place, bit) = ((id / 64) as usize, 1 << (id % 64));
        different += u64::from(is_named[place] & bit == 0);
        is_named[place] |= bit;
    }
    different
}

/// A comparison that a bad number fails, in words.
fn refusing(ids: &[u32], vocabulary: usize, compare: impl FnOnce() -> Checked) -> Checked {
    let refused = |detail| Checked {
        error: f64::INFINITY,
        tolerance: 0.0,
        detail,
    };
    find_bad_id(ids, vocabulary).map_or_else(compare, refused)
}

fn check<T: Lane>(outcome: &Outcome, brick: Embedding, [table, ids, out]: [usize; 3]) -> Checked {
    let (table, ids, out) = (
        outcome.get::<T>(table),
        outcome.get::<u32>(ids),
        outcome.get::<T>(out),
    );
    refusing(ids, brick.vocabulary, || {
        let differs = |i: usize| {
            let (token, column) = (i / brick.width, i % brick.width);
            out[i].to_word() != table[ids[token] as usize * brick.width + column].to_word()
        };
        Checked::exact(
            check::count(out.len(), differs),
            "elements that are not those of the table",
        )
    })
}

/// An element has as many additions as its number has tokens: Higham (4.4), or what is likely of many.
fn tolerance_of_sum(tokens: u64) -> f64 {
    // Not even of a row without tokens nothing is allowed: 0 is 0.
    let roundings = tokens.max(1);
    likely_gamma(roundings, f32::UNIT_ROUNDOFF) + gamma(roundings, f64::UNIT_ROUNDOFF)
}

fn check_backward<T: Lane>(
    outcome: &Outcome,
    brick: Embedding,
    [ids, dout, dtable]: [usize; 3],
) -> Checked {
    let (ids, dout) = (outcome.get::<u32>(ids), outcome.get::<T>(dout));
    refusing(ids, brick.vocabulary, || {
        let len = brick.vocabulary * brick.width;
        let (mut exact, mut magnitudes, mut counts) = (
            vec![0.0; len],
            vec![0.0; len],
            vec![0_u64; brick.vocabulary],
        );
        for (row, id) in dout.chunks_exact(brick.width.max(1)).zip(ids) {
            counts[*id as usize] += 1;
            for (column, x) in row.iter().enumerate() {
                let (place, x): (usize, f64) = (*id as usize * brick.width + column, (*x).into());
                exact[place] += x;
                magnitudes[place] += x.abs();
            }
        }
        let found = outcome.get::<f32>(dtable);
        let error = check::worst(len, |i| {
            let error = check::relative(found[i].into(), exact[i], magnitudes[i]);
            error / tolerance_of_sum(counts[i / brick.width])
        });
        Checked {
            error,
            tolerance: 1.0,
            detail: "largest |sum - exact| / sum of magnitudes, in units of the smaller of gamma_t and 10 sqrt(t) u for a row of t tokens"
                .into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{DType, Embedding, EmbeddingOp, different_ids, tolerance_of_sum};

    /// Of 512 tokens and 4 rows each row comes, and is read once.
    #[test]
    fn a_row_is_counted_once() {
        let brick = Embedding {
            tokens: 512,
            vocabulary: 4,
            width: 16,
            dtype: DType::F32,
        };
        let work = EmbeddingOp::Forward.work(&brick, 64, 1).unwrap();
        assert_eq!(work.bytes, Some((512 + 4) * 16 * 4 + 512 * 4));
        // V (1 - exp(-T / V)) of them, the case of `benches/ops.txt`.
        let different = different_ids(65536, 50257, 1);
        assert!((36_400..36_900).contains(&different), "{different}");
    }

    #[test]
    fn of_many_tokens_few_may_be_lost() {
        for tokens in [1_u64 << 20, (1 << 24) + 8, 1 << 30] {
            assert!(tolerance_of_sum(tokens) < 0.02, "{tokens}");
        }
    }
}

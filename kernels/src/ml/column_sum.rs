//! Sums over the rows of a matrix, as gradients of biases are: in a fixed order, or as blocks of a CUDA device finish.
//!
//! `out[c] = sum_r x[r][c]`, `x` row-major of any type, `out` in `f32`. Work, with `s` bytes an element: `rows cols s` bytes and
//! `rows cols` flops. In the `fixed` order a matrix is divided into at most 256 blocks of at least 32 rows, by its shape alone; rows of a
//! block are added one after the other, and so are the blocks' sums. A CUDA device adds every eighth row of a block, then
//! the eight sums. `atomic`, on CUDA devices alone, lets blocks add to the result in any order. Each element passes through at most
//! as many additions as a block has rows, and there are blocks, and three: Higham (4.4), relative to the sum of magnitudes.

use assay_protocol::{Failure, Work};

use super::{DTYPES, bound, cuda, expect, with_lane, workspace};
use crate::buffer::{Buffer, Buffers};
use crate::check;
use crate::device::Team;
use crate::element::DType;
use crate::lane::{Lane, WIDTH};
use crate::matrix::Store;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, cuda_source};
use crate::rows::{self, ROWS, Rows};
use crate::simd::wide;
use crate::store::{LINE, fetch_behind};

static SOURCE: Source = cuda_source!("ml/column_sum.cu");
/// Columns, in packs, and rows that a block of a CUDA device sums side by side.
const WIDE: u32 = 32;
const TALL: u32 = 8;
const LEAST_ROWS: usize = 32;
const MOST_BLOCKS: usize = 256;

/// Rows of a block.
pub fn rows_per_block(rows: usize) -> usize {
    rows.div_ceil(MOST_BLOCKS).max(LEAST_ROWS)
}

/// Blocks of a matrix; one of nothing, too, has sums.
pub fn blocks_of(rows: usize) -> usize {
    rows.div_ceil(rows_per_block(rows)).max(1)
}

/// Additions on the longest path through a sum over `rows`.
pub fn height(rows: usize) -> u64 {
    (rows_per_block(rows).min(rows) + blocks_of(rows) + 3) as u64
}

/// The order of additions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One that the shape alone determines.
    Fixed,
    /// As blocks of a CUDA device finish; on the host as `Fixed`.
    Atomic,
}

/// The brick: sums over rows.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSum {
    /// What is summed over.
    pub rows: usize,
    /// Sums.
    pub cols: usize,
    /// Type of the matrix.
    pub dtype: DType,
    /// The order of additions.
    pub order: Order,
}

impl ColumnSum {
    /// Adds `out = sum over rows of x`; `x` is `rows` by `cols`, `out` has `cols` elements of `f32`.
    pub fn forward(&self, program: &mut Program, x: usize, out: usize) {
        self.append(program, x, out, Store::Set);
    }

    /// As [`Self::forward`], or adds the sums to `out`, where gradients are accumulated.
    pub fn append(&self, program: &mut Program, x: usize, out: usize, store: Store) {
        let Self {
            rows, cols, dtype, ..
        } = *self;
        let partials = workspace(program, "partial-sums", DType::F32, blocks_of(rows) * cols);
        with_lane!(dtype, on_cpu(program, rows, [x, partials, out], store));
        self.launch(program, [x, partials, out], store);
    }

    /// As [`Self::forward`], on CUDA devices alone: where the host adds up while it makes the matrix.
    pub fn on_cuda(&self, program: &mut Program, x: usize, out: usize) {
        let len = blocks_of(self.rows) * self.cols;
        let partials = workspace(program, "partial-sums", DType::F32, len);
        self.launch(program, [x, partials, out], Store::Set);
    }

    fn launch(&self, program: &mut Program, [x, partials, out]: [usize; 3], store: Store) {
        let Self {
            rows,
            cols,
            dtype,
            order,
        } = *self;
        expect(
            program,
            "column sum",
            &[("x", x, dtype, rows * cols), ("out", out, DType::F32, cols)],
        );
        match order {
            Order::Fixed => {
                program.launch(self.blocks("column_sums", partials, x));
                sum_blocks_on_cuda(program, [blocks_of(rows), cols], partials, out, store);
            }
            Order::Atomic => {
                if store == Store::Set {
                    program.cuda.push(Step::Set {
                        buffer: out,
                        byte: 0,
                    });
                }
                program.launch(self.blocks("column_sums_atomic", out, x));
            }
        }
    }

    fn blocks(&self, kernel: &str, out: usize, x: usize) -> Launch {
        let width = cuda::pack(self.dtype, self.cols);
        let across = self.cols.div_ceil(width * WIDE as usize);
        Launch {
            grid: [across as u32, blocks_of(self.rows) as u32, 1],
            block: [WIDE, TALL, 1],
            ..Launch::new(
                &SOURCE,
                format!("{kernel}<{}, {width}>", self.dtype.cuda()),
                0,
                0,
            )
        }
        .args([Arg::Buffer(out), Arg::Buffer(x)])
        .args([self.rows, self.cols, rows_per_block(self.rows)].map(Arg::size))
    }
}

/// Adds the launch that sums what blocks left, `cols` sums each, one block after the other.
pub fn sum_blocks_on_cuda(
    program: &mut Program,
    [blocks, cols]: [usize; 2],
    partials: usize,
    out: usize,
    store: Store,
) {
    const THREADS: u32 = 128;
    let grid = crate::program::blocks(cols, THREADS as usize, u32::MAX >> 1);
    let launch = Launch::new(&SOURCE, "column_sums_of_blocks", grid, THREADS);
    program.launch(launch.args([
        Arg::Buffer(out),
        Arg::Buffer(partials),
        Arg::size(blocks),
        Arg::size(cols),
        Arg::U32((store == Store::Add).into()),
    ]));
}

/// Sums what blocks left on the host.
pub fn sum_blocks(team: &Team, partials: &Buffer, out: &mut Buffer, store: Store) {
    let cols = out.len();
    let partials = partials.get::<f32>();
    let granule = crate::buffer::granule::<f32>();
    let firsts =
        (0..team.threads()).map(|i| crate::device::chunk(cols, granule, team.threads(), i).start);
    let parts = firsts.zip(team.split_mut(out.get_mut::<f32>(), granule));
    team.each(parts.collect(), |(first, out)| {
        if store == Store::Set {
            out.fill(0.0);
        }
        for of_block in partials.chunks_exact(cols.max(1)) {
            add(out, &of_block[*first..*first + out.len()]);
        }
    });
}

fn on_cpu<T: Lane + Rows<f32>>(
    program: &mut Program,
    rows: usize,
    buffers: [usize; 3],
    store: Store,
) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [x, partials, out] = all.many(buffers);
        let width = out.len().max(1);
        let inputs = team.split(x.get::<T>(), rows_per_block(rows) * width);
        let parts = team
            .split_mut(partials.get_mut::<f32>(), width)
            .into_iter()
            .zip(inputs);
        team.each(parts.collect(), |(partials, x): &mut (&mut [f32], &[T])| {
            partials.fill(0.0);
            let blocks = partials
                .chunks_exact_mut(width)
                .zip(x.chunks(rows_per_block(rows) * width));
            for (sums, block) in blocks {
                add_rows(sums, block);
            }
        });
        sum_blocks(team, partials, out, store);
    });
}

wide! {
    /// Adds to sums.
    pub fn add(sums: &mut [f32], values: &[f32]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += *value;
        }
    }
}

/// Adds rows to sums, one after the other, some of them in one go.
fn add_rows<T: Lane + Rows<f32>>(sums: &mut [f32], rows: &[T]) {
    let width = sums.len();
    let mut groups = rows.chunks_exact(ROWS * width);
    for group in &mut groups {
        let mut done = 0;
        if let Some(function) = T::function() {
            // Once each: to add a product with one is to add.
            let ones = &[1.0; ROWS];
            let eight = std::array::from_fn(|row| &group[row * width..][..width]);
            done = rows::add(function, sums, &eight, ones, ROWS * width);
        }
        add_together(sums, group, done);
    }
    for row in groups.remainder().chunks_exact(width) {
        add_row(sums, row);
    }
}

wide! {
    fn add_row<T: Lane>(sums: &mut [f32], row: &[T]) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x.widen();
        }
    }

    /// Adds [`ROWS`] rows, in their order, from column `first` on; those that come next are fetched meanwhile, since too little of
    /// each is read at a time for the processor to see where it goes on.
    fn add_together<T: Lane>(sums: &mut [f32], rows: &[T], first: usize) {
        let width = sums.len();
        let whole = width / WIDTH * WIDTH;
        let lines = sums.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate();
        for (index, sums) in lines.skip(first / WIDTH) {
            let mut added = *sums;
            for row in rows.chunks_exact(width) {
                let line = row[index * WIDTH..].first_chunk().expect("a whole line");
                for part in line.chunks(LINE / size_of::<T>()) {
                    fetch_behind(&part[0], ROWS * width);
                }
                for (sum, x) in added.iter_mut().zip(&T::widen_line(line)) {
                    *sum += *x;
                }
            }
            *sums = added;
        }
        for row in rows.chunks_exact(width) {
            for (sum, x) in sums[whole..].iter_mut().zip(&row[whole..]) {
                *sum += x.widen();
            }
        }
    }
}

/// The op: [`ColumnSum::forward`].
#[derive(Clone, Copy, Debug)]
pub struct ColumnSumOp;

impl Op for ColumnSumOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "column-sum",
            summary: "sums over the rows of a matrix, as gradients of biases are",
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::dtype(DTYPES),
                parameters::on_cuda(parameters::choice("variant", &["fixed", "atomic"])),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let order = arguments.cuda_choice(
            "variant",
            &[("fixed", Order::Fixed), ("atomic", Order::Atomic)],
        )?;
        let brick = ColumnSum {
            rows: arguments.size("rows")?,
            cols: arguments.size("cols")?,
            dtype,
            order,
        };
        let elements = parameters::size_product("`rows` and `cols`", &[brick.rows, brick.cols])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements as u64, dtype.bytes() as u64],
            )?),
            flops: Some(elements as u64),
            items: Some(elements as u64),
            formula: "bytes = rows cols sizeof(T), flops = rows cols, items = rows cols".into(),
        });
        let x = program.input("x", dtype, elements, Fill::signed(0));
        let out = program.output("sums", DType::F32, brick.cols);
        brick.forward(&mut program, x, out);
        if order == Order::Atomic {
            program.deterministic = false;
            program.distinct = Some(out);
        }
        program.check(move |outcome| with_lane!(dtype, check(outcome, brick, [x, out])));
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

fn check<T: Lane>(outcome: &Outcome, brick: ColumnSum, [x, out]: [usize; 2]) -> Checked {
    let x = outcome.get::<T>(x);
    compare_sums(outcome.get::<f32>(out), brick.rows, 0, |r, c| {
        x[r * brick.cols + c].into()
    })
}

/// Compares sums over rows of what `term(row, column)` says; `roundings` are those of a term.
pub fn compare_sums(
    found: &[f32],
    rows: usize,
    roundings: u64,
    term: impl Fn(usize, usize) -> f64 + Sync,
) -> Checked {
    let error = check::worst(found.len(), |c| {
        let terms = (0..rows).map(|r| term(r, c));
        let (exact, condition) = terms.fold((0.0, 0.0), |(sum, magnitude), x| {
            (sum + x, magnitude + x.abs())
        });
        bound::error(found[c], exact, condition)
    });
    Checked {
        error,
        tolerance: bound::tolerance::<f32>(height(rows) + roundings),
        detail: "largest |sum - exact| / sum of magnitudes; bound gamma_h, h roundings on the longest path".into(),
    }
}

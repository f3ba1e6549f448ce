//! The implementations for CUDA devices: launches of `dense/gemv.cu`.

use super::{Along, Product, Shape};
use crate::element::{DType, Real};
use crate::program::{Arg, Launch, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("dense/gemv.cu");
const THREADS: usize = 256;
const WARP: usize = 32;
const WARPS: usize = THREADS / WARP;
/// Blocks that fill any device, several on each of its multiprocessors.
const ENOUGH_BLOCKS: usize = 1024;
/// Pieces that one block adds up in the end.
const MOST_PIECES: usize = 128;

/// Who makes a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Several blocks, if there are too few sums.
    Split,
    /// A block, or of a few vectors along rows a warp.
    Block,
    /// A warp.
    Warp,
}

impl Variant {
    /// Those of a product, by name; the first is the default.
    pub fn of(product: Product) -> &'static [(&'static str, Self)] {
        match product {
            Product::Gemv => &[
                ("split", Self::Split),
                ("block", Self::Block),
                ("warp", Self::Warp),
            ],
            Product::Skinny => &[("split", Self::Split), ("whole", Self::Block)],
        }
    }
}

/// A launch that lacks its output.
pub struct Prepared {
    launch: Launch,
    inputs: [Arg; 2],
    scratch: [Arg; 2],
    sizes: [Arg; 3],
    /// Roundings on the longest path through a sum.
    pub height: u64,
}

impl Prepared {
    /// The same with its output.
    pub fn writing(self, c: usize) -> Launch {
        self.launch
            .args([Arg::Buffer(c)])
            .args(self.scratch)
            .args(self.inputs)
            .args(self.sizes)
    }
}

/// How the work is divided.
struct Division {
    kernel: &'static str,
    /// Threads, or warps, that share a sum.
    sharing: usize,
    /// How many members of a block take turns at the terms of a sum.
    turns: usize,
    /// Blocks beside each other, for all sums.
    blocks: usize,
    /// A piece is a multiple of this many terms.
    granule: usize,
}

impl Division {
    fn new<T: Real>(variant: Variant, shape: Shape) -> Self {
        let pack = 16 / size_of::<T>();
        match shape.along {
            Along::Rows => {
                let sharing = if variant == Variant::Block && shape.width == 1 {
                    THREADS
                } else {
                    WARP
                };
                // As `Along` in the source has it.
                let rows = match shape.width {
                    1 => 2,
                    16 => 4,
                    _ => 8,
                };
                Self {
                    kernel: "rows_times",
                    sharing,
                    turns: sharing,
                    blocks: shape.rows.div_ceil(THREADS / sharing * rows),
                    granule: 1024,
                }
            }
            Along::Columns => {
                let sharing = if variant == Variant::Warp { 1 } else { WARPS };
                Self {
                    kernel: "columns_times",
                    sharing,
                    turns: sharing,
                    blocks: shape.cols.div_ceil(WARPS / sharing * WARP * pack),
                    granule: 64,
                }
            }
        }
    }

    /// Terms of a piece, and how many pieces.
    fn pieces(&self, variant: Variant, depth: usize) -> (usize, usize) {
        if variant != Variant::Split || depth == 0 {
            return (depth, 1);
        }
        let wanted = ENOUGH_BLOCKS.div_ceil(self.blocks.max(1)).min(MOST_PIECES);
        let piece = depth.div_ceil(wanted).next_multiple_of(self.granule);
        (piece, depth.div_ceil(piece))
    }
}

/// Adds what a launch needs beside inputs and output to a program.
pub fn launch<T: Real>(
    program: &mut Program,
    variant: Variant,
    shape: Shape,
    inputs: [usize; 2],
) -> Prepared {
    let Shape {
        rows, cols, width, ..
    } = shape;
    let division = Division::new::<T>(variant, shape);
    let (piece, pieces) = division.pieces(variant, shape.depth());
    let sums = if T::DTYPE == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let (parts, finished) = if pieces > 1 {
        (pieces * shape.sums() * width, division.blocks)
    } else {
        (0, 0)
    };
    let scratch = [
        program.scratch("parts", sums, parts),
        program.counters("finished", finished),
    ];
    let is_vector = (cols * size_of::<T>()).is_multiple_of(16);
    let kernel = format!(
        "{}<{}, {width}, {}, {is_vector}>",
        division.kernel,
        T::DTYPE.cuda(),
        division.sharing
    );
    let grid = blocks(division.blocks, 1, i32::MAX.unsigned_abs());
    let launch = Launch::new(&SOURCE, kernel, grid, THREADS as u32);
    Prepared {
        launch: Launch {
            // At most `MOST_PIECES`.
            grid: [grid, pieces as u32, 1],
            ..launch
        },
        inputs: inputs.map(Arg::Buffer),
        scratch: scratch.map(Arg::Buffer),
        sizes: [Arg::size(rows), Arg::size(cols), Arg::size(piece)],
        // What a thread adds up, with the tail of its last turn; the threads of a warp, or warps; pieces.
        height: (piece.div_ceil(division.turns) + 64 + pieces) as u64,
    }
}

//! Transposition of a matrix: all movement, no arithmetic, and strides that caches dislike.
//!
//! `out[c][r] = in[r][c]`, both row-major. Work with `rows` by `cols` elements of `f32`, each read once and
//! written once: `8 rows cols` bytes. The result is exact.
//!
//! Variants on the host: `tiled`, by tiles that use up the cache lines they touch, and `naive`, row by row. On CUDA
//! devices: `naive`, whose writes go down columns; `tiled`, through shared memory, where columns meet one bank; `padded`, the
//! same with rows that are one element longer, so that columns meet all banks; `vectorised`, with larger tiles and 16 bytes
//! at a time.

mod block;
mod host;

pub(crate) use block::{Block, SIDE};

use assay_protocol::{DeviceKind, Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("shared/transpose.cu");

/// Transposes a matrix.
pub struct Transpose;

/// An implementation for CUDA devices.
#[derive(Clone, Copy, Debug)]
struct Variant {
    name: &'static str,
    kernel: &'static str,
    /// Elements on a side of a block's tile.
    side: usize,
    block: [u32; 3],
}

const fn variant(name: &'static str, kernel: &'static str) -> Variant {
    Variant {
        name,
        kernel,
        side: 32,
        block: [32, 8, 1],
    }
}

const VARIANTS: [Variant; 4] = [
    Variant {
        side: 64,
        block: [256, 1, 1],
        ..variant("vectorised", "transpose_vectorised")
    },
    variant("padded", "transpose_tiled<33>"),
    variant("tiled", "transpose_tiled<32>"),
    variant("naive", "transpose_naive"),
];

impl Op for Transpose {
    fn info(&self) -> OpInfo {
        let on_host = host::VARIANTS.map(|(name, _)| name);
        let on_cuda = VARIANTS.map(|variant| variant.name);
        OpInfo {
            name: "transpose",
            summary: "out[c][r] = in[r][c], f32, row-major",
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::on_cpu(parameters::choice("variant", &on_host)),
                parameters::on_cuda(parameters::choice("variant", &on_cuda)),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (rows, cols) = (arguments.size("rows")?, arguments.size("cols")?);
        let elements = parameters::size_product("`rows` and `cols`", &[rows, cols])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements as u64, 8],
            )?),
            flops: Some(0),
            items: Some(elements as u64),
            formula: "bytes = 2 rows cols sizeof(f32), flops = 0, items = rows cols".into(),
        });
        let input = program.input("in", DType::F32, elements, Fill::signed(0));
        let out = program.output("out", DType::F32, elements);
        if arguments.0.device.kind == DeviceKind::Cuda {
            let variants = VARIANTS.map(|variant| (variant.name, variant));
            let variant = arguments.choice("variant", &variants)?;
            program.launch(launch(variant, rows, cols, [out, input]));
        } else {
            let kernel = arguments.choice("variant", &host::VARIANTS)?;
            program.on_cpu(move |team, buffers, iterations| {
                let (inputs, out) = buffers.split_last_mut(out);
                let (input, out) = (inputs[input].get::<f32>(), out.get_mut::<f32>());
                host::run(kernel, team, out, input, [rows, cols], iterations)
            });
        }
        program.check(move |outcome| check(outcome, [input, out], rows, cols));
        Ok(program)
    }
}

fn launch(variant: Variant, rows: usize, cols: usize, buffers: [usize; 2]) -> Launch {
    let tiles = rows.div_ceil(variant.side) * cols.div_ceil(variant.side);
    let blocks = u32::try_from(tiles).unwrap_or(u32::MAX);
    Launch {
        block: variant.block,
        ..Launch::new(&SOURCE, variant.kernel, blocks, 0)
    }
    .args(buffers.map(Arg::Buffer))
    .args([Arg::size(rows), Arg::size(cols)])
}

fn check(outcome: &Outcome, [input, out]: [usize; 2], rows: usize, cols: usize) -> Checked {
    let (input, out) = (outcome.get::<f32>(input), outcome.get::<f32>(out));
    let error = check::worst(out.len(), |i| {
        let (c, r) = (i / rows, i % rows);
        f64::from(out[i].to_bits() != input[r * cols + c].to_bits())
    });
    Checked {
        error,
        tolerance: 0.0,
        detail: "1 if the bits of any element are not those of its origin, else 0".into(),
    }
}

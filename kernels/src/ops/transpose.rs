//! Transposition of a matrix: all movement, no arithmetic, and strides that caches dislike.
//!
//! `out[c][r] = in[r][c]`, both row-major. Work with `rows` by `cols` elements of `f32`, each read once and
//! written once: `8 rows cols` bytes. The result is exact.

use assay_protocol::{DeviceKind, Failure, Work};

use super::{Op, OpInfo};
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};
use crate::simd::wide;

/// Side of a tile: a cache line of `f32`.
const TILE: usize = 16;

/// Transposes a matrix.
pub struct Transpose;

/// Writes some rows of the output: `(out, input, rows, cols, first)`.
type Kernel = fn(&mut [f32], &[f32], usize, usize, usize);

impl Op for Transpose {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "transpose",
            summary: "out[c][r] = in[r][c], f32, row-major",
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::choice("variant", &["tiled", "naive"]),
            ],
            devices: &[DeviceKind::Cpu],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (rows, cols) = (arguments.size("rows")?, arguments.size("cols")?);
        let kernel =
            arguments.choice("variant", &[("tiled", tiled as Kernel), ("naive", naive)])?;
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
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, out) = buffers.split_last_mut(out);
            let input = inputs[input].get::<f32>();
            // Each member writes some rows of the output, a whole number of tiles, and reads as many columns.
            let parts = team.split_mut(out.get_mut::<f32>(), TILE * rows.max(1));
            let mut first = 0;
            let parts = parts.into_iter().map(|part| {
                let column = first;
                first += part.len() / rows.max(1);
                (column, part)
            });
            team.time(iterations, parts.collect(), |_, (column, part)| {
                kernel(part, input, rows, cols, *column);
            })
        });
        program.check(move |outcome| check(outcome, [input, out], rows, cols));
        Ok(program)
    }
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

wide! {
    /// Writes the rows of `out`, which are the columns of `input` from `first` on, one after the other.
    fn naive(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        if out.is_empty() {
            return;
        }
        for (c, line) in out.chunks_exact_mut(rows).enumerate() {
            for (out, line) in line.iter_mut().zip(input.chunks_exact(cols)) {
                *out = line[first + c];
            }
        }
    }

    /// As [`naive`], by tiles whose cache lines, once fetched, are used up.
    fn tiled(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        if out.is_empty() {
            return;
        }
        for (band_index, band) in out.chunks_mut(TILE * rows).enumerate() {
            let column = first + band_index * TILE;
            for row in (0..rows).step_by(TILE) {
                let height = TILE.min(rows - row);
                for (c, line) in band.chunks_exact_mut(rows).enumerate() {
                    for (r, out) in line[row..row + height].iter_mut().enumerate() {
                        *out = input[(row + r) * cols + column + c];
                    }
                }
            }
        }
    }
}

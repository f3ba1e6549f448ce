//! Transposition of a matrix: all movement, no arithmetic, and strides that caches dislike.
//!
//! `out[c][r] = in[r][c]`, both row-major. Work with `rows` by `cols` elements of `f32`, each read once and
//! written once: `8 rows cols` bytes. The result is exact.

use assay_protocol::{
    CaseSpec, Failure, Measured, Prepared, Verification, Work, Workload, WorkloadInfo,
};

use super::{Op, OpCase};
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Device, Team, memory};
use crate::element::digest;
use crate::parameters;
use crate::simd::wide;

/// Side of a tile: a cache line of `f32`.
const TILE: usize = 16;

/// Transposes a matrix.
pub struct Transpose;

impl Op for Transpose {
    fn info(&self) -> WorkloadInfo {
        let variant = parameters::choice("variant", &["tiled", "naive"]);
        let parameters = [
            parameters::integer("rows"),
            parameters::integer("cols"),
            variant,
        ];
        super::info(
            "transpose",
            "out[c][r] = in[r][c], f32, row-major",
            parameters,
        )
    }

    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure> {
        let Device::Cpu(team) = device;
        let (rows, cols) = (
            parameters::count(case, "rows")?,
            parameters::count(case, "cols")?,
        );
        let kernel = match parameters::text(case, "variant")? {
            "tiled" => tiled,
            "naive" => naive,
            _ => {
                return Err(parameters::wrong(
                    "variant",
                    "tiled or naive",
                    case.params.get("variant"),
                ));
            }
        };
        let elements = parameters::product("`rows` and `cols`", &[rows as u64, cols as u64])?;
        let bytes = parameters::product("`rows` and `cols`", &[elements, 8])?;
        memory::ensure_fits(bytes)?;
        let input = Buffer::random(&team, elements as usize, case.seed.0, 0, |x| x)?;
        let work = Work {
            bytes: Some(bytes),
            flops: Some(0),
            items: Some(elements),
            formula: "bytes = 2 rows cols sizeof(f32), flops = 0, items = rows cols".into(),
        };
        let prepared = Prepared {
            work,
            inputs: [("in".into(), digest(&input))].into(),
            deterministic: true,
            ..Prepared::default()
        };
        let output = Buffer::poisoned(&team, elements as usize)?;
        Ok(Box::new(Case {
            kernel,
            rows,
            cols,
            prepared,
            team,
            input,
            output,
        }))
    }
}

struct Case {
    kernel: fn(&mut [f32], &[f32], usize, usize, usize),
    rows: usize,
    cols: usize,
    prepared: Prepared,
    team: Team,
    input: Buffer<f32>,
    output: Buffer<f32>,
}

impl OpCase for Case {
    #[cfg(test)]
    fn corrupt(&mut self, index: usize) {
        super::corrupt(&mut self.output, index);
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let Self {
            kernel,
            rows,
            cols,
            team,
            input,
            output,
            ..
        } = self;
        let (rows, cols) = (*rows, *cols);
        // Each member writes some rows of the output, a whole number of tiles, and reads as many columns.
        let parts = team.split_mut(output, TILE * rows);
        let mut first = 0;
        let parts = parts.into_iter().map(|part| {
            let column = first;
            first += part.len() / rows;
            (column, part)
        });
        let host_ns = team.time(iterations, parts.collect(), |_, (column, part)| {
            kernel(part, input, rows, cols, *column);
        });
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let error = check::worst(self.output.len(), |i| {
            let (c, r) = (i / self.rows, i % self.rows);
            let expected = self.input[r * self.cols + c];
            f64::from(self.output[i].to_bits() != expected.to_bits())
        });
        let detail = "1 if the bits of any element are not those of its origin, else 0";
        Ok(check::judge(&self.output, error, 0.0, detail))
    }
}

wide! {
    /// Writes the rows of `out`, which are the columns of `input` from `first` on, one after the other.
    fn naive(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        for (c, line) in out.chunks_exact_mut(rows).enumerate() {
            for (out, line) in line.iter_mut().zip(input.chunks_exact(cols)) {
                *out = line[first + c];
            }
        }
    }

    /// As [`naive`], by tiles whose cache lines, once fetched, are used up.
    fn tiled(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
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

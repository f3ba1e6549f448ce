//! Quantisation to 8 bits and back: symmetric integers, and the two formats of eight-bit floating point.
//!
//! The largest magnitude of a row, or of the whole tensor, becomes the largest code: with `L` that code's value, `scale =
//! amax / L` and `code = round(x (L / amax))`, each operation rounded in `f32`, to the nearest code, ties to even, and
//! saturating. So codes and scales have the same bits on every device. `dequantise` gives `code scale`.
//!
//! | `format` | values                                       | `L`   | source                                              |
//! |----------|----------------------------------------------|-------|-----------------------------------------------------|
//! | `i8`     | integers from -127 to 127                    | 127   | B. Jacob et al., CVPR 2018, section 2.1, symmetric  |
//! | `e4m3`   | 4 bits of exponent, 3 of fraction, no infinity | 448 | OCP OFP8 1.0, section 5; P. Micikevicius et al., "FP8 formats for deep learning", 2022 |
//! | `e5m2`   | 5 bits of exponent, 2 of fraction            | 57344 | the same                                            |
//!
//! Of zeros alone the scale is 0, and so are the codes; so it is of numbers so small that `L / amax` is beyond `f32`: below 4e-37 in
//! `i8`, 1.4e-36 in `e4m3` and 1.7e-34 in `e5m2`. What is no number is never hidden: a NaN makes its row's scale none, and
//! an infinity makes it infinite, so that what is dequantised is no number there. Of finite numbers nothing is none.
//!
//! Work with `n` elements: `5 n` bytes, in either direction, though a tensor's numbers are gone over twice. Scales are 4 bytes each.

pub mod code;
mod host;

use assay_protocol::{Failure, Philox, Work};

use crate::check;
use crate::element::DType;
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};
use code::{Code, bits_of};

static SOURCE: Source = cuda_source!("ml/quantise.cu");
const THREADS: u32 = 256;
/// Elements of a block where a thread takes four.
const PER_BLOCK: usize = 4 * THREADS as usize;
/// Of the op's rows every so many are of tiny numbers.
const TINY_ROW: usize = 31;
/// Largest magnitudes of such rows.
const TINY: [f32; 3] = [1e-37, 1e-34, 1e-44];

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// All elements.
    Tensor,
    /// Those of a row.
    Row,
}

/// Shape and code of a quantised matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// What elements become.
    pub code: Code,
    /// What shares a scale.
    pub per: Per,
}

impl Quantised {
    /// How many scales it has.
    pub fn scales(self) -> usize {
        match self.per {
            Per::Tensor => 1,
            Per::Row => self.rows,
        }
    }

    /// Codes and scales of numbers, by this thread: what [`Quantise`] gives.
    pub fn encode(self, numbers: &[f32]) -> (Vec<u8>, Vec<f32>) {
        let (mut codes, mut scales) = (vec![0; numbers.len()], vec![0.0; self.scales()]);
        host::quantise_groups(self, numbers, &mut codes, &mut scales);
        (codes, scales)
    }

    /// What codes and scales stand for, by this thread: what [`Dequantise`] gives.
    pub fn decode(self, codes: &[u8], scales: &[f32]) -> Vec<f32> {
        let mut numbers = vec![0.0; codes.len()];
        host::dequantise_groups(self, codes, scales, &mut numbers);
        numbers
    }

    fn elements(self) -> usize {
        self.rows * self.cols
    }

    /// Makes sure of the buffers of a brick.
    fn expect(self, program: &Program, brick: &str, [numbers, codes, scales]: [usize; 3]) {
        let (n, code) = (self.elements(), self.code.dtype());
        let buffers = [
            ("numbers", numbers, DType::F32, n),
            ("codes", codes, code, n),
            ("scales", scales, DType::F32, self.scales()),
        ];
        expect(program, brick, &buffers);
    }

    /// Elements that share a scale.
    fn group(self) -> usize {
        match self.per {
            Per::Tensor => self.elements(),
            Per::Row => self.cols,
        }
        .max(1)
    }
}

/// Quantises a matrix of `f32`: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantise(pub Quantised);

impl Quantise {
    /// Adds the step to a program: codes of [`Code::dtype`] and scales of `f32` are written.
    pub fn add(self, program: &mut Program, input: usize, codes: usize, scales: usize) {
        let shape = self.0;
        shape.expect(program, "Quantise", [input, codes, scales]);
        program.step_on_cpu(move |team, buffers| {
            let [input, codes, scales] = buffers.many([input, codes, scales]);
            let (input, scales) = (input.get::<f32>(), scales.get_mut::<f32>());
            host::quantise(team, shape, input, codes.bytes_mut(), scales);
        });
        let kernel = |name: &str| format!("{name}<{}>", shape.code.cuda());
        let [input, codes_at, scales_at] = [input, codes, scales].map(Arg::Buffer);
        match shape.per {
            Per::Row => {
                let grid = blocks(shape.rows, 1, i32::MAX.unsigned_abs());
                let launch = Launch::new(&SOURCE, kernel("quantise_rows"), grid, THREADS);
                let sizes = [shape.rows, shape.cols].map(Arg::size);
                program.launch(launch.args([codes_at, scales_at, input]).args(sizes));
            }
            Per::Tensor => {
                let largest = workspace(program, "largest", DType::U32, 1);
                program.cuda.push(Step::Set {
                    buffer: largest,
                    byte: 0,
                });
                let (largest, n) = (Arg::Buffer(largest), Arg::size(shape.elements()));
                let grid = blocks(shape.elements(), PER_BLOCK, 1 << 16);
                program.launch(
                    Launch::new(&SOURCE, "largest_magnitude", grid, THREADS)
                        .args([largest, input, n]),
                );
                // One of nothing, too, writes its scale.
                let grid = blocks(shape.elements(), PER_BLOCK, u32::MAX).max(1);
                program.launch(
                    Launch::new(&SOURCE, kernel("quantise_tensor"), grid, THREADS)
                        .args([codes_at, scales_at, input, largest, n]),
                );
            }
        }
    }
}

/// Gives the numbers back that codes stand for, in `f32`: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dequantise(pub Quantised);

impl Dequantise {
    /// Adds the step to a program: `out` is written.
    pub fn add(self, program: &mut Program, codes: usize, scales: usize, out: usize) {
        let shape = self.0;
        shape.expect(program, "Dequantise", [out, codes, scales]);
        program.step_on_cpu(move |team, buffers| {
            let [codes, scales, out] = buffers.many([codes, scales, out]);
            let scales = scales.get::<f32>();
            host::dequantise(team, shape, codes.bytes(), scales, out.get_mut());
        });
        let grid = blocks(shape.elements(), PER_BLOCK, u32::MAX);
        let kernel = format!("dequantise<{}>", shape.code.cuda());
        program.launch(
            Launch::new(&SOURCE, kernel, grid, THREADS)
                .args([out, codes, scales].map(Arg::Buffer))
                .args([shape.group(), shape.elements()].map(Arg::size)),
        );
    }
}

/// The ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantiseOp {
    /// To 8 bits.
    Quantise,
    /// And back.
    Dequantise,
}

fn shape_of(arguments: &Arguments) -> Result<Quantised, Failure> {
    let (rows, cols) = (arguments.size("rows")?, arguments.size("cols")?);
    parameters::size_product("`rows` and `cols`", &[rows, cols, 4])?;
    Ok(Quantised {
        rows,
        cols,
        code: arguments.choice("format", &Code::ALL.map(|code| (code.name(), code)))?,
        per: arguments.choice("per", &[("row", Per::Row), ("tensor", Per::Tensor)])?,
    })
}

fn work(shape: Quantised, flops: u64) -> Work {
    let (n, scales) = (shape.elements() as u64, shape.scales() as u64);
    Work {
        bytes: Some(5 * n + 4 * scales),
        flops: Some(flops * n),
        items: Some(n),
        formula: format!("bytes = 5 n + 4 scales, flops = {flops} n, items = n; n = rows cols"),
    }
}

impl Op for QuantiseOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Quantise => ("quantise", "f32 to 8 bits, with a scale a row or a tensor"),
            Self::Dequantise => ("dequantise", "8 bits with scales to f32"),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::choice("format", &Code::ALL.map(Code::name)),
                parameters::choice("per", &["row", "tensor"]),
            ],
            devices: EVERYWHERE,
        }
    }

    /// The first counted a tensor's numbers twice, and had no rows of tiny ones.
    fn definition(&self) -> u32 {
        match self {
            Self::Quantise => 2,
            Self::Dequantise => 1,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = shape_of(arguments)?;
        let (elements, dtype) = (shape.elements(), shape.code.dtype());
        let program = match self {
            Self::Quantise => {
                let mut program = Program::new(work(shape, 2));
                let codes = program.output("codes", dtype, elements);
                let scales = program.output("scales", DType::F32, shape.scales());
                let input = program.input("in", DType::F32, elements, numbers(shape));
                Quantise(shape).add(&mut program, input, codes, scales);
                program.check(move |outcome| check_codes(outcome, shape, [input, codes, scales]));
                program
            }
            Self::Dequantise => {
                let mut program = Program::new(work(shape, 1));
                let out = program.output("out", DType::F32, elements);
                let codes = program.input("codes", dtype, elements, finite_codes(shape.code));
                let fill = Fill::Unit { stream: 1 };
                let scales = program.input("scales", DType::F32, shape.scales(), fill);
                Dequantise(shape).add(&mut program, codes, scales, out);
                program.check(move |outcome| check_values(outcome, shape, [codes, scales, out]));
                program
            }
        };
        Ok(program)
    }
}

/// Numbers on [-1, 1), but for some rows: of magnitudes that no scale is made of, and just beyond.
fn numbers(shape: Quantised) -> Fill {
    Fill::Host(Box::new(move |buffer, seed| {
        let numbers = buffer.get_mut::<f32>();
        Philox::new(seed, 0).fill_signed_f32(0, numbers);
        let rows = numbers.chunks_exact_mut(shape.cols.max(1));
        for (row, factor) in rows
            .skip(TINY_ROW)
            .step_by(TINY_ROW)
            .zip(TINY.into_iter().cycle())
        {
            for x in row {
                *x *= factor;
            }
        }
    }))
}

/// Random codes, of floating-point formats those below 2: finite ones.
fn finite_codes(code: Code) -> Fill {
    if code == Code::I8 {
        return Fill::Words { stream: 0 };
    }
    Fill::Host(Box::new(|buffer, seed| {
        let random = Philox::new(seed, 0);
        let codes = buffer.get_mut::<u8>().iter_mut().enumerate();
        // Sign, and the lower exponents.
        codes.for_each(|(i, code)| *code = random.word(i as u64) as u8 & 0xbf);
    }))
}

/// Codes and scales to the bit, the codes by looking for the nearest of all that there are.
fn check_codes(outcome: &Outcome, shape: Quantised, [input, codes, scales]: [usize; 3]) -> Checked {
    let input = outcome.get::<f32>(input);
    let (codes, scales) = (outcome.buffers.0[codes].bytes(), outcome.get::<f32>(scales));
    let group = shape.group();
    let largest: Vec<u32> = (0..scales.len())
        .map(|row| {
            let end = input.len().min((row + 1) * group);
            let row = &input[(row * group).min(end)..end];
            row.iter().map(|x| bits_of(*x)).fold(0, u32::max)
        })
        .collect();
    let table = code::Table::new(shape.code);
    let wrong_scales = check::count(scales.len(), |row| {
        let (scale, _) = shape.code.scaling(largest[row]);
        scales[row].to_bits() != scale.to_bits()
    });
    let wrong_codes = check::count(codes.len(), |i| {
        let (_, inverse) = shape.code.scaling(largest[i / group]);
        table.nearest(input[i] * inverse) != codes[i]
    });
    Checked::exact(
        wrong_scales + wrong_codes,
        "how many codes and scales differ",
    )
}

/// Numbers to the bit.
fn check_values(outcome: &Outcome, shape: Quantised, [codes, scales, out]: [usize; 3]) -> Checked {
    let (codes, scales) = (outcome.buffers.0[codes].bytes(), outcome.get::<f32>(scales));
    let out = outcome.get::<f32>(out);
    let group = shape.group();
    let different = check::count(out.len(), |i| {
        // The product of a code and a scale has few enough bits to be rounded once.
        let exact = shape.code.value(codes[i]) * f64::from(scales[i / group]);
        let are_none = out[i].is_nan() && exact.is_nan();
        out[i].to_bits() != (exact as f32).to_bits() && !are_none
    });
    Checked::exact(different, "how many numbers differ")
}

#[cfg(test)]
mod tests {
    use super::{Code, Per, Quantised, work};

    fn matrix(code: Code, per: Per) -> Quantised {
        Quantised {
            rows: 2,
            cols: 2,
            code,
            per,
        }
    }

    #[test]
    fn a_tensor_is_counted_as_often_as_rows() {
        let bytes = |per| work(matrix(Code::I8, per), 2).bytes;
        assert_eq!(bytes(Per::Tensor), Some(4 * 5 + 4));
        assert_eq!(bytes(Per::Row), Some(4 * 5 + 2 * 4));
    }

    #[test]
    fn of_tiny_numbers_nothing_is_none() {
        for code in Code::ALL {
            for per in [Per::Tensor, Per::Row] {
                for tiny in [1e-45_f32, 1e-40, 1e-37, 1e-36, 1e-34, 1e-33] {
                    let shape = matrix(code, per);
                    let numbers = [tiny, 0.0, -tiny / 2.0, 0.0];
                    let (codes, scales) = shape.encode(&numbers);
                    let decoded = shape.decode(&codes, &scales);
                    let is_near = |(found, x): (&f32, &f32)| (found - x).abs() <= tiny;
                    assert!(
                        decoded.iter().zip(&numbers).all(is_near),
                        "{code:?} {per:?} {tiny:e}: {codes:x?} {scales:?} {decoded:?}"
                    );
                    assert!(decoded[1] == 0.0 && decoded[3] == 0.0, "{decoded:?}");
                }
            }
        }
    }
}

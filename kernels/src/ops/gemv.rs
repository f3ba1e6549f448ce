//! A large matrix times one vector or a few: `gemv` and `gemm-skinny`. Reading the matrix is all that takes long.
//!
//! `A` is of `rows` by `cols`, row-major. `gemv` computes `y = A x`, or with `transposed` `y = A^T x`, after the BLAS
//! routine (J. J. Dongarra, J. Du Croz, S. Hammarling, R. J. Hanson, "An extended set of FORTRAN basic linear algebra
//! subprograms", ACM TOMS 14(1), 1988). `gemm-skinny` has `few` vectors: `skinny` says of what `C` has few, `columns` (`C = A B`,
//! `B` of `cols` by `few`) or `rows` (`C = B A`, `B` of `few` by `rows`). All are row-major.
//!
//! Variants on CUDA devices say who makes a sum. `split`: several blocks, each a piece of it, where the matrix has too few
//! sums for all of a device; `whole`: a block alone. For `gemv` a `block` has a row, or 32 packs of 16 bytes of columns, or
//! a `warp` has. Every variant adds in an order that the sizes alone decide, and so does [the host](host).
//!
//! Work with `w` vectors (1, or `few`) of type `T`: `(rows cols + w rows + w cols) sizeof T` bytes and `2 w rows cols` flops. Sums are
//! in `f32`, of `f64` in `f64`; results are rounded to `T`.

mod check;
mod cuda;
mod host;
mod operand;

use assay_protocol::{ArithmeticUnit, Failure, ParamValue, ParameterInfo, ParameterKind, Work};
use half::{bf16, f16};

use super::{EVERYWHERE, Op, OpInfo};
use crate::element::{DType, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program};
use cuda::Variant;
use operand::Operand;

/// A matrix times few vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// One.
    Gemv,
    /// A few.
    Skinny,
}

/// What the vectors are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// Rows of the matrix.
    Rows,
    /// Its columns.
    Columns,
}

/// How many vectors `gemm-skinny` may have: those for which there is a kernel. Of other widths a product is [`gemm`](super::gemm)'s, on
/// either kind of device.
const FEW: [usize; 3] = [4, 8, 16];
const GEMV_DTYPES: &[DType] = &[DType::F32, DType::F64, DType::F16, DType::Bf16];
const SKINNY_DTYPES: &[DType] = &[DType::F32, DType::F16, DType::Bf16];

/// Sizes of a product.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    cols: usize,
    /// How many vectors.
    width: usize,
    along: Along,
}

impl Shape {
    /// Elements of a vector: the terms of a sum.
    fn depth(self) -> usize {
        match self.along {
            Along::Rows => self.cols,
            Along::Columns => self.rows,
        }
    }

    /// Sums of each vector.
    fn sums(self) -> usize {
        match self.along {
            Along::Rows => self.rows,
            Along::Columns => self.cols,
        }
    }
}

/// The buffers of a case.
#[derive(Clone, Copy, Debug)]
struct Places {
    a: usize,
    b: usize,
    c: usize,
}

impl Product {
    fn shape(self, arguments: &Arguments) -> Result<Shape, Failure> {
        let (along, width) = match self {
            Self::Gemv => {
                let transposed = [("no", Along::Rows), ("yes", Along::Columns)];
                (arguments.choice("transposed", &transposed)?, 1)
            }
            Self::Skinny => {
                let skinny = [("columns", Along::Rows), ("rows", Along::Columns)];
                (arguments.choice("skinny", &skinny)?, few(arguments)?)
            }
        };
        let shape = Shape {
            rows: arguments.size("rows")?,
            cols: arguments.size("cols")?,
            width,
            along,
        };
        // Bytes and flops can be counted, and elements of a few vectors.
        let lines = shape.rows.max(1).saturating_mul(shape.cols.max(1));
        parameters::size_product("`rows` and `cols`", &[lines, 4 * width, 8])?;
        Ok(shape)
    }

    fn dtypes(self) -> &'static [DType] {
        match self {
            Self::Gemv => GEMV_DTYPES,
            Self::Skinny => SKINNY_DTYPES,
        }
    }
}

/// Description of the parameter `few`.
fn few_parameter() -> ParameterInfo {
    ParameterInfo {
        kind: ParameterKind::Int,
        default: Some(ParamValue::Int(FEW[0] as i64)),
        choices: FEW.map(|few| ParamValue::Int(few as i64)).to_vec(),
        ..parameters::integer("few")
    }
}

fn few(arguments: &Arguments) -> Result<usize, Failure> {
    let few = arguments.size("few")?;
    if FEW.contains(&few) {
        return Ok(few);
    }
    let found = arguments.0.params.get("few");
    let expected = "one of 4, 8, 16; of other widths a product is `gemm`'s";
    Err(parameters::wrong("few", expected, found))
}

impl Op for Product {
    fn info(&self) -> OpInfo {
        let variants: Vec<_> = Variant::of(*self).iter().map(|(name, _)| *name).collect();
        let sizes = [parameters::integer("rows"), parameters::integer("cols")];
        let (name, summary, own) = match self {
            Self::Gemv => (
                "gemv",
                "y = A x or y = A^T x, A row-major",
                vec![parameters::choice("transposed", &["no", "yes"])],
            ),
            Self::Skinny => (
                "gemm-skinny",
                "C = A B with few columns, or C = B A with few rows, row-major",
                vec![
                    few_parameter(),
                    parameters::choice("skinny", &["columns", "rows"]),
                ],
            ),
        };
        let mut all = sizes.to_vec();
        all.extend(own);
        all.push(parameters::dtype(self.dtypes()));
        all.push(parameters::on_cuda(parameters::choice(
            "variant", &variants,
        )));
        OpInfo {
            name,
            summary,
            parameters: all,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = self.shape(arguments)?;
        with_real!(
            arguments.dtype(self.dtypes())?,
            [F32 = f32, F64 = f64, F16 = f16, Bf16 = bf16],
            program(*self, arguments, shape)
        )
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Beside nothing and little: lines of whole vectors, and others; more than one piece of every sum.
        match (parameter, size) {
            ("cols", 2..100) => 1096,
            ("rows", 100..) => 261,
            ("cols", 100..) => 1061,
            _ => size,
        }
    }
}

fn program<T: Operand>(
    product: Product,
    arguments: &Arguments,
    shape: Shape,
) -> Result<Program, Failure> {
    let variant = arguments.cuda_choice("variant", Variant::of(product))?;
    let Shape {
        rows, cols, width, ..
    } = shape;
    let mut program = Program::new(work(shape, T::DTYPE));
    program.unit = Some(match T::DTYPE {
        DType::F64 => ArithmeticUnit::F64,
        _ => ArithmeticUnit::F32,
    });
    let names = match product {
        Product::Gemv => ["a", "x", "y"],
        Product::Skinny => ["a", "b", "c"],
    };
    let a = program.input(names[0], T::DTYPE, rows * cols, Fill::signed(0));
    let b = program.input(names[1], T::DTYPE, shape.depth() * width, Fill::signed(1));
    let len = shape.sums() * width;
    let (c, height) = if arguments.is_cuda() {
        let launch = cuda::launch::<T>(&mut program, variant, shape, [a, b]);
        let c = program.output(names[2], T::DTYPE, len);
        let height = launch.height;
        program.launch(launch.writing(c));
        (c, height)
    } else {
        let c = program.output(names[2], T::DTYPE, len);
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, c) = buffers.split_last_mut(c);
            let (a, b) = (inputs[a].get(), inputs[b].get());
            host::time::<T>(team, iterations, shape, (a, b), c.get_mut())
        });
        (c, host::height(shape))
    };
    let places = Places { a, b, c };
    program.check(move |outcome| check::check::<T>(outcome, places, shape, height));
    Ok(program)
}

fn work(shape: Shape, dtype: DType) -> Work {
    let Shape {
        rows, cols, width, ..
    } = shape;
    let elements = rows * cols + width * (rows + cols);
    Work {
        bytes: Some((elements * dtype.bytes()) as u64),
        flops: Some((2 * width * rows * cols) as u64),
        items: Some((width * shape.sums()) as u64),
        formula: format!(
            "bytes = (rows cols + w rows + w cols) sizeof({dtype}), flops = 2 w rows cols, items = w {}; w = {width}",
            match shape.along {
                Along::Rows => "rows",
                Along::Columns => "cols",
            }
        ),
    }
}

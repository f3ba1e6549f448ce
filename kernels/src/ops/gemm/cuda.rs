//! The implementations for CUDA devices.

use assay_protocol::{ArithmeticUnit, Failure};

use super::cublaslt::Multiplication;
use super::kind::Kind;
use super::{Matrices, Shape, with_matrices};
use crate::parameters::Arguments;
use crate::program::{Arg, Launch, Program, Source, Step, cuda_source};

static LANES: Source = cuda_source!("dense/gemm.cu");
static TENSOR: Source = cuda_source!("dense/gemm_tensor.cu");
static WGMMA: Source = cuda_source!(
    "dense/gemm_wgmma.cu",
    emulated: true,
    architectures: &["90a"]
);

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Register,
    Tiled,
    Naive,
    Tensor,
    TensorWgmma,
    CublasLt,
}

const VARIANTS: [(&str, Variant); 6] = [
    ("register", Variant::Register),
    ("tiled", Variant::Tiled),
    ("naive", Variant::Naive),
    ("tensor", Variant::Tensor),
    ("tensor-wgmma", Variant::TensorWgmma),
    ("cublaslt", Variant::CublasLt),
];

/// Names of the implementations; the first is the default.
pub fn variants() -> [&'static str; 6] {
    VARIANTS.map(|(name, _)| name)
}

/// The program of a case.
pub fn program(arguments: &Arguments, shape: Shape) -> Result<Program, Failure> {
    let variant = arguments.choice("variant", &VARIANTS)?;
    let kind = arguments.choice("dtype", &Kind::ALL.map(|kind| (kind.name(), kind)))?;
    if !variant.multiplies(kind) {
        return Err(Failure::Skipped(format!(
            "variant `{}` does not multiply `{}`",
            arguments.text("variant")?,
            kind.name()
        )));
    }
    let is_ours = variant != Variant::CublasLt;
    let (mut program, matrices) = with_matrices(arguments, shape, kind, is_ours)?;
    program.unit = Some(kind.unit());
    if shape.is_nothing() {
        // The product of nothing: zeros, if anything.
        program.cuda.push(Step::Set {
            buffer: matrices.c,
            byte: 0,
        });
    } else if is_ours {
        program.launch(launch(variant, kind, &matrices)?);
    } else {
        let call = Multiplication::new(matrices);
        program.cuda.push(Step::Library(Box::new(call)));
    }
    Ok(program)
}

impl Variant {
    fn multiplies(self, kind: Kind) -> bool {
        match self {
            Self::Register | Self::Tiled | Self::Naive => kind == Kind::F32,
            Self::Tensor => matches!(kind, Kind::Tf32 | Kind::F16 | Kind::Bf16),
            Self::TensorWgmma => matches!(kind, Kind::F16 | Kind::Bf16),
            Self::CublasLt => true,
        }
    }

    /// Rows and columns of the product that a block computes.
    fn tile(self) -> (usize, usize) {
        match self {
            Self::Naive => (8, 32),
            Self::Tiled => (32, 32),
            Self::Register => (128, 128),
            Self::Tensor | Self::TensorWgmma | Self::CublasLt => (128, 256),
        }
    }
}

/// Every dimension, as kernels take it.
fn dimensions(Shape { m, n, k, .. }: Shape) -> Result<[u32; 3], Failure> {
    let too_large = || {
        Failure::Failed(
            "parameters `m`, `n` and `k`: expected fewer than 2^31 on CUDA devices".into(),
        )
    };
    let fits = |size: usize| i32::try_from(size).map(i32::cast_unsigned);
    match [fits(m), fits(n), fits(k)] {
        [Ok(m), Ok(n), Ok(k)] => Ok([m, n, k]),
        _ => Err(too_large()),
    }
}

fn launch(variant: Variant, kind: Kind, matrices: &Matrices) -> Result<Launch, Failure> {
    let shape = matrices.shape;
    let dimensions = dimensions(shape)?;
    let (rows, cols) = variant.tile();
    let blocks = shape.batch * shape.m.div_ceil(rows) * shape.n.div_ceil(cols);
    let blocks = i32::try_from(blocks).map_err(|_| {
        Failure::Failed("parameters `m` and `n`: too many tiles for one launch".into())
    })?;
    // Lines of 16 bytes at a time.
    let is_vector = [shape.k, shape.n]
        .iter()
        .all(|size| (size * kind.input().bytes()).is_multiple_of(16));
    let (source, kernel, block, shared_bytes) = match variant {
        Variant::Naive => (&LANES, "gemm_naive".into(), [32, 8, 1], 0),
        Variant::Tiled => (&LANES, "gemm_tiled".into(), [32, 32, 1], 0),
        Variant::Register => (
            &LANES,
            format!("gemm_register<{is_vector}>"),
            [256, 1, 1],
            0,
        ),
        Variant::Tensor => {
            let (operands, stage_bytes) = match kind.unit() {
                ArithmeticUnit::Tf32Tensor => ("Tf32Operands", 128 * 64 + 16 * (256 * 4 + 32)),
                ArithmeticUnit::F16Tensor => ("F16Operands", (128 + 256) * 64),
                _ => ("Bf16Operands", (128 + 256) * 64),
            };
            let kernel = format!("gemm_tensor<{operands}, {is_vector}>");
            (&TENSOR, kernel, [256, 1, 1], 4 * stage_bytes)
        }
        Variant::TensorWgmma | Variant::CublasLt => {
            let operands = match kind {
                Kind::F16 => "F16Tensor, f16",
                _ => "Bf16Tensor, bf16",
            };
            let kernel = format!("gemm_wgmma<{operands}, {is_vector}>");
            (&WGMMA, kernel, [256, 1, 1], 4 * (128 + 256) * 128 + 1024)
        }
    };
    let buffers = [matrices.c, matrices.a, matrices.b].map(Arg::Buffer);
    Ok(Launch {
        block,
        shared_bytes,
        ..Launch::new(source, kernel, blocks.cast_unsigned(), 1)
            .args(buffers)
            .args(dimensions.map(Arg::U32))
    })
}

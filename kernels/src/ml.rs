//! Ops of machine learning, each a **brick**: what kernels are timed as, and what models are made of.
//!
//! A brick is a small `Copy` value of shape and type, as `Softmax { rows, cols, dtype }`. Its `forward` and `backward` append
//! steps for the host and launches for CUDA devices to a [`Program`]; buffers are named by their numbers, and may lie
//! anywhere in the program. The [`Op`](crate::ops::Op) of the same file allocates and fills buffers, calls the brick, and says
//! work and check; a model allocates its own, and calls the same bricks one after the other, for either kind of device.
//!
//! Shapes are those of the arguments: a brick panics if a buffer has another length or type than it needs
//! ([`expect`]), which is a mistake of the program's, never of a suite's: ops refuse bad parameters before. Scratch memory that a brick
//! needs it adds itself ([`workspace`]). Activations have the brick's type; parameters, their gradients and statistics are `f32`;
//! arithmetic is in `f32`. On the host the bits do not depend on the number of threads. NaN and infinities are computed with
//! like any number: nothing hides them.

pub mod activation;
pub mod add;
pub mod attention;
pub mod bias_gelu;
pub mod bound;
pub mod cast;
pub mod column_sum;
pub mod columns;
pub mod cross_entropy;
pub mod cuda;
pub mod depth;
pub mod draw;
pub mod dropout;
pub mod embedding;
pub mod gemm_i8;
pub mod gradient;
pub mod groups;
pub mod host;
pub mod latent;
pub mod linear;
pub mod mixing;
pub mod moe;
pub mod norm;
pub mod optimizer;
pub mod pool;
pub mod position;
pub mod product;
pub mod quantise;
pub mod scale;
pub mod search;
pub mod soft_cross_entropy;
pub mod softmax;
pub mod squares;
pub mod windows;

use crate::element::DType;
use crate::program::{Fill, Program, Role};

/// Types of activations.
pub const DTYPES: &[DType] = &[DType::F32, DType::Bf16, DType::F16];

/// Calls a generic function with the type of activations, the first of its parameters.
macro_rules! with_lane {
    ($dtype:expr, $($function:ident)::+ $(<$($more:tt),+>)? ($($argument:expr),* $(,)?)) => {
        match $dtype {
            $crate::element::DType::F32 => $($function)::+::<f32 $($(, $more)+)?>($($argument),*),
            $crate::element::DType::Bf16 => $($function)::+::<half::bf16 $($(, $more)+)?>($($argument),*),
            $crate::element::DType::F16 => $($function)::+::<half::f16 $($(, $more)+)?>($($argument),*),
            other => panic!("activations of {other}"),
        }
    };
}
pub(crate) use with_lane;

/// Sizes of tests where whole packs move at once: multiples of 8 between 200 and 1000, others as they are.
pub fn test_size(size: i64) -> i64 {
    if (200..1000).contains(&size) {
        size + (8 - size % 8) % 8
    } else {
        size
    }
}

/// Adds scratch memory for a brick, and gives its number. The name is unique, however often the brick is used.
pub fn workspace(program: &mut Program, name: &str, dtype: DType, len: usize) -> usize {
    let name = format!("{name}-{}", program.buffers.len());
    program.add(name, dtype, len, Role::Scratch, Fill::Poison)
}

/// Makes sure of the types and lengths of buffers that a brick was given.
///
/// # Panics
/// If one has another: it belongs to another brick, or the shapes do not match.
#[track_caller]
pub fn expect(program: &Program, brick: &str, buffers: &[(&str, usize, DType, usize)]) {
    for (role, buffer, dtype, len) in buffers {
        let spec = &program.buffers[*buffer];
        assert!(
            spec.dtype == *dtype && spec.len == *len,
            "{brick}: `{role}` is to be {len} elements of {dtype}; buffer `{}` has {} of {}",
            spec.name,
            spec.len,
            spec.dtype
        );
    }
}

#[cfg(test)]
mod differences;
#[cfg(test)]
mod tests;

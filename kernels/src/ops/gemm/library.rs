//! The `gemm` crate.
#![allow(unsafe_code)] // its interface takes pointers

use super::Shape;
use crate::device::Team;

/// Multiplies `iterations` times, and returns the nanoseconds that it took.
pub fn time(
    team: &Team,
    iterations: u64,
    shape: Shape,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) -> u64 {
    team.time_installed(iterations, || {
        multiply(team.threads(), shape, a, b, std::hint::black_box(&mut *c));
    })
}

/// Multiplies two matrices by as many threads.
///
/// # Panics
/// If their lengths are not those of the shape.
pub fn multiply(threads: usize, shape: Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
    let Shape { m, n, k, .. } = shape;
    assert!(
        a.len() == m * k && b.len() == k * n && c.len() == m * n,
        "shapes fit"
    );
    let parallelism = match threads {
        1 => gemm::Parallelism::None,
        threads => gemm::Parallelism::Rayon(threads),
    };
    // Strides of columns and rows; no slice is longer than `isize::MAX`.
    let (row_of_a, row_of_b) = (k.cast_signed(), n.cast_signed());
    // SAFETY: the lengths were checked against the shape, the strides are those of row-major matrices, and `c` is
    // borrowed exclusively. Its old content is not read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            row_of_b,
            false,
            a.as_ptr(),
            1,
            row_of_a,
            b.as_ptr(),
            1,
            row_of_b,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

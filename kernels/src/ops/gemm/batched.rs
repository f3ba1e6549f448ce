//! Many products on the host: each thread takes as many, and multiplies them by the `gemm` crate.

use super::{Shape, library};
use crate::device::Team;

/// Multiplies `iterations` times, and returns the nanoseconds that it took. No dimension is 0.
pub fn time(
    team: &Team,
    iterations: u64,
    shape: Shape,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) -> u64 {
    let Shape { m, n, k, .. } = shape;
    let products = team
        .split(a, m * k)
        .into_iter()
        .zip(team.split(b, k * n))
        .zip(team.split_mut(c, m * n));
    team.time(iterations, products.collect(), |_, ((a, b), c)| {
        let operands = a.chunks_exact(m * k).zip(b.chunks_exact(k * n));
        for ((a, b), c) in operands.zip(c.chunks_exact_mut(m * n)) {
            library::multiply(1, shape, a, b, c);
        }
    })
}

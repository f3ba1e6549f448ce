//! Gravity between all pairs of bodies: much arithmetic on little data.
//!
//! Bodies are `(x, y, z, mass)`, each number uniform on [0, 1). The acceleration of body `i` is
//! `sum over j of m_j d / (|d|^2 + e^2)^(3/2)`, with `d = r_j - r_i` and a softening `e` of 1/8, and is stored as
//! `(x, y, z, 0)`. Source: L. Nyland, M. Harris, J. Prins, "Fast N-body simulation with CUDA", GPU Gems 3, chapter 31, whose
//! equation (31.4) this is and whose 20 flops per interaction are counted. Work with `n` bodies: `n^2` interactions,
//! `20 n^2` flops, `32 n` bytes.
//!
//! On CUDA devices `variant` says where a thread reads the other bodies: from global memory (`naive`), or from
//! shared memory, tile by tile (`tiled`).

#[cfg(target_arch = "x86_64")]
mod vectors;

use assay_protocol::{ArithmeticUnit, Failure, Work};
use rayon::prelude::*;

use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::{gamma, likely_gamma};
use crate::check;
use crate::element::{DType, Real};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, blocks, cuda_source,
};
use crate::simd::wide;

static SOURCE: Source = cuda_source!("particles/nbody.cu");
/// Square of the softening length.
const SOFTENING2: f32 = 1.0 / 64.0;
/// Roundings, or errors as large, of one interaction, relative to it: differences 1 each and the squared distance 3, which with
/// the differences' own (2) and to the power 3/2 makes 7.5; the inverse root 2 ulp (4 roundings), cubed, 12 and
/// 2 products; mass, difference and product 3.
const INTERACTION_ROUNDINGS: u64 = 26;

/// Gravity between all pairs of bodies.
pub struct Nbody;

impl Op for Nbody {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["tiled", "naive"]);
        OpInfo {
            name: "nbody",
            summary: "accelerations by gravity between all pairs of bodies, f32",
            parameters: vec![parameters::integer("bodies"), parameters::on_cuda(variant)],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        const NAME: &str = "`bodies`";
        let bodies = arguments.size("bodies")?;
        let kernel = arguments.cuda_choice(
            "variant",
            &[("tiled", "nbody_tiled"), ("naive", "nbody_naive")],
        )?;
        let numbers = parameters::size_product(NAME, &[bodies, 4])?;
        let n = bodies as u64;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(NAME, &[n, 32])?),
            flops: Some(parameters::product(NAME, &[n, n, 20])?),
            items: Some(parameters::product(NAME, &[n, n])?),
            formula: "bytes = 32 n, flops = 20 n^2, items = n^2; n = bodies".into(),
        });
        program.traffic = Traffic::Unbounded;
        program.unit = Some(ArithmeticUnit::F32);
        let input = program.input("bodies", DType::F32, numbers, Fill::Unit { stream: 0 });
        let out = program.output("accelerations", DType::F32, numbers);
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, out) = buffers.split_last_mut(out);
            let bodies = inputs[input].get::<f32>();
            let mut rest = bodies;
            let parts = team.split_mut(out.get_mut::<f32>(), 8 * LANES).into_iter();
            let parts = parts.map(|out| {
                let (targets, later) = rest.split_at(out.len());
                rest = later;
                (out, targets)
            });
            team.time(iterations, parts.collect(), |_, (out, targets)| {
                accelerate(out, targets, bodies);
            })
        });
        program.launch(launch(kernel, bodies, [input, out]));
        program.check(move |outcome| check(outcome, [input, out]));
        Ok(program)
    }
}

fn launch(kernel: &str, bodies: usize, [input, out]: [usize; 2]) -> Launch {
    const THREADS: u32 = 256;
    let count = blocks(bodies, THREADS as usize, u32::MAX);
    Launch::new(&SOURCE, kernel, count, THREADS).args([
        Arg::Buffer(out),
        Arg::Buffer(input),
        Arg::size(bodies),
        Arg::F32(SOFTENING2),
    ])
}

/// Interactions that are computed again in `f64`: of more bodies than 65536, the first, the last and some evenly between are
/// compared, and of the others it is known that they are numbers.
const MOST_INTERACTIONS: usize = 1 << 32;

fn check(outcome: &Outcome, [input, out]: [usize; 2]) -> Checked {
    let (bodies, out) = (outcome.get::<f32>(input), outcome.get::<f32>(out));
    let count = bodies.len() / 4;
    let compared = count
        .min(MOST_INTERACTIONS / count.max(1))
        .max(count.min(2));
    // The first, ..., the last: `count - 1` steps divided evenly.
    let place = |i: usize| i * (count - 1) / (compared - 1).max(1);
    let groups: Vec<Vec<usize>> = (0..compared.div_ceil(LANES))
        .map(|group| {
            (group * LANES..compared.min((group + 1) * LANES))
                .map(place)
                .collect()
        })
        .collect();
    let error = groups.par_iter().map(|group| error_of(group, bodies, out));
    let error = error.reduce(|| 0.0, f64::max);
    let are_numbers = check::worst(out.len(), |i| match i % 4 {
        3 => f64::from(out[i].to_bits()),
        _ => f64::from(out[i]) * 0.0,
    });
    let roundings = count as u64 + INTERACTION_ROUNDINGS;
    Checked {
        error: if are_numbers > 0.0 {
            f64::INFINITY
        } else {
            error
        },
        tolerance: gamma(INTERACTION_ROUNDINGS, f32::UNIT_ROUNDOFF)
            + likely_gamma(count as u64, f32::UNIT_ROUNDOFF)
            + gamma(roundings, f64::UNIT_ROUNDOFF),
        detail: format!(
            "largest |a - exact| / sum of magnitudes of {compared} bodies, all of them numbers; bound gamma_26 of an \
             interaction plus probabilistic gamma_n of the sum"
        ),
    }
}

/// The largest error of some bodies, no more than [`LANES`].
fn error_of(group: &[usize], bodies: &[f32], out: &[f32]) -> f64 {
    let mut targets = [[0.0; LANES]; 3];
    for (lane, body) in group.iter().enumerate() {
        for (axis, target) in targets.iter_mut().enumerate() {
            target[lane] = f64::from(bodies[4 * body + axis]);
        }
    }
    let mut sums = [[0.0; LANES]; 6];
    reference(&mut sums, &targets, bodies);
    let components = group.iter().enumerate().flat_map(|(lane, body)| {
        let sums = &sums;
        (0..3).map(move |axis| {
            let found = f64::from(out[4 * body + axis]);
            check::relative(found, sums[axis][lane], sums[3 + axis][lane])
        })
    });
    components.fold(0.0, |worst, error| {
        if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        }
    })
}

/// Bodies that are accelerated together.
const LANES: usize = 32;
/// Bodies whose pulls are added up before they are added to those of the others.
const BLOCK: usize = 256;

/// Accelerations of `targets` by `bodies`.
#[allow(unsafe_code)] // instructions chosen at run time
fn accelerate(out: &mut [f32], targets: &[f32], bodies: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        // SAFETY: the processor has the features that the function enables.
        by_lanes::<{ vectors::LANES }>(out, targets, |place| unsafe {
            vectors::pull(place, bodies)
        });
        return;
    }
    by_lanes::<LANES>(out, targets, |place| pull(place, bodies));
}

/// Accelerations of `targets`, of some at a time as `pull` finds them of their places.
fn by_lanes<const LANES: usize>(
    out: &mut [f32],
    targets: &[f32],
    pull: impl Fn(&[[f32; LANES]; 3]) -> [[f32; LANES]; 3],
) {
    for (out, targets) in out.chunks_mut(4 * LANES).zip(targets.chunks(4 * LANES)) {
        let mut place = [[0.0; LANES]; 3];
        for (lane, target) in targets.chunks_exact(4).enumerate() {
            for axis in 0..3 {
                place[axis][lane] = target[axis];
            }
        }
        let total = pull(&place);
        for (lane, out) in out.chunks_exact_mut(4).enumerate() {
            out.copy_from_slice(&[total[0][lane], total[1][lane], total[2][lane], 0.0]);
        }
    }
}

wide! {
    /// Accelerations at some places by `bodies`.
    fn pull(place: &[[f32; LANES]; 3], bodies: &[f32]) -> [[f32; LANES]; 3] {
        let mut total = [[0.0; LANES]; 3];
        for block in bodies.chunks(4 * BLOCK) {
            let mut sum = [[0.0; LANES]; 3];
            for body in block.chunks_exact(4) {
                for lane in 0..LANES {
                    let dx = body[0] - place[0][lane];
                    let dy = body[1] - place[1][lane];
                    let dz = body[2] - place[2][lane];
                    let distance2 = dx.mul_add(dx, dy.mul_add(dy, dz.mul_add(dz, SOFTENING2)));
                    let inverse = inverse_root(distance2);
                    let factor = body[3] * (inverse * inverse * inverse);
                    sum[0][lane] = dx.mul_add(factor, sum[0][lane]);
                    sum[1][lane] = dy.mul_add(factor, sum[1][lane]);
                    sum[2][lane] = dz.mul_add(factor, sum[2][lane]);
                }
            }
            for (total, sum) in total.iter_mut().zip(&sum) {
                total.iter_mut().zip(sum).for_each(|(total, sum)| *total += *sum);
            }
        }
        total
    }

    /// Accelerations of some bodies in `f64`, and the sums of the magnitudes.
    fn reference(sums: &mut [[f64; LANES]; 6], targets: &[[f64; LANES]; 3], bodies: &[f32]) {
        for body in bodies.chunks_exact(4) {
            let [x, y, z, mass] = [0, 1, 2, 3].map(|i| f64::from(body[i]));
            for lane in 0..LANES {
                let [dx, dy, dz] = [x - targets[0][lane], y - targets[1][lane], z - targets[2][lane]];
                let distance2 = dx * dx + dy * dy + dz * dz + f64::from(SOFTENING2);
                let factor = mass / (distance2 * distance2.sqrt());
                for (axis, d) in [dx, dy, dz].into_iter().enumerate() {
                    sums[axis][lane] += d * factor;
                    sums[3 + axis][lane] += (d * factor).abs();
                }
            }
        }
    }
}

/// `1 / sqrt(x)` to about 4 roundings, for normal numbers, without the processor's slow division and root: a first guess from
/// the bits, off by at most 3.5 % (C. Lomont, "Fast inverse square root", 2003), then one step of third order, which
/// leaves 10^-4, and one of Newton's, which leaves 10^-8.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn inverse_root(x: f32) -> f32 {
    let guess = f32::from_bits(0x5f37_59df - (x.to_bits() >> 1));
    let h = x * guess * guess;
    let near = guess * h.mul_add(h.mul_add(0.375, -1.25), 1.875);
    let half = near * (x * near).mul_add(-near, 1.0) * 0.5;
    near + half
}

#[cfg(test)]
mod tests {
    use super::{LANES, inverse_root};

    /// By the processor's own vectors and by the loop, of bodies that are no whole block.
    #[cfg(target_arch = "x86_64")]
    #[test]
    #[allow(unsafe_code)]
    fn vectors_pull_as_the_loop_does() {
        use super::{pull, vectors};
        if !crate::simd::has_avx512() {
            return;
        }
        let random = assay_protocol::Philox::new(7, 0);
        let bodies: Vec<f32> = (0..4 * 700).map(|i| random.signed_f32(i)).collect();
        let mut place = [[0.0; vectors::LANES]; 3];
        for (i, x) in place.as_flattened_mut().iter_mut().enumerate() {
            *x = random.signed_f32(10_000 + i as u64);
        }
        // SAFETY: the processor has AVX-512.
        let found = unsafe { vectors::pull(&place, &bodies) };
        for half in [0, LANES] {
            let place = place.map(|axis| *axis[half..].first_chunk().unwrap());
            let exact = pull(&place, &bodies);
            for (found, exact) in found.iter().zip(&exact) {
                for (found, exact) in found[half..].iter().zip(exact) {
                    // Magnitudes add up to some hundreds.
                    assert!((found - exact).abs() < 5e-3, "{found} {exact}");
                }
            }
        }
    }

    #[test]
    fn inverse_roots_are_as_accurate_as_claimed() {
        // Both halves of the exponent's parity, closely.
        let worst = (0..200_000_u32).map(|i| {
            let x = f32::from_bits(0x3c80_0000 + i * 170);
            let exact = 1.0 / f64::from(x).sqrt();
            (f64::from(inverse_root(x)) / exact - 1.0).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 4.0 / f64::from(1 << 24), "{worst}");
    }
}

//! Experts in `f64`, and how far results may be from them.
//!
//! # Errors
//! With `g_n` for what sums of `n` products in `f32` may lose of the sum of their magnitudes ([`likely_gamma`], or what tensor cores cut
//! off), `G` and `U` for those sums of a gate and of what it opens, and `a` for the roundings of the activation:
//!
//! - `gate` is off by at most `g_d G`, and `up` by `g_d U`. The steepest slope of `SiLU` is below 1.1, so that `h = silu(gate) up` is off by
//!   `s = 1.1 g_d G (|up| + g_d U) + |silu| g_d U`, and computed by `E = s + gamma_a (|h| + s)`.
//! - Stored in 16 bits, `h` is rounded once more, by at most `R = u (|h| + E)`: `u` times what is stored, and not times the magnitudes that
//!   it is a sum of.
//! - A sum of products `h w` is off by `g_f sum (|h| + E + R) |w| + sum E |w|`, and by what the roundings of `h` make together: never more
//!   than `sum R |w|`, and, since they are independent of each other and as often up as down, not likely more than
//!   `10 sqrt(sum (R w)^2)`: once in 10^21 sums (Hoeffding's inequality, with the `lambda` of [`likely_gamma`]).
//!
//! Gradients are made of `dh = dout w2^T`, which is off by `g_d` times its sum of magnitudes, in the same way. Each error is in units of
//! this bound of its own.

use assay_protocol::{ArithmeticUnit, Philox};
use rayon::prelude::*;

use super::{ExpertGradients, Experts, Mixture};
use crate::bound::{gamma, likely_gamma, roundoff_of_sums};
use crate::check;
use crate::element::{DType, Real};
use crate::lane::Lane;
use crate::math;
use crate::program::{Checked, Outcome};

/// Products of a verification: as many experts are computed again as these allow.
const BUDGET: u64 = 1 << 28;
/// Random stream that chooses them.
const EXPERTS: u64 = 0xC0E1;

/// Numbers of the experts to compare: all, or as many as a budget allows.
fn compared(shape: &Mixture, seed: u64) -> Vec<usize> {
    let cost = [shape.capacity, shape.width, shape.hidden].map(|size| size as u64);
    let cost = cost.into_iter().fold(1, u64::saturating_mul).max(1);
    let (count, all) = ((BUDGET / cost).max(1) as usize, shape.experts);
    if count >= all {
        return (0..all).collect();
    }
    let random = Philox::new(seed, EXPERTS);
    let within = |part: usize| {
        let (first, end) = (part * all / count, (part + 1) * all / count);
        first + random.word(part as u64) as usize % (end - first)
    };
    (0..count).map(within).collect()
}

/// An expert in `f64`.
#[derive(Clone, Debug, Default)]
struct Exact {
    /// Rows that are taken, columns of a row, and columns between layers.
    rows: usize,
    width: usize,
    hidden: usize,
    x: Vec<f64>,
    w1: Vec<f64>,
    w3: Vec<f64>,
    w2: Vec<f64>,
}

/// Results, and for each the largest error that is right.
type Pair = (Vec<f64>, Vec<f64>);

/// How what is computed may differ from what is exact.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// What adds up.
    unit: ArithmeticUnit,
    /// Unit roundoff of what is stored between products; 0 where that is `f32`, as everything else is.
    stored: f64,
    /// Numbers below this are rounded as if they were it: the least one of the type between products that has all of its bits.
    least: f64,
}

impl Limits {
    fn of<T: Lane>(unit: ArithmeticUnit) -> Self {
        let (stored, least) = match T::DTYPE {
            DType::F32 => (0.0, 0.0),
            DType::F16 => (T::UNIT_ROUNDOFF, half::f16::MIN_POSITIVE.to_f64()),
            // Far below anything that is multiplied here.
            _ => (T::UNIT_ROUNDOFF, 0.0),
        };
        Self {
            unit,
            stored,
            least,
        }
    }

    /// What a sum of so many products loses of the sum of their magnitudes.
    fn of_sum(&self, count: usize) -> f64 {
        likely_gamma(count as u64, roundoff_of_sums(self.unit))
    }

    /// What an activation loses: a sigmoid and up to six products and sums.
    fn of_activation() -> f64 {
        gamma(math::SIGMOID.max(2 * math::ON_CUDA) + 6, f32::UNIT_ROUNDOFF)
    }

    /// Numbers that are stored between products, each off by as much as `off` says before that.
    fn store(&self, exact: Vec<f64>, off: Vec<f64>) -> Stored {
        let rounding = |(x, off): (&f64, &f64)| self.stored * (x.abs() + off + self.least);
        Stored {
            rounding: exact.iter().zip(&off).map(rounding).collect(),
            exact,
            off,
        }
    }
}

/// Numbers between products: as they should be, how far they may be from that, and how much of it they may lose when they are stored.
struct Stored {
    exact: Vec<f64>,
    off: Vec<f64>,
    rounding: Vec<f64>,
}

impl Stored {
    /// Sums of products with other factors, which lose `of_sum` of their magnitudes; `multiply` has these factors, and changes each first.
    fn times(&self, of_sum: f64, multiply: impl Fn(&[f64], fn(f64) -> f64) -> Vec<f64>) -> Pair {
        const LAMBDA: f64 = 10.0;
        let each =
            |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..self.exact.len()).map(f).collect() };
        let most = each(&|i| self.exact[i].abs() + self.off[i] + self.rounding[i]);
        let squares = each(&|i| self.rounding[i].powi(2));
        let of = |numbers: &[f64]| multiply(numbers, f64::abs);
        let (sums, off, rounded) = (of(&most), of(&self.off), of(&self.rounding));
        let together = multiply(&squares, |x| x * x);
        let limit = |i: usize| {
            let rounded = rounded[i].min(LAMBDA * together[i].sqrt());
            of_sum * sums[i] + off[i] + rounded
        };
        let limits = (0..sums.len()).map(limit).collect();
        (multiply(&self.exact, |x| x), limits)
    }
}

fn added((mut a, mut limits): Pair, (b, more): Pair) -> Pair {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    limits.iter_mut().zip(more).for_each(|(a, b)| *a += b);
    (a, limits)
}

/// A product of matrices; `a` of `m` by `k`.
fn product([m, n, k]: [usize; 3], left: &[f64], right: &[f64]) -> Vec<f64> {
    let row = |i: usize| {
        let mut sums = vec![0.0; n];
        for (x, row) in left[i * k..(i + 1) * k]
            .iter()
            .zip(right.chunks_exact(n.max(1)))
        {
            sums.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
        sums
    };
    (0..m).into_par_iter().flat_map_iter(row).collect()
}

fn turned(matrix: &[f64], columns: usize) -> Vec<f64> {
    let rows = matrix.len() / columns.max(1);
    (0..matrix.len())
        .map(|i| matrix[i % rows * columns + i / rows])
        .collect()
}

fn sizes(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.abs()).collect()
}

fn changed(x: &[f64], change: fn(f64) -> f64) -> Vec<f64> {
    x.iter().map(|x| change(*x)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// The steepest slope of `SiLU`: 1.0998.
const STEEPEST: f64 = 1.1;

impl Exact {
    /// Both products of the first layer, with the sums of the magnitudes of their terms.
    fn products(&self) -> [Pair; 2] {
        let sides = [self.rows, self.hidden, self.width];
        [&self.w1, &self.w3].map(|w| {
            (
                product(sides, &self.x, w),
                product(sides, &sizes(&self.x), &sizes(w)),
            )
        })
    }

    /// What is between the products, before it is stored, and how far it may be off.
    fn activated(&self, limits: &Limits, activation: fn(f64) -> f64) -> Stored {
        let [(gate, of_gate), (up, of_up)] = self.products();
        let (of_sum, of_activation) = (limits.of_sum(self.width), Limits::of_activation());
        let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..gate.len()).map(f).collect() };
        let h = each(&|i| activation(gate[i]) * up[i]);
        let off = each(&|i| {
            let (of_gate, of_up) = (of_sum * of_gate[i], of_sum * of_up[i]);
            let slip =
                STEEPEST * of_gate * (up[i].abs() + of_up) + activation(gate[i]).abs() * of_up;
            slip + of_activation * (h[i].abs() + slip)
        });
        limits.store(h, off)
    }

    fn forward(&self, limits: &Limits) -> Pair {
        self.forward_of(limits, silu)
    }

    fn forward_of(&self, limits: &Limits, activation: fn(f64) -> f64) -> Pair {
        let sides = [self.rows, self.width, self.hidden];
        let h = self.activated(limits, activation);
        h.times(limits.of_sum(self.hidden), |h, change| {
            product(sides, h, &changed(&self.w2, change))
        })
    }

    /// Gradients of rows and of `w1`, `w3` and `w2`, given what the forward pass kept.
    fn backward(&self, gate: &[f64], up: &[f64], d_out: &[f64], limits: &Limits) -> [Pair; 4] {
        let Self {
            rows,
            width,
            hidden,
            ..
        } = *self;
        let back = turned(&self.w2, width);
        let dh = product([rows, hidden, width], d_out, &back);
        let of_dh = product([rows, hidden, width], &sizes(d_out), &sizes(&back));
        let (of_sum, of_activation) = (limits.of_sum(width), Limits::of_activation());
        let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..dh.len()).map(f).collect() };
        let slope = |i: usize, g: f64| sigmoid(gate[i]) * (1.0 + g * (1.0 - sigmoid(gate[i])));
        // What a factor makes of the error of `dh`, and its own: of a slope that of the magnitudes of its terms.
        let off = |i: usize, factor: f64| {
            let slip = of_sum * of_dh[i];
            factor.abs() * (slip + of_activation * (dh[i].abs() + slip))
        };
        let stored = |exact, off| limits.store(exact, off);
        let h = each(&|i| silu(gate[i]) * up[i]);
        let slips = each(&|i| of_activation * h[i].abs());
        let h = stored(turned(&h, hidden), turned(&slips, hidden));
        let d_gate = stored(
            each(&|i| dh[i] * up[i] * slope(i, gate[i])),
            each(&|i| off(i, up[i] * slope(i, gate[i].abs()))),
        );
        let d_up = stored(
            each(&|i| dh[i] * silu(gate[i])),
            each(&|i| off(i, silu(gate[i]))),
        );
        // The second product begins with what the first one left.
        let of_rows = limits.of_sum(2 * hidden + 1);
        let to_rows = |d: &Stored, w: &[f64]| {
            let w = turned(w, hidden);
            d.times(of_rows, |d, change| {
                product([rows, width, hidden], d, &changed(&w, change))
            })
        };
        let of_weights = limits.of_sum(rows);
        let x = turned(&self.x, width);
        let to_weights = |d: &Stored| {
            d.times(of_weights, |d, change| {
                product([width, hidden, rows], &changed(&x, change), d)
            })
        };
        [
            added(to_rows(&d_gate, &self.w1), to_rows(&d_up, &self.w3)),
            to_weights(&d_gate),
            to_weights(&d_up),
            h.times(of_weights, |h, change| {
                product([hidden, width, rows], h, &changed(d_out, change))
            }),
        ]
    }
}

/// Part `number` of a buffer of so many parts: the first `count` elements of it.
fn wide_part<T: Lane>(
    outcome: &Outcome,
    buffer: usize,
    step: usize,
    number: usize,
    count: usize,
) -> Vec<f64> {
    let part = &outcome.get::<T>(buffer)[number * step..][..count];
    part.iter().map(|x| (*x).into()).collect()
}

fn exact<T: Lane>(outcome: &Outcome, shape: &Mixture, given: &Experts, expert: usize) -> Exact {
    let Mixture {
        width,
        hidden,
        capacity,
        ..
    } = *shape;
    let rows = outcome.get::<u32>(given.kept)[expert] as usize;
    let weights = |buffer| wide_part::<T>(outcome, buffer, width * hidden, expert, width * hidden);
    Exact {
        rows,
        width,
        hidden,
        x: wide_part::<T>(outcome, given.rows, capacity * width, expert, rows * width),
        w1: weights(given.w1),
        w3: weights(given.w3),
        w2: weights(given.w2),
    }
}

/// Largest error, in units of the largest that is right.
fn worst(found: &[f64], (exact, limits): &Pair) -> f64 {
    check::worst(found.len(), |i| {
        // Beyond the rows that are taken nothing but 0 is right.
        let of = |x: &[f64]| x.get(i).copied().unwrap_or(0.0);
        check::relative(found[i], of(exact), of(limits))
    })
}

fn summary(shape: &Mixture, compared: usize, what: &str) -> String {
    format!(
        "largest |{what} - exact| of {compared} of {} experts, in units of the bound: gamma of sums and of the activation times \
         magnitudes, with the smaller of gamma_k and 10 sqrt(k) u, or what tensor cores cut off, and u of what is stored between products",
        shape.experts
    )
}

/// Compares the results.
pub fn forward<T: Lane>(
    outcome: &Outcome,
    shape: &Mixture,
    given: &Experts,
    out: usize,
    (unit, seed): (ArithmeticUnit, u64),
) -> Checked {
    let experts = compared(shape, seed);
    let of_rows = shape.capacity * shape.width;
    let limits = Limits::of::<T>(unit);
    let errors = experts.iter().map(|expert| {
        let right = exact::<T>(outcome, shape, given, *expert).forward(&limits);
        let found = wide_part::<f32>(outcome, out, of_rows, *expert, of_rows);
        worst(&found, &right)
    });
    Checked {
        error: errors.fold(0.0, f64::max),
        tolerance: 1.0,
        detail: summary(shape, experts.len(), "result"),
    }
}

/// Compares the gradients.
pub fn backward<T: Lane>(
    outcome: &Outcome,
    shape: &Mixture,
    given: &Experts,
    d_out: usize,
    gradients: &ExpertGradients,
    (unit, seed): (ArithmeticUnit, u64),
) -> Checked {
    let experts = compared(shape, seed);
    let limits = Limits::of::<T>(unit);
    let Mixture {
        width,
        hidden,
        capacity,
        ..
    } = *shape;
    // A device's scratch stays there: the host makes it once more.
    let [gates, ups] = [(given.gate, false), (given.up, true)].map(|(buffer, is_up)| match outcome
        .get::<f32>(
        buffer,
    ) {
        [] => super::op::kept_on_host::<T>(*shape, seed, is_up),
        found => found.to_vec(),
    });
    let errors = experts.iter().map(|expert| {
        let right = exact::<T>(outcome, shape, given, *expert);
        let [gate, up] = [&gates, &ups].map(|values| {
            let first = *expert * capacity * hidden;
            let part = &values[first..][..right.rows * hidden];
            part.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()
        });
        let d_out = wide_part::<T>(
            outcome,
            d_out,
            capacity * width,
            *expert,
            right.rows * width,
        );
        let right = right.backward(&gate, &up, &d_out, &limits);
        let ExpertGradients { rows, w1, w3, w2 } = *gradients;
        let steps = [
            (rows, capacity * width),
            (w1, width * hidden),
            (w3, width * hidden),
            (w2, width * hidden),
        ];
        let errors = steps.iter().zip(&right).map(|((buffer, step), right)| {
            let found = wide_part::<f32>(outcome, *buffer, *step, *expert, *step);
            worst(&found, right)
        });
        errors.fold(0.0, f64::max)
    });
    Checked {
        error: errors.fold(0.0, f64::max),
        tolerance: 1.0,
        detail: summary(shape, experts.len(), "gradient"),
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{ArithmeticUnit, Philox};
    use half::{bf16, f16};

    use super::{Exact, Limits, product, sigmoid, silu, worst};
    use crate::element::DType;
    use crate::gradient::{assert_gradient, numbers};
    use crate::lane::Lane;

    /// Nothing is rounded.
    const PLAIN: Limits = Limits {
        unit: ArithmeticUnit::F32,
        stored: 0.0,
        least: 0.0,
    };
    /// Width and hidden of the suites: `kernels-smoke`, `ml-ops`.
    const SIZES: [[usize; 2]; 2] = [[128, 256], [512, 1024]];

    fn tensor<T: Lane>() -> Limits {
        Limits::of::<T>(match T::DTYPE {
            DType::F16 => ArithmeticUnit::F16Tensor,
            _ => ArithmeticUnit::Bf16Tensor,
        })
    }

    fn rounded<T: Lane>(x: &[f64]) -> Vec<f64> {
        x.iter().map(|x| T::from_f64(*x).into()).collect()
    }

    fn random<T: Lane>(stream: u64, len: usize) -> Vec<f64> {
        let random = Philox::new(7, stream);
        let numbers: Vec<f64> = (0..len as u64)
            .map(|i| random.signed_f32(i).into())
            .collect();
        rounded::<T>(&numbers)
    }

    fn expert<T: Lane>([width, hidden]: [usize; 2]) -> Exact {
        let rows = 48;
        Exact {
            rows,
            width,
            hidden,
            x: random::<T>(0, rows * width),
            w1: random::<T>(1, width * hidden),
            w3: random::<T>(2, width * hidden),
            w2: random::<T>(3, width * hidden),
        }
    }

    fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
        x.iter().map(|x| factor * x).collect()
    }

    fn relu(x: f64) -> f64 {
        x.max(0.0)
    }

    fn gelu(x: f64) -> f64 {
        x * sigmoid(1.702 * x)
    }

    /// With what tensor cores may do, of either type, at every size of a suite.
    fn wrong_results_fail<T: Lane>() {
        let limits = tensor::<T>();
        for size in SIZES {
            let expert = expert::<T>(size);
            let exact = expert.forward(&limits);
            let h = rounded::<T>(&expert.activated(&limits, silu).exact);
            let sides = [expert.rows, expert.width, expert.hidden];
            let right = worst(&product(sides, &h, &expert.w2), &exact);
            assert!(right <= 1.0, "{size:?}: {right}");
            let other = |activation| expert.forward_of(&limits, activation).0;
            for (what, wrong) in [
                ("zeros", scaled(&exact.0, 0.0)),
                ("times 0.7", scaled(&exact.0, 0.7)),
                ("times 0.9", scaled(&exact.0, 0.9)),
                ("relu", other(relu)),
                ("gelu", other(gelu)),
                ("no activation", other(|x| x)),
                ("sigmoid", other(sigmoid)),
            ] {
                let error = worst(&wrong, &exact);
                assert!(error > 1.0, "{size:?} {}: {what}: {error}", T::DTYPE);
            }
        }
    }

    #[test]
    fn wrong_results_of_16_bits_fail() {
        wrong_results_fail::<bf16>();
        wrong_results_fail::<f16>();
    }

    fn wrong_gradients_fail<T: Lane>() {
        let limits = tensor::<T>();
        for size in SIZES {
            let expert = expert::<T>(size);
            let d_out = random::<T>(4, expert.rows * expert.width);
            let [(gate, _), (up, _)] = expert.products();
            for (index, exact) in expert
                .backward(&gate, &up, &d_out, &limits)
                .iter()
                .enumerate()
            {
                assert!(worst(&exact.0, exact) <= 1.0);
                for factor in [0.0, 0.7, 0.9] {
                    let error = worst(&scaled(&exact.0, factor), exact);
                    assert!(
                        error > 1.0,
                        "{size:?} {}: {index}, {factor}: {error}",
                        T::DTYPE
                    );
                }
            }
        }
    }

    #[test]
    fn wrong_gradients_of_16_bits_fail() {
        wrong_gradients_fail::<bf16>();
        wrong_gradients_fail::<f16>();
    }

    #[test]
    fn gradients_are_those_of_the_forward_pass() {
        let (rows, width, hidden) = (3, 4, 5);
        let expert = Exact {
            rows,
            width,
            hidden,
            x: numbers(0, rows * width),
            w1: numbers(1, width * hidden),
            w3: numbers(2, width * hidden),
            w2: numbers(3, hidden * width),
        };
        let d_out = numbers(4, rows * width);
        let loss = |expert: &Exact| -> f64 {
            let (out, _) = expert.forward(&PLAIN);
            out.iter().zip(&d_out).map(|(a, b)| a * b).sum()
        };
        let [(gate, _), (up, _)] = expert.products();
        let [dx, dw1, dw3, dw2] = expert.backward(&gate, &up, &d_out, &PLAIN);
        let loss_of = |change: &dyn Fn(&mut Exact)| {
            let mut changed = expert.clone();
            change(&mut changed);
            loss(&changed)
        };
        assert_gradient("dx", &dx.0, |x| loss_of(&|e| e.x = x.to_vec()), &expert.x);
        assert_gradient(
            "dw1",
            &dw1.0,
            |x| loss_of(&|e| e.w1 = x.to_vec()),
            &expert.w1,
        );
        assert_gradient(
            "dw3",
            &dw3.0,
            |x| loss_of(&|e| e.w3 = x.to_vec()),
            &expert.w3,
        );
        assert_gradient(
            "dw2",
            &dw2.0,
            |x| loss_of(&|e| e.w2 = x.to_vec()),
            &expert.w2,
        );
    }
}

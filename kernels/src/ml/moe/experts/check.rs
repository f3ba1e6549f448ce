//! Experts in `f64`, and how far results may be from them.

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
    /// Numbers below this are rounded as if they were it: the least one of the type between products that has all of its bits.
    least: f64,
    x: Vec<f64>,
    w1: Vec<f64>,
    w3: Vec<f64>,
    w2: Vec<f64>,
}

/// Results and what their errors are relative to.
type Pair = (Vec<f64>, Vec<f64>);

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

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

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

    fn forward(&self) -> Pair {
        let [(gate, of_gate), (up, of_up)] = self.products();
        let silu = |g: f64| g * sigmoid(g);
        let h: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| silu(*g) * u).collect();
        let of_h = |i: usize| {
            1.1 * up[i].abs() * of_gate[i]
                + silu(gate[i]).abs() * of_up[i]
                + h[i].abs()
                + self.least
        };
        let of_h: Vec<f64> = (0..h.len()).map(of_h).collect();
        let sides = [self.rows, self.width, self.hidden];
        (
            product(sides, &h, &self.w2),
            product(sides, &of_h, &sizes(&self.w2)),
        )
    }

    /// Gradients of rows and of `w1`, `w3` and `w2`, given what the forward pass kept.
    fn backward(&self, gate: &[f64], up: &[f64], d_out: &[f64]) -> [Pair; 4] {
        let Self {
            rows,
            width,
            hidden,
            ..
        } = *self;
        let back = turned(&self.w2, width);
        let dh = product([rows, hidden, width], d_out, &back);
        let of_dh = product([rows, hidden, width], &sizes(d_out), &sizes(&back));
        let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..dh.len()).map(f).collect() };
        let silu = |i: usize| gate[i] * sigmoid(gate[i]);
        let slope = |i: usize, g: f64| sigmoid(gate[i]) * (1.0 + g * (1.0 - sigmoid(gate[i])));
        let h = each(&|i| silu(i) * up[i]);
        let d_gate = each(&|i| dh[i] * up[i] * slope(i, gate[i]));
        let d_up = each(&|i| dh[i] * silu(i));
        let of_gate = each(&|i| of_dh[i] * up[i].abs() * slope(i, gate[i].abs()) + self.least);
        let of_up = each(&|i| of_dh[i] * silu(i).abs() + self.least);
        let activated = each(&|i| h[i].abs() + self.least);
        let sum = |a: Vec<f64>, b: Vec<f64>| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| a + b).collect()
        };
        let to_rows = |a: &[f64], w: &[f64]| product([rows, width, hidden], a, &turned(w, hidden));
        let dx = sum(to_rows(&d_gate, &self.w1), to_rows(&d_up, &self.w3));
        let of_x = sum(
            to_rows(&of_gate, &sizes(&self.w1)),
            to_rows(&of_up, &sizes(&self.w3)),
        );
        let x = turned(&self.x, width);
        let to_weights = |a: &[f64]| product([width, hidden, rows], &x, a);
        let of_weights = |a: &[f64]| product([width, hidden, rows], &sizes(&x), a);
        let [h, activated] = [h, activated].map(|h| turned(&h, hidden));
        let sides = [hidden, width, rows];
        [
            (dx, of_x),
            (to_weights(&d_gate), of_weights(&of_gate)),
            (to_weights(&d_up), of_weights(&of_up)),
            (
                product(sides, &h, d_out),
                product(sides, &activated, &sizes(d_out)),
            ),
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
        least: match T::DTYPE {
            DType::F16 => half::f16::MIN_POSITIVE.to_f64(),
            // Far below anything that is multiplied here.
            _ => 0.0,
        },
        x: wide_part::<T>(outcome, given.rows, capacity * width, expert, rows * width),
        w1: weights(given.w1),
        w3: weights(given.w3),
        w2: weights(given.w2),
    }
}

fn worst(found: &[f64], (exact, magnitude): &Pair) -> f64 {
    check::worst(found.len(), |i| {
        // Beyond the rows that are taken nothing but 0 is right.
        let of = |x: &[f64]| x.get(i).copied().unwrap_or(0.0);
        check::relative(found[i], of(exact), of(magnitude))
    })
}

fn tolerance<T: Lane>(unit: ArithmeticUnit, sums: [usize; 3]) -> f64 {
    // The activation: a sigmoid and up to six products and sums.
    let activation = math::SIGMOID.max(2 * math::ON_CUDA) + 6;
    let of_sums = sums.map(|count| likely_gamma(count as u64, roundoff_of_sums(unit)));
    let error = of_sums.iter().sum::<f64>() + gamma(activation, f32::UNIT_ROUNDOFF);
    // What is multiplied next is rounded to its type.
    match T::DTYPE {
        DType::F32 => error,
        _ => error + T::UNIT_ROUNDOFF * (1.0 + error),
    }
}

fn summary(shape: &Mixture, compared: usize, what: &str) -> String {
    format!(
        "largest |{what} - exact| / sum of magnitudes, of {compared} of {} experts; bound: gamma of each sum, \
         the smaller of gamma_k and 10 sqrt(k) u, or what tensor cores cut off, and of the activation, rounded to its type",
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
    let errors = experts.iter().map(|expert| {
        let right = exact::<T>(outcome, shape, given, *expert).forward();
        let found = wide_part::<f32>(outcome, out, of_rows, *expert, of_rows);
        worst(&found, &right)
    });
    Checked {
        error: errors.fold(0.0, f64::max),
        tolerance: tolerance::<T>(unit, [shape.width, shape.hidden, 0]),
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
        let right = right.backward(&gate, &up, &d_out);
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
        tolerance: tolerance::<T>(unit, [width, 2 * hidden, capacity]),
        detail: summary(shape, experts.len(), "gradient"),
    }
}

#[cfg(test)]
mod tests {
    use super::Exact;
    use crate::gradient::{assert_gradient, numbers};

    #[test]
    fn gradients_are_those_of_the_forward_pass() {
        let (rows, width, hidden) = (3, 4, 5);
        let expert = Exact {
            rows,
            width,
            hidden,
            least: 0.0,
            x: numbers(0, rows * width),
            w1: numbers(1, width * hidden),
            w3: numbers(2, width * hidden),
            w2: numbers(3, hidden * width),
        };
        let d_out = numbers(4, rows * width);
        let loss = |expert: &Exact| -> f64 {
            let (out, _) = expert.forward();
            out.iter().zip(&d_out).map(|(a, b)| a * b).sum()
        };
        let [(gate, _), (up, _)] = expert.products();
        let [dx, dw1, dw3, dw2] = expert.backward(&gate, &up, &d_out);
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

//! Compares attention with the reference, head by head: all of them, or as many of what is large as a budget allows.

use assay_protocol::{ArithmeticUnit, Philox};
use rayon::prelude::*;

use super::reference::{Forward, Head, Measured};
use super::{Attention, Given, Position, Variant};
use crate::bound::{gamma, likely_gamma, roundoff_of_sums};
use crate::check;
use crate::element::{DType, Real};
use crate::lane::Lane;
use crate::math;
use crate::ml::bound::least;
use crate::ml::position::slopes;
use crate::program::{Checked, Outcome};

/// Products of queries and keys, times the width of a head, that a verification computes again.
const BUDGET: u64 = 1 << 28;
/// Random stream that chooses heads.
const HEADS: u64 = 0xC0E0;
/// Keys of the smallest block: as many corrections of a softmax as there are blocks.
const SMALLEST_BLOCK: usize = 32;
/// What multiplies, and the seed of a case.
type How = (ArithmeticUnit, u64);

/// What a probability has to be above to be compared relatively: exponentials of `f32` end before.
const LEAST: f64 = 1e-30;

/// Numbers of the heads to compare.
fn heads(shape: &Attention, seed: u64) -> Vec<usize> {
    let all = shape.batch * shape.heads;
    if shape.is_empty() {
        return vec![];
    }
    let cost = (shape.length as u64)
        .pow(2)
        .saturating_mul(shape.head_width() as u64);
    let count = (BUDGET / cost.max(1)).max(1) as usize;
    if count >= all {
        return (0..all).collect();
    }
    let random = Philox::new(seed, HEADS);
    let within = |part: usize| {
        let (first, end) = (part * all / count, (part + 1) * all / count);
        first + random.word(part as u64) as usize % (end - first)
    };
    (0..count).map(within).collect()
}

/// Elements of a matrix of all heads that belong to one.
fn places(shape: &Attention, number: usize) -> impl Iterator<Item = usize> {
    let (length, heads, width) = (shape.length, shape.heads, shape.head_width());
    let first = number / heads * length * heads * width + number % heads * width;
    (0..length)
        .flat_map(move |row| (0..width).map(move |column| first + row * heads * width + column))
}

fn head<T: Lane>(
    outcome: &Outcome,
    shape: &Attention,
    given: &Given,
    number: usize,
    unit: ArithmeticUnit,
) -> Head {
    let of = |buffer| gathered::<T>(outcome, shape, buffer, number);
    let table = given.table.map(|table| outcome.get::<f32>(table));
    let is = |position| shape.position == position;
    Head {
        length: shape.length,
        width: shape.head_width(),
        q: of(given.q),
        k: of(given.k),
        v: of(given.v),
        is_causal: shape.is_causal,
        slope: if is(Position::Alibi) {
            slopes(shape.heads)[number % shape.heads]
        } else {
            0.0
        },
        angles: table
            .filter(|_| is(Position::Rope))
            .map(|table| table.iter().map(|x| f64::from(*x)).collect()),
        round: is_tensor(unit).then_some(rounded::<T>),
    }
}

/// The nearest number of a type.
fn rounded<T: Lane>(x: f64) -> f64 {
    T::from_f64(x).into()
}

fn gathered<T: Lane>(
    outcome: &Outcome,
    shape: &Attention,
    buffer: usize,
    number: usize,
) -> Vec<f64> {
    let numbers = outcome.get::<T>(buffer);
    places(shape, number).map(|i| numbers[i].into()).collect()
}

/// What slack makes beside itself: the other errors of what it is a part of, all below some per cent.
const SECOND_ORDER: f64 = 1.05;

/// Largest error of a head's elements, relative to their magnitudes, but for as much as is lost anyway, and for their slack.
fn compare(found: &[f64], exact: &Measured, lost: f64) -> f64 {
    check::worst(found.len(), |i| {
        let lost = lost + SECOND_ORDER * exact.slack[i];
        let beyond = beyond((found[i] - exact.value[i]).abs(), lost);
        check::relative(beyond, 0.0, exact.magnitude[i])
    })
}

/// What of a distance is beyond some other. Not by a maximum, which would take what is no number for 0.
fn beyond(distance: f64, lost: f64) -> f64 {
    if distance <= lost {
        0.0
    } else {
        distance - lost
    }
}

/// What is lost of an element where numbers of 16 bits are too small to be told from 0: of itself, and of what each of so many was
/// multiplied by, as `weights` has them in `width` columns.
fn lost<T: Lane>(unit: ArithmeticUnit, weights: &[f64], width: usize) -> f64 {
    if T::DTYPE == DType::F32 {
        return 0.0;
    }
    let sum = |column| -> f64 {
        let column = weights.iter().skip(column).step_by(width);
        column.map(|x| x.abs()).sum()
    };
    let most = (0..width).map(sum).fold(0.0, f64::max);
    least::<T>() * (1.0 + if is_tensor(unit) { most } else { 0.0 })
}

fn is_tensor(unit: ArithmeticUnit) -> bool {
    unit != ArithmeticUnit::F32
}

/// An error and, on tensor cores, that of an operand that is rounded to the type.
fn multiplied<T: Lane>(unit: ArithmeticUnit, error: f64) -> f64 {
    if is_tensor(unit) {
        stored::<T>(error)
    } else {
        error
    }
}

/// Largest relative error of a probability, as the module says.
fn of_probabilities(shape: &Attention, exact: &Forward, on: ArithmeticUnit) -> f64 {
    let unit = f32::UNIT_ROUNDOFF;
    let roundings = shape.head_width() as u64
        + match shape.position {
            // Rotated for tensor cores, the reference rounds as they do, and knows what that leaves open.
            Position::Rope if !is_tensor(on) => 8,
            Position::None | Position::Rope => 2,
            Position::Alibi => 5,
        };
    let of_score = likely_gamma(roundings, roundoff_of_sums(on)) * exact.condition;
    let most = exact
        .log_sums
        .iter()
        .fold(0.0, |most: f64, x| most.max(x.abs()));
    let range = (exact.range + most).ceil() as u64;
    let of_argument = if is_tensor(on) { 3 } else { 2 };
    let of_exponential = math::EXP.max(math::ON_CUDA).max(math::LN);
    let blocks = shape.length.div_ceil(SMALLEST_BLOCK) as u64;
    let exponentials = 2 * (of_argument * range + of_exponential + blocks * (of_exponential + 2));
    (2.0 * of_score).exp_m1() + gamma(exponentials, unit) + likely_gamma(shape.length as u64, unit)
}

fn summary(shape: &Attention, compared: usize, what: &str, bound: &str) -> String {
    let all = shape.batch * shape.heads;
    format!("{what}, of {compared} of {all} heads, in units of the bound {bound}")
}

/// Compares the output and what was kept. Each error is relative to its tolerance.
pub fn forward<T: Lane>(
    outcome: &Outcome,
    shape: &Attention,
    given: &Given,
    (unit, seed): How,
) -> Checked {
    let heads = heads(shape, seed);
    let of_head = |number: &usize| {
        let head = head::<T>(outcome, shape, given, *number, unit);
        let out = gathered::<T>(outcome, shape, given.out, *number);
        let kept = kept(outcome, shape, given, *number);
        of_forward::<T>(shape, unit, (&head, &head.forward()), (&out, &kept))
    };
    let error = heads.par_iter().map(of_head).reduce(|| 0.0, f64::max);
    Checked {
        error,
        tolerance: 1.0,
        detail: summary(
            shape,
            heads.len(),
            "largest |out - exact| / sum p |v| and relative error of what is kept",
            "rho + gamma(S)",
        ),
    }
}

/// An error and, of 16 bits, that of the type.
fn stored<T: Lane>(error: f64) -> f64 {
    if T::DTYPE == DType::F32 {
        error
    } else {
        error + T::UNIT_ROUNDOFF * (1.0 + error)
    }
}

/// Largest error of a head's output and of what was kept of it, each in units of its tolerance.
fn of_forward<T: Lane>(
    shape: &Attention,
    unit: ArithmeticUnit,
    (head, exact): (&Head, &Forward),
    (out, kept): (&[f64], &[f64]),
) -> f64 {
    let rho = of_probabilities(shape, exact, unit);
    let out = compare(out, &exact.out, lost::<T>(unit, &head.v, head.width));
    let of_sums = likely_gamma(shape.length as u64, roundoff_of_sums(unit));
    let of_result = stored::<T>(multiplied::<T>(unit, rho) + of_sums);
    (out / of_result).max(of_kept(shape, kept, exact) / rho)
}

/// What the forward pass kept of a head.
fn kept(outcome: &Outcome, shape: &Attention, given: &Given, number: usize) -> Vec<f64> {
    let kept = outcome.get::<f32>(given.kept);
    let length = shape.length;
    match shape.variant {
        Variant::Fused => {
            let row = |query| number / shape.heads * length + query;
            let at = |query| kept[row(query) * shape.heads + number % shape.heads];
            (0..length).map(|query| at(query).into()).collect()
        }
        Variant::Naive => {
            let kept = &kept[number * length * length..][..length * length];
            kept.iter().map(|x| f64::from(*x)).collect()
        }
    }
}

/// Largest error of that.
fn of_kept(shape: &Attention, kept: &[f64], exact: &Forward) -> f64 {
    match shape.variant {
        Variant::Fused => check::worst(kept.len(), |query| {
            let right = exact.log_sums[query];
            let slack = SECOND_ORDER * exact.log_slack[query];
            beyond((kept[query] - right).abs(), slack) / (1.0 + right.abs())
        }),
        Variant::Naive => check::worst(kept.len(), |i| {
            let exact = exact.probabilities[i];
            // Where a query does not look, nothing but 0 is right.
            let least = if exact > 0.0 { LEAST } else { 0.0 };
            check::relative(kept[i], exact, exact + least)
        }),
    }
}

/// Compares the gradients. Each error is relative to its tolerance.
pub fn backward<T: Lane>(
    outcome: &Outcome,
    shape: &Attention,
    given: &Given,
    d_out: usize,
    gradients: [usize; 3],
    (unit, seed): How,
) -> Checked {
    let heads = heads(shape, seed);
    let of_head = |number: &usize| {
        let head = head::<T>(outcome, shape, given, *number, unit);
        let d_out = gathered::<T>(outcome, shape, d_out, *number);
        let found = gradients.map(|buffer| gathered::<T>(outcome, shape, buffer, *number));
        of_backward::<T>(shape, unit, (&head, &d_out), &found)
    };
    let error = heads.par_iter().map(of_head).reduce(|| 0.0, f64::max);
    Checked {
        error,
        tolerance: 1.0,
        detail: summary(
            shape,
            heads.len(),
            "largest |gradient - exact| beside the magnitudes of its terms",
            "3 rho + gamma(2 D + 2 S), and of 16 bits u of each rounding",
        ),
    }
}

/// Largest error of a head's gradients, in units of their tolerance.
fn of_backward<T: Lane>(
    shape: &Attention,
    unit: ArithmeticUnit,
    (head, d_out): (&Head, &[f64]),
    [dq, dk, dv]: &[Vec<f64>; 3],
) -> f64 {
    let forward = head.forward();
    // What a case is given of the forward pass, the host has computed, which rounds nothing that it rotates.
    let plain = Head {
        round: None,
        ..head.clone()
    };
    let given = match head.round {
        Some(_) if head.angles.is_some() => &plain.forward(),
        _ => &forward,
    };
    let exact = head.backward(&forward, given, d_out);
    // Rotated back, three roundings more.
    let sums = 2 * (shape.head_width() + shape.length) as u64 + 3;
    let rho = of_probabilities(shape, &forward, unit);
    let of_sums = 3.0 * rho + likely_gamma(sums, roundoff_of_sums(unit));
    let lost = |weights: &[f64]| lost::<T>(unit, weights, head.width);
    // Rotated there and back, an element has at most twice the larger one of a pair, each time; scaled, less.
    let errors = [
        of_gradient::<T>(dq, &exact.dq, of_sums, 4.0 * lost(&head.k)),
        of_gradient::<T>(dk, &exact.dk, of_sums, 4.0 * lost(&head.q)),
        of_gradient::<T>(dv, &exact.dv, of_sums, lost(d_out)),
    ];
    errors.into_iter().fold(0.0, f64::max)
}

/// Largest error of a gradient, in units of its tolerance: what sums in `f32` are off by is relative to all magnitudes, and what is rounded to
/// the type is to what it is itself: terms of those sums, and their result.
fn of_gradient<T: Lane>(found: &[f64], exact: &Measured, of_sums: f64, lost: f64) -> f64 {
    let unit = if T::DTYPE == DType::F32 {
        0.0
    } else {
        T::UNIT_ROUNDOFF
    };
    check::worst(found.len(), |i| {
        let lost = lost + SECOND_ORDER * exact.slack[i];
        let of_terms = unit * (1.0 + unit) * (1.0 + of_sums) * exact.terms[i];
        let off = of_sums * exact.magnitude[i] + of_terms;
        let off = off + unit * (exact.value[i].abs() + off);
        let beyond = beyond((found[i] - exact.value[i]).abs(), lost);
        check::relative(beyond, 0.0, off)
    })
}

#[cfg(test)]
mod tests;

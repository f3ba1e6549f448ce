//! The gate in `f64`, and how far results may be from it.

use rayon::prelude::*;

use super::tile::key;
use super::{Gate, Mixture, SPREAD};
use crate::bound::{gamma, likely_gamma};
use crate::check;
use crate::element::Real;
use crate::math;
use crate::program::{Checked, Outcome};

pub fn forward(
    outcome: &Outcome,
    shape: &Mixture,
    logits: usize,
    gate: &Gate,
    loss: usize,
) -> Checked {
    let Mixture {
        tokens,
        experts,
        chosen,
        ..
    } = *shape;
    let logits = outcome.get::<f32>(logits);
    let (p, choices) = (outcome.get::<f32>(gate.p), outcome.get::<u32>(gate.choices));
    let weights = outcome.get::<f32>(gate.weights);
    let unit = f32::UNIT_ROUNDOFF;
    let roundings = 2 * (2 * SPREAD as u64 + math::EXP.max(math::ON_CUDA)) + 2;
    let of_p = gamma(roundings + experts as u64, unit) + gamma(experts as u64, f64::UNIT_ROUNDOFF);
    let exact: Vec<f64> = (0..tokens)
        .into_par_iter()
        .flat_map_iter(|token| exact_softmax(&logits[token * experts..][..experts]))
        .collect();
    let of_softmax = check::worst(p.len(), |i| {
        check::relative(p[i].into(), exact[i], exact[i])
    }) / of_p;
    let of_tokens = check::worst(tokens, |token| {
        let exact = &exact[token * experts..][..experts];
        let mut right = vec![0; chosen];
        choose(&mut right, &logits[token * experts..][..experts]);
        let of_token = token * chosen..(token + 1) * chosen;
        if choices[of_token.clone()] != right {
            return f64::INFINITY;
        }
        let sum: f64 = right.iter().map(|expert| exact[*expert as usize]).sum();
        let sum = if shape.is_renormalized { sum } else { 1.0 };
        let pairs = right.iter().zip(&weights[of_token]);
        let errors = pairs.map(|(expert, weight)| {
            let exact = exact[*expert as usize] / sum;
            check::relative((*weight).into(), exact, exact)
        });
        errors.fold(0.0, f64::max) / (2.0 * of_p + gamma(chosen as u64 + 2, unit))
    });
    let mut counts = vec![0_u32; experts];
    for expert in choices {
        if let Some(count) = counts.get_mut(*expert as usize) {
            *count += 1;
        }
    }
    let is_counted = counts == outcome.get::<u32>(gate.counts);
    let sums = (0..exact.len()).map(|i| f64::from(counts[i % experts]) * exact[i]);
    let factor = f64::from(shape.balance) * experts as f64
        / (tokens as f64 * shape.choices() as f64).max(1.0);
    let exact_loss = factor * sums.sum::<f64>();
    let of_loss = check::relative(outcome.get::<f32>(loss)[0].into(), exact_loss, exact_loss)
        / (of_p + likely_gamma((tokens + experts + 4) as u64, unit));
    let error = of_softmax.max(of_tokens).max(of_loss);
    Checked {
        error: if is_counted { error } else { f64::INFINITY },
        tolerance: 1.0,
        detail: "largest relative error of probabilities, weights and loss, in units of the bound of each: gamma_k, \
                 k = 2 (range + E) + experts + 2, and more for sums; infinite if other experts were chosen or counted"
            .into(),
    }
}

/// The experts with the largest keys, the largest first; of equal ones the first.
pub fn choose(choices: &mut [u32], logits: &[f32]) {
    let mut experts: Vec<u32> = (0..logits.len() as u32).collect();
    experts.sort_by_key(|expert| std::cmp::Reverse(key(logits[*expert as usize])));
    choices.copy_from_slice(&experts[..choices.len()]);
}

fn exact_softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits
        .iter()
        .fold(f64::NEG_INFINITY, |top, x| top.max((*x).into()));
    let mut row: Vec<f64> = logits.iter().map(|x| (f64::from(*x) - top).exp()).collect();
    let sum: f64 = row.iter().sum();
    for x in &mut row {
        *x /= sum;
    }
    row
}

/// The gradient of a token's logits, and what it is relative to. `load` is that of each probability for the loss.
fn exact_gradient(token: &ExactToken, load: &[f64], is_renormalized: bool) -> (Vec<f64>, Vec<f64>) {
    let ExactToken {
        p,
        choices,
        weights,
        d_weights,
    } = token;
    let (mut dp, mut size) = (load.to_vec(), load.to_vec());
    let (mut mean, mut size_of_mean, mut sum) = (0.0, 0.0, 1.0);
    if is_renormalized {
        mean = weights.iter().zip(d_weights).map(|(w, d)| w * d).sum();
        size_of_mean = weights
            .iter()
            .zip(d_weights)
            .map(|(w, d)| (w * d).abs())
            .sum();
        sum = choices.iter().map(|expert| p[*expert]).sum();
    }
    for (expert, d) in choices.iter().zip(d_weights) {
        dp[*expert] += (d - mean) / sum;
        size[*expert] += (d.abs() + size_of_mean) / sum;
    }
    let dot = |x: &[f64]| -> f64 { x.iter().zip(p).map(|(x, p)| x * p).sum() };
    let (total, total_size) = (dot(&dp), dot(&size));
    let value = p.iter().zip(&dp).map(|(p, dp)| p * (dp - total)).collect();
    let magnitude = p
        .iter()
        .zip(&size)
        .map(|(p, size)| p * (size + total_size))
        .collect();
    (value, magnitude)
}

/// A token in `f64`.
#[derive(Clone, Debug)]
struct ExactToken {
    p: Vec<f64>,
    choices: Vec<usize>,
    weights: Vec<f64>,
    d_weights: Vec<f64>,
}

pub fn backward(
    outcome: &Outcome,
    shape: &Mixture,
    gate: &Gate,
    d_weights: usize,
    d_logits: usize,
) -> Checked {
    let Mixture {
        tokens,
        experts,
        chosen,
        ..
    } = *shape;
    let wide = |buffer: usize, from: usize, count: usize| -> Vec<f64> {
        outcome.get::<f32>(buffer)[from..from + count]
            .iter()
            .map(|x| (*x).into())
            .collect()
    };
    let factor = f64::from(shape.balance_factor());
    let counts = outcome.get::<u32>(gate.counts);
    let load: Vec<f64> = counts
        .iter()
        .map(|count| factor * f64::from(*count))
        .collect();
    let found = outcome.get::<f32>(d_logits);
    let error = check::worst(tokens, |token| {
        let choices = &outcome.get::<u32>(gate.choices)[token * chosen..][..chosen];
        let of_token = ExactToken {
            p: wide(gate.p, token * experts, experts),
            choices: choices.iter().map(|expert| *expert as usize).collect(),
            weights: wide(gate.weights, token * chosen, chosen),
            d_weights: wide(d_weights, token * chosen, chosen),
        };
        let (value, magnitude) = exact_gradient(&of_token, &load, shape.is_renormalized);
        let found = &found[token * experts..][..experts];
        check::worst(experts, |e| {
            check::relative(found[e].into(), value[e], magnitude[e])
        })
    });
    let roundings = (experts + 2 * chosen + 8) as u64;
    Checked {
        error,
        tolerance: gamma(roundings, f32::UNIT_ROUNDOFF) + gamma(roundings, f64::UNIT_ROUNDOFF),
        detail: "largest |dlogit - exact| / p (|dp| + sum p |dp|); bound gamma_k, k = experts + 2 chosen + 8".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ExactToken, choose, exact_gradient};
    use crate::gradient::{assert_gradient, numbers};

    /// The loss is weights times some numbers, and probabilities times others, as functions of the logits.
    #[test]
    fn gradients_are_those_of_the_forward_pass() {
        let (logits, d_weights, load) = (numbers(0, 6), numbers(1, 2), numbers(2, 6));
        let choices = vec![4, 1];
        for is_renormalized in [false, true] {
            let forward = |logits: &[f64]| {
                let sum: f64 = logits.iter().map(|x| x.exp()).sum();
                let p: Vec<f64> = logits.iter().map(|x| x.exp() / sum).collect();
                let sum = if is_renormalized { p[4] + p[1] } else { 1.0 };
                let weights = vec![p[4] / sum, p[1] / sum];
                (p, weights)
            };
            let loss = |logits: &[f64]| -> f64 {
                let (p, weights) = forward(logits);
                let dot =
                    |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
                dot(&weights, &d_weights) + dot(&p, &load)
            };
            let (p, weights) = forward(&logits);
            let token = ExactToken {
                p,
                choices: choices.clone(),
                weights,
                d_weights: d_weights.clone(),
            };
            let (found, _) = exact_gradient(&token, &load, is_renormalized);
            assert_gradient("dlogits", &found, loss, &logits);
        }
    }

    #[test]
    fn of_equal_logits_the_first_is_chosen() {
        let mut choices = [9; 3];
        choose(&mut choices, &[1.0, -2.0, 3.0, 1.0, 3.0]);
        assert_eq!(choices, [2, 4, 0]);
        let mut all = [9; 4];
        choose(
            &mut all,
            &[f32::NEG_INFINITY, f32::from_bits(0x7fff_ffff), 0.0, -0.0],
        );
        assert_eq!(all, [1, 2, 3, 0]);
    }
}

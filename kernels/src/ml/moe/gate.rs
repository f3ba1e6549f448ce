//! Which experts a token goes to: a softmax over experts, the `k` largest of it, and what keeps experts equally busy.
//!
//! `p = softmax(logits)`; of equal logits the expert with the lower number is chosen first. Weights are the probabilities chosen, divided by their sum,
//! if the mixture says so. The loss of load balancing is `alpha E sum_e f_e P_e`, where `f_e` is the part of all choices that
//! expert `e` got and `P_e` its mean probability (Switch transformers, equations 4 to 6): counts are taken as constants, so the gradient of
//! a token's probability is `alpha E f_e / T`.
//!
//! Backward: with the gradient `dw` of the weights, `dp_c = (dw_c - sum w dw) / s` for an expert that was chosen, `s` being the sum of the
//! probabilities chosen (or `dp_c = dw_c`), plus that of the loss; then `dlogits = p (dp - sum p dp)`.
//!
//! Work of `T` tokens, `E` experts and `k` choices: `8 T E + 8 T k` bytes and `(5 + k) T E` flops forward (five for the softmax, a comparison for
//! each choice), `8 T E + 12 T k` bytes and `4 T E` flops backward.
//!
//! Errors: a probability has those of a softmax; the ratio of some of them twice as much; the loss, of positive terms, as much, and those of its
//! sums. A gradient is relative to `p (|dp| + sum p |dp|)`.

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::{MOST_CHOSEN, Mixture, choices_of, mixture};
use crate::bound::{gamma, likely_gamma};
use crate::check;
use crate::element::{DType, Real};
use crate::math::{self, exp};
use crate::matrix::Store;
use crate::ml::linear::column_sums;
use crate::ml::product::column_sums_launch;
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, cuda_source};
use crate::simd::wide;

pub(super) static SOURCE: Source = cuda_source!("ml/moe.cu");
/// Tokens of a task of the host.
const TOKENS: usize = 64;
/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 4.0;

/// What the gate makes, by the numbers of buffers.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Probabilities: `f32`, `[tokens, experts]`.
    pub p: usize,
    /// Experts chosen: `u32`, `[tokens, chosen]`.
    pub choices: usize,
    /// Their weights: `f32`, `[tokens, chosen]`.
    pub weights: usize,
    /// How often each was chosen: `u32`, `[experts]`.
    pub counts: usize,
}

impl Mixture {
    fn expect_gate(&self, program: &Program, gate: &Gate) {
        expect(
            program,
            "gate",
            &[
                ("p", gate.p, DType::F32, self.tokens * self.experts),
                ("choices", gate.choices, DType::U32, self.choices()),
                ("weights", gate.weights, DType::F32, self.choices()),
                ("counts", gate.counts, DType::U32, self.experts),
            ],
        );
    }

    /// What a sum of counts times sums of probabilities is multiplied by to be the loss.
    fn balance_factor(&self) -> f32 {
        let (tokens, choices) = (self.tokens as f64, self.choices() as f64);
        (f64::from(self.balance) * self.experts as f64 / (tokens * choices).max(1.0)) as f32
    }

    /// Computes what `gate` names, and the loss of load balancing.
    pub fn gate(&self, program: &mut Program, logits: usize, gate: &Gate, loss: usize) {
        let (shape, gate) = (*self, *gate);
        let Self {
            tokens,
            experts,
            chosen,
            ..
        } = shape;
        self.expect_gate(program, &gate);
        expect(
            program,
            "gate",
            &[
                ("logits", logits, DType::F32, tokens * experts),
                ("loss", loss, DType::F32, 1),
            ],
        );
        let sums = workspace(program, "gate-sums", DType::F32, experts);
        program.step_on_cpu(move |team, buffers| {
            let Gate {
                p,
                choices,
                weights,
                counts,
            } = gate;
            let [logits, p, choices, weights, counts, loss, sums] =
                buffers.many([logits, p, choices, weights, counts, loss, sums]);
            let logits = logits.get::<f32>().chunks(TOKENS * experts);
            let tasks = p.get_mut::<f32>().chunks_mut(TOKENS * experts).zip(logits);
            let chosen_by = choices.get_mut::<u32>().chunks_mut(TOKENS * chosen);
            let weights = weights.get_mut::<f32>().chunks_mut(TOKENS * chosen);
            let tasks = tasks.zip(chosen_by.zip(weights)).collect();
            team.deal(tasks, |((p, logits), (choices, weights)): Task| {
                let rows = p
                    .chunks_exact_mut(experts)
                    .zip(logits.chunks_exact(experts));
                let of_choices = choices
                    .chunks_exact_mut(chosen)
                    .zip(weights.chunks_exact_mut(chosen));
                for ((p, logits), (choices, weights)) in rows.zip(of_choices) {
                    softmax(p, logits);
                    choose(choices, logits);
                    weigh(weights, choices, p, shape.is_renormalized);
                }
            });
            let counts = counts.get_mut::<u32>();
            counts.fill(0);
            choices
                .get::<u32>()
                .iter()
                .for_each(|expert| counts[*expert as usize] += 1);
            column_sums(team, sums.get_mut(), p.get(), Store::Set);
            let terms = counts.iter().zip(sums.get::<f32>());
            let sum: f32 = terms.map(|(count, sum)| *count as f32 * sum).sum();
            loss.get_mut::<f32>()[0] = shape.balance_factor() * sum;
        });
        program.cuda.push(Step::Set {
            buffer: gate.counts,
            byte: 0,
        });
        let buffers = [gate.p, gate.choices, gate.weights, gate.counts, logits];
        program.launch(self.of_tokens("moe_gate", &buffers, []));
        program.launch(column_sums_launch(
            [sums, gate.p],
            [tokens, experts],
            Store::Set,
        ));
        program.launch(
            Launch::new(&SOURCE, "moe_balance", 1, 32)
                .args([loss, gate.counts, sums].map(Arg::Buffer))
                .args([Arg::U32(experts as u32), Arg::F32(self.balance_factor())]),
        );
    }

    /// Computes the gradient of logits, given that of the weights; that of the loss of load balancing is added.
    pub fn gate_backward(
        &self,
        program: &mut Program,
        gate: &Gate,
        d_weights: usize,
        d_logits: usize,
    ) {
        let (shape, gate) = (*self, *gate);
        let Self {
            tokens,
            experts,
            chosen,
            ..
        } = shape;
        self.expect_gate(program, &gate);
        expect(
            program,
            "gate",
            &[
                ("dweights", d_weights, DType::F32, self.choices()),
                ("dlogits", d_logits, DType::F32, tokens * experts),
            ],
        );
        program.step_on_cpu(move |team, buffers| {
            let Gate {
                p,
                choices,
                weights,
                counts,
            } = gate;
            let [p, choices, weights, counts, d_weights, d_logits] =
                buffers.many([p, choices, weights, counts, d_weights, d_logits]);
            let of_counts: Vec<f32> = counts
                .get::<u32>()
                .iter()
                .map(|count| shape.balance_factor() * *count as f32)
                .collect();
            let rows = d_logits.get_mut::<f32>().chunks_mut(TOKENS * experts);
            let (p, choices) = (p.get::<f32>(), choices.get::<u32>());
            let (weights, d_weights) = (weights.get::<f32>(), d_weights.get::<f32>());
            team.deal(
                rows.enumerate().collect(),
                |(index, rows): (usize, &mut [f32])| {
                    for (row, out) in rows.chunks_exact_mut(experts).enumerate() {
                        let token = index * TOKENS + row;
                        let of_token = token * chosen..(token + 1) * chosen;
                        let token = Token {
                            p: &p[token * experts..][..experts],
                            choices: &choices[of_token.clone()],
                            weights: &weights[of_token.clone()],
                            d_weights: &d_weights[of_token],
                        };
                        out.copy_from_slice(&of_counts);
                        token.gradient(out, shape.is_renormalized);
                    }
                },
            );
        });
        let buffers = [
            d_logits,
            gate.p,
            gate.choices,
            gate.weights,
            gate.counts,
            d_weights,
        ];
        let factor = [Arg::F32(self.balance_factor())];
        program.launch(self.of_tokens("moe_gate_backward", &buffers, factor));
    }

    /// A warp a token.
    fn of_tokens(
        &self,
        kernel: &str,
        buffers: &[usize],
        more: impl IntoIterator<Item = Arg>,
    ) -> Launch {
        let sizes = [
            self.tokens,
            self.experts,
            self.chosen,
            usize::from(self.is_renormalized),
        ];
        Launch::new(&SOURCE, kernel, self.tokens.div_ceil(8) as u32, 256)
            .args(buffers.iter().copied().map(Arg::Buffer))
            .args(sizes.map(|size| Arg::U32(size as u32)))
            .args(more)
    }
}

/// Probabilities and logits of some tokens, their choices and weights.
type Task<'a> = ((&'a mut [f32], &'a [f32]), (&'a mut [u32], &'a mut [f32]));

wide! {
    fn softmax(out: &mut [f32], logits: &[f32]) {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, larger);
        for (out, x) in out.iter_mut().zip(logits) {
            *out = exp(*x - top);
        }
        let factor = 1.0 / out.iter().sum::<f32>();
        for out in out.iter_mut() {
            *out *= factor;
        }
    }
}

/// A key that rises with a logit, and of equal ones falls with the expert's number.
fn key(logit: f32, expert: usize) -> u64 {
    let bits = logit.to_bits();
    let rising = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    u64::from(rising) << 32 | u64::from(!(expert as u32))
}

/// The experts with the largest keys, the largest first.
fn choose(choices: &mut [u32], logits: &[f32]) {
    let mut best = [0_u64; MOST_CHOSEN];
    let best = &mut best[..choices.len()];
    for (expert, logit) in logits.iter().enumerate() {
        let mut key = key(*logit, expert);
        for best in best.iter_mut() {
            if key > *best {
                std::mem::swap(best, &mut key);
            }
        }
    }
    for (choice, best) in choices.iter_mut().zip(best) {
        *choice = !(*best as u32);
    }
}

fn weigh(weights: &mut [f32], choices: &[u32], p: &[f32], is_renormalized: bool) {
    for (weight, expert) in weights.iter_mut().zip(choices) {
        *weight = p[*expert as usize];
    }
    if is_renormalized {
        let sum: f32 = weights.iter().sum();
        for weight in weights {
            *weight /= sum;
        }
    }
}

/// What the backward pass knows of a token.
struct Token<'a> {
    p: &'a [f32],
    choices: &'a [u32],
    weights: &'a [f32],
    d_weights: &'a [f32],
}

impl Token<'_> {
    /// Makes the gradient of logits of `dp`, which holds the part of it that comes from the loss.
    fn gradient(&self, dp: &mut [f32], is_renormalized: bool) {
        let (mut mean, mut of_chosen) = (0.0, 1.0);
        if is_renormalized {
            let products = self.weights.iter().zip(self.d_weights);
            mean = products.map(|(w, dw)| w * dw).sum();
            of_chosen = self
                .choices
                .iter()
                .map(|expert| self.p[*expert as usize])
                .sum();
        }
        for (expert, dw) in self.choices.iter().zip(self.d_weights) {
            dp[*expert as usize] += (dw - mean) / of_chosen;
        }
        let sum: f32 = dp.iter().zip(self.p).map(|(dp, p)| dp * p).sum();
        for (dp, p) in dp.iter_mut().zip(self.p) {
            *dp = p * (*dp - sum);
        }
    }
}

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];
const WEIGHTS: [(&str, bool); 2] = [("renormalized", true), ("plain", false)];

/// The gate as an op.
pub struct GateOp;

impl Op for GateOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "moe-gate",
            summary: "softmax over experts, the largest of it, and load balancing, f32",
            parameters: vec![
                parameters::integer("tokens"),
                parameters::integer("experts"),
                parameters::integer_or("chosen", 2),
                parameters::choice("pass", &PASSES.map(|(name, _)| name)),
                parameters::choice("weights", &WEIGHTS.map(|(name, _)| name)),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let is_renormalized = arguments.choice("weights", &WEIGHTS)?;
        let shape = Mixture {
            is_renormalized,
            ..mixture(arguments, &[])?
        };
        let is_backward = arguments.choice("pass", &PASSES)?;
        let mut program = Program::new(work(&shape, is_backward));
        if is_backward {
            backward(&mut program, shape);
        } else {
            forward(&mut program, shape);
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            // As many as are chosen, and more than a warp sees at once.
            ("experts", 0..100) => size.clamp(2, 40),
            ("experts", 100..) => 9,
            _ => size,
        }
    }
}

fn work(shape: &Mixture, is_backward: bool) -> Work {
    let (logits, choices) = (
        (shape.tokens * shape.experts) as u64,
        shape.choices() as u64,
    );
    let (bytes, flops, formula) = if is_backward {
        let formula = "bytes = 8 T E + 12 T k, flops = 4 T E";
        (8 * logits + 12 * choices, 4 * logits, formula)
    } else {
        let formula = "bytes = 8 T E + 8 T k, flops = (5 + k) T E";
        let flops = (5 + shape.chosen as u64) * logits;
        (8 * logits + 8 * choices, flops, formula)
    };
    Work {
        bytes: Some(bytes),
        flops: Some(flops),
        items: Some(shape.tokens as u64),
        formula: format!("{formula}, items = T; T = tokens, E = experts, k = chosen"),
    }
}

fn forward(program: &mut Program, shape: Mixture) {
    let logits = add_logits(program, &shape);
    let (gate, loss) = add_outputs(program, &shape);
    shape.gate(program, logits, &gate, loss);
    program.check(move |outcome| check_forward(outcome, &shape, logits, &gate, loss));
}

fn add_logits(program: &mut Program, shape: &Mixture) -> usize {
    let fill = Fill::Signed {
        stream: 0,
        scale: SPREAD,
    };
    program.input("logits", DType::F32, shape.tokens * shape.experts, fill)
}

fn add_outputs(program: &mut Program, shape: &Mixture) -> (Gate, usize) {
    let gate = Gate {
        p: program.output("p", DType::F32, shape.tokens * shape.experts),
        choices: program.output("choices", DType::U32, shape.choices()),
        weights: program.output("weights", DType::F32, shape.choices()),
        counts: program.output("counts", DType::U32, shape.experts),
    };
    (gate, program.output("loss", DType::F32, 1))
}

/// Inputs of the backward pass are no outcome of a forward one: any probabilities and choices have a gradient.
fn backward(program: &mut Program, shape: Mixture) {
    let Mixture {
        tokens, experts, ..
    } = shape;
    let fill = Fill::Host(Box::new(move |buffer, seed| {
        let p = buffer.get_mut::<f32>();
        let random = assay_protocol::Philox::new(seed, 0);
        for (i, p) in p.iter_mut().enumerate() {
            // Powers of two that add up to less than 1 are no rounding's business.
            *p = (1 + random.word(i as u64) % 255) as f32
                / 256.0
                / experts.next_power_of_two() as f32;
        }
    }));
    let gate = Gate {
        p: program.input("p", DType::F32, tokens * experts, fill),
        choices: program.input("choices", DType::U32, shape.choices(), choices_of(shape)),
        weights: program.input(
            "weights",
            DType::F32,
            shape.choices(),
            Fill::Unit { stream: 1 },
        ),
        counts: program.input(
            "counts",
            DType::U32,
            experts,
            Fill::Below {
                stream: 2,
                bound: shape.choices().max(1) as u32,
            },
        ),
    };
    let d_weights = program.input("dweights", DType::F32, shape.choices(), Fill::signed(3));
    let d_logits = program.output("dlogits", DType::F32, tokens * experts);
    shape.gate_backward(program, &gate, d_weights, d_logits);
    program.check(move |outcome| check_backward(outcome, &shape, &gate, d_weights, d_logits));
}

fn check_forward(
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

fn check_backward(
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
}

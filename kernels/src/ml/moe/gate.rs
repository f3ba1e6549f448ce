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

mod check;
mod host;
mod tile;

use assay_protocol::{Failure, Work};

use super::{Mixture, choices_of, mixture};
use crate::element::DType;
use crate::ml::column_sum::{ColumnSum, Order};
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program, Source, Step, cuda_source};

pub(super) static SOURCE: Source = cuda_source!("ml/moe.cu");
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
            tokens, experts, ..
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
            let [logits, p, choices, weights, counts, sums] =
                buffers.many([logits, p, choices, weights, counts, sums]);
            let made = host::Made {
                p: p.get_mut(),
                choices: choices.get_mut(),
                weights: weights.get_mut(),
            };
            let (counts, sums) = (counts.get_mut(), sums.get_mut());
            host::forward(team, &shape, logits.get(), made, counts, sums);
        });
        program.cuda.push(Step::Set {
            buffer: gate.counts,
            byte: 0,
        });
        let buffers = [gate.p, gate.choices, gate.weights, gate.counts, logits];
        program.launch(self.of_tokens("moe_gate", &buffers, []));
        let of_experts = ColumnSum {
            rows: tokens,
            cols: experts,
            dtype: DType::F32,
            order: Order::Fixed,
        };
        of_experts.on_cuda(program, gate.p, sums);
        program.step_on_cpu(move |_, buffers| {
            let [counts, sums, loss] = buffers.many([gate.counts, sums, loss]);
            let counts = counts.get::<u32>();
            let terms = counts.iter().zip(sums.get::<f32>());
            let sum: f32 = terms.map(|(count, sum)| *count as f32 * sum).sum();
            loss.get_mut::<f32>()[0] = shape.balance_factor() * sum;
        });
        program.launch(
            Launch::new(&SOURCE, "moe_balance", 1, 32)
                .args([loss, gate.counts, sums].map(Arg::Buffer))
                .args([Arg::U32(experts as u32), Arg::F32(self.balance_factor())]),
        );
    }

    /// Computes the gradient of logits, given that of the weights; that of the loss of load balancing is added, times what `scale` holds,
    /// where losses are multiplied by that.
    pub fn gate_backward(
        &self,
        program: &mut Program,
        gate: &Gate,
        [d_weights, d_logits]: [usize; 2],
        scale: Option<usize>,
    ) {
        let (shape, gate) = (*self, *gate);
        let Self {
            tokens, experts, ..
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
            let scale = scale.map_or(1.0, |scale| buffers.get::<f32>(scale)[0]);
            let factor = shape.balance_factor() * scale;
            let [p, choices, weights, counts, d_weights, d_logits] =
                buffers.many([p, choices, weights, counts, d_weights, d_logits]);
            let counts = counts.get::<u32>().iter();
            let of_counts: Vec<f32> = counts.map(|count| factor * *count as f32).collect();
            let given = host::Given {
                p: p.get(),
                choices: choices.get(),
                weights: weights.get(),
                d_weights: d_weights.get(),
            };
            host::backward(team, &shape, given, &of_counts, d_logits.get_mut());
        });
        let buffers = [
            d_logits,
            gate.p,
            gate.choices,
            gate.weights,
            gate.counts,
            d_weights,
            // Without a scale, any buffer stands in for it.
            scale.unwrap_or(d_weights),
        ];
        let more = [
            Arg::F32(self.balance_factor()),
            Arg::U32(scale.is_some().into()),
        ];
        program.launch(self.of_tokens("moe_gate_backward", &buffers, more));
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
    program.check(move |outcome| check::forward(outcome, &shape, logits, &gate, loss));
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
    shape.gate_backward(program, &gate, [d_weights, d_logits], None);
    program.check(move |outcome| check::backward(outcome, &shape, &gate, d_weights, d_logits));
}

#[cfg(test)]
mod tests {
    use assay_protocol::Work;

    use super::super::tests::mixture;
    use super::{Gate, choices_of};
    use crate::device::Team;
    use crate::element::DType;
    use crate::program::{Fill, Program};

    fn constant(value: f32) -> Fill {
        Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<f32>().fill(value);
        }))
    }

    /// Gradients of logits, with what losses are multiplied by.
    fn d_logits(scale: Option<f32>) -> Vec<f32> {
        let shape = mixture();
        let (len, choices) = (shape.tokens * shape.experts, shape.choices());
        let factor = scale.unwrap_or(1.0);
        let of_counts = Fill::Below {
            stream: 1,
            bound: 9,
        };
        let mut program = Program::new(Work::default());
        let gate = Gate {
            p: program.input("p", DType::F32, len, constant(0.125)),
            choices: program.input("choices", DType::U32, choices, choices_of(shape)),
            weights: program.input("weights", DType::F32, choices, constant(0.5)),
            counts: program.input("counts", DType::U32, shape.experts, of_counts),
        };
        let d_weights = program.input("dweights", DType::F32, choices, constant(factor));
        let d_logits = program.output("dlogits", DType::F32, len);
        let of_losses = program.input("scale", DType::F32, 1, constant(factor));
        let scale = scale.map(|_| of_losses);
        shape.gate_backward(&mut program, &gate, [d_weights, d_logits], scale);
        let team = Team::new(1).unwrap();
        let mut buffers = program.host_buffers(&team, 3).unwrap();
        program.take_cpu().unwrap()(&team, &mut buffers, 1);
        buffers.get::<f32>(d_logits).to_vec()
    }

    /// With losses times a power of two all gradients are times it, to the bit: that of load balancing too.
    #[test]
    fn the_loss_of_load_balancing_is_scaled_as_others_are() {
        let (plain, scaled) = (d_logits(None), d_logits(Some(1024.0)));
        assert!(plain.iter().any(|d| d.abs() > 1e-9));
        let times: Vec<f32> = plain.iter().map(|d| d * 1024.0).collect();
        assert_eq!(times, scaled);
    }
}

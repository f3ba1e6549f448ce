//! Steps of optimizers: SGD, `AdamW`, Lion, Adan and Sophia-G, and the curvature that the last needs every k steps.
//!
//! What each does is in [`rules`]; what changes from step to step comes from a small buffer ([`pace`]). Parameters and
//! states are `f32`, gradients `f32` or `bf16`. Work with `n` parameters, each buffer read or written counted once, with
//! gradients of `s` bytes:
//!
//! | op                 | reads          | writes      | bytes         |
//! |--------------------|----------------|-------------|---------------|
//! | `sgd`              | p, g, v        | p, v        | `(16 + s) n`  |
//! | `adamw`            | p, g, m, v     | p, m, v     | `(24 + s) n`  |
//! | `lion`             | p, g, m        | p, m        | `(16 + s) n`  |
//! | `adan`             | p, g, m, v, n, g' | p, m, v, n, g' | `(40 + s) n` |
//! | `sophia-g`         | p, g, m, h     | p, m        | `(20 + s) n`  |
//! | `sophia-curvature` | h, g           | h           | `(8 + s) n`   |
//!
//! Outputs are judged by a reference that carries its own bound ([`crate::running`]).

pub mod pace;
pub mod rules;
pub mod schedule;
mod sweep;
#[cfg(test)]
mod tests;

use assay_protocol::{Failure, Work};

use crate::buffer::Buffer;
use crate::check;
use crate::element::DType;
use crate::ml::expect;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, blocks};
use crate::running::Running;
use pace::{RunningPace, SOURCE};
use rules::{AdamW, Adan, Lion, MOST_STATES, Rule, Sgd, SophiaG};

/// Threads of a block, each of which takes four parameters.
const THREADS: u32 = 256;
const PER_BLOCK: usize = 4 * THREADS as usize;
const DTYPES: &[DType] = &[DType::F32, DType::Bf16];

/// A rule, with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Gradient descent with momentum.
    Sgd(Sgd),
    /// Adam with decoupled decay.
    AdamW(AdamW),
    /// Evolved sign momentum.
    Lion(Lion),
    /// Adaptive Nesterov momentum.
    Adan(Adan),
    /// Clipped second-order steps.
    SophiaG(SophiaG),
}

/// Calls a generic function with the rule of an [`Optimizer`].
macro_rules! with_rule {
    ($optimizer:expr, $rule:ident => $body:expr) => {
        match $optimizer {
            Optimizer::Sgd($rule) => $body,
            Optimizer::AdamW($rule) => $body,
            Optimizer::Lion($rule) => $body,
            Optimizer::Adan($rule) => $body,
            Optimizer::SophiaG($rule) => $body,
        }
    };
}

fn states_of<R: Rule>(_: R) -> &'static [(&'static str, bool)] {
    R::STATES
}

fn flops_of<R: Rule>(_: R) -> u64 {
    R::FLOPS
}

impl Optimizer {
    /// Names of the buffers of its states, each as long as the parameters, and whether one is never negative.
    pub fn states(self) -> &'static [(&'static str, bool)] {
        with_rule!(self, rule => states_of(rule))
    }

    /// The same without decay: for biases, gains and shifts.
    #[must_use]
    pub fn without_decay(self) -> Self {
        let decay = 0.0;
        match self {
            Self::Sgd(rule) => Self::Sgd(Sgd { decay, ..rule }),
            Self::AdamW(rule) => Self::AdamW(AdamW { decay, ..rule }),
            Self::Lion(rule) => Self::Lion(Lion { decay, ..rule }),
            Self::Adan(rule) => Self::Adan(Adan { decay, ..rule }),
            Self::SophiaG(rule) => Self::SophiaG(SophiaG { decay, ..rule }),
        }
    }

    /// Bytes of memory that a step moves for each parameter, with gradients of a type.
    pub fn bytes_per_parameter(self, gradients: DType) -> usize {
        // The curvature is only read.
        let written = match self {
            Self::SophiaG(_) => 1,
            _ => self.states().len(),
        };
        4 * (2 + self.states().len() + written) + gradients.bytes()
    }
}

/// A step of some parameters: a brick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerStep {
    /// How many parameters.
    pub elements: usize,
    /// Type of the gradients: `f32` or `bf16`.
    pub gradients: DType,
    /// What is done with them.
    pub optimizer: Optimizer,
}

/// Numbers of the buffers that a step needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensors<'a> {
    /// Changed.
    pub parameters: usize,
    /// Read.
    pub gradients: usize,
    /// Changed, in the order of [`Optimizer::states`].
    pub states: &'a [usize],
    /// Read; see [`pace`].
    pub pace: usize,
}

impl OptimizerStep {
    /// Adds the step to a program.
    ///
    /// # Panics
    /// If there are not as many states as the optimizer has.
    pub fn add(self, program: &mut Program, tensors: Tensors) {
        with_rule!(self.optimizer, rule => self.add_rule(program, rule, tensors));
    }

    fn add_rule<R: Rule>(self, program: &mut Program, rule: R, tensors: Tensors) {
        assert_eq!(tensors.states.len(), R::STATES.len(), "states");
        let Tensors {
            parameters,
            gradients,
            pace,
            ..
        } = tensors;
        let n = self.elements;
        let mut buffers = vec![
            ("parameters", parameters, DType::F32, n),
            ("gradients", gradients, self.gradients, n),
            ("pace", pace, DType::F32, pace::LEN),
        ];
        let named = R::STATES.iter().zip(tensors.states);
        buffers.extend(named.map(|((name, _), state)| (*name, *state, DType::F32, n)));
        expect(program, R::CUDA, &buffers);
        let states = tensors.states.to_vec();
        program.step_on_cpu(move |team, buffers| {
            sweep::step(team, buffers, rule, (parameters, gradients, &states, pace));
        });
        // A kernel with fewer states gets the parameters for the others, and does not look at them.
        let mut arguments = [Arg::Buffer(parameters); MOST_STATES];
        for (argument, state) in arguments.iter_mut().zip(tensors.states) {
            *argument = Arg::Buffer(*state);
        }
        let kernel = format!("optimizer_step<{}, {}>", R::CUDA, self.gradients.cuda());
        let launch = Launch::new(
            &SOURCE,
            kernel,
            blocks(self.elements, PER_BLOCK, u32::MAX),
            THREADS,
        );
        program.launch(
            launch
                .args([Arg::Buffer(parameters), Arg::Buffer(gradients)])
                .args(arguments)
                .args([Arg::Buffer(pace)])
                .args(rule.constants().map(Arg::F32))
                .args([Arg::size(self.elements)]),
        );
    }
}

/// The diagonal of the curvature that Sophia-G divides by, from gradients at labels that were sampled from the model:
/// `h = b2 h + (1 - b2) B g^2` (Liu et al., the Gauss-Newton-Bartlett estimator), with a batch of `B` whose
/// gradient of the mean is `g`. A brick, for every k-th step; the paper's k is 10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curvature {
    /// How many parameters.
    pub elements: usize,
    /// Type of the gradients: `f32` or `bf16`.
    pub gradients: DType,
    /// b2
    pub beta2: f32,
    /// B
    pub batch: f32,
}

impl Curvature {
    /// Adds the step to a program: `h` is changed, gradients are multiplied by the factors in `pace`.
    pub fn add(self, program: &mut Program, h: usize, gradients: usize, pace: usize) {
        let n = self.elements;
        let buffers = [
            ("h", h, DType::F32, n),
            ("gradients", gradients, self.gradients, n),
            ("pace", pace, DType::F32, pace::LEN),
        ];
        expect(program, "Curvature", &buffers);
        program.step_on_cpu(move |team, buffers| {
            sweep::curvature(team, buffers, self, [h, gradients, pace]);
        });
        let kernel = format!("optimizer_curvature<{}>", self.gradients.cuda());
        let launch = Launch::new(
            &SOURCE,
            kernel,
            blocks(self.elements, PER_BLOCK, u32::MAX),
            THREADS,
        );
        program.launch(launch.args([
            Arg::Buffer(h),
            Arg::Buffer(gradients),
            Arg::Buffer(pace),
            Arg::F32(self.beta2),
            Arg::F32(self.batch),
            Arg::size(self.elements),
        ]));
    }
}

/// The ops: each rule with its defaults, and the curvature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerOp {
    /// Gradient descent with momentum.
    Sgd,
    /// Adam with decoupled decay.
    AdamW,
    /// Evolved sign momentum.
    Lion,
    /// Adaptive Nesterov momentum.
    Adan,
    /// Clipped second-order steps.
    SophiaG,
    /// What those divide by.
    Curvature,
}

/// What the case's pace holds: as in some third step, with gradients that were scaled and clipped; but for the step's number.
const PACE: [f32; pace::LEN] = [0.015_625, 0.271, 0.003, 0.5, 0.75, 1.0, 1.0, 1.0];
/// Examples of the batch whose curvature is estimated.
const BATCH: f32 = 32.0;

impl OptimizerOp {
    fn optimizer(self) -> Optimizer {
        match self {
            Self::Sgd => Optimizer::Sgd(Sgd::default()),
            Self::AdamW => Optimizer::AdamW(AdamW::default()),
            Self::Lion => Optimizer::Lion(Lion::default()),
            Self::Adan => Optimizer::Adan(Adan::default()),
            Self::SophiaG | Self::Curvature => Optimizer::SophiaG(SophiaG::default()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
            Self::Lion => "lion",
            Self::Adan => "adan",
            Self::SophiaG => "sophia-g",
            Self::Curvature => "sophia-curvature",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Sgd => "optimizer step: gradient descent with momentum",
            Self::AdamW => "optimizer step: AdamW",
            Self::Lion => "optimizer step: Lion",
            Self::Adan => "optimizer step: Adan",
            Self::SophiaG => "optimizer step: Sophia-G, without its curvature",
            Self::Curvature => "the curvature of Sophia-G, for every k-th step",
        }
    }

    /// Bytes and flops of a parameter.
    fn work_per_parameter(self, gradients: DType) -> (usize, u64) {
        if self == Self::Curvature {
            return (8 + gradients.bytes(), 5);
        }
        let optimizer = self.optimizer();
        let flops = with_rule!(optimizer, rule => flops_of(rule));
        (optimizer.bytes_per_parameter(gradients), flops)
    }
}

impl Op for OptimizerOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: self.name(),
            summary: self.summary(),
            parameters: vec![
                parameters::integer("elements"),
                parameters::choice("gradients", &["f32", "bf16"]),
            ],
            devices: EVERYWHERE,
        }
    }

    /// The first of `adamw` counted an operation less, and that of `adan` began with states of zeros.
    fn definition(&self) -> u32 {
        match self {
            Self::AdamW | Self::Adan => 2,
            _ => 1,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let named: Vec<_> = DTYPES.iter().map(|dtype| (dtype.name(), *dtype)).collect();
        let gradients = arguments.choice("gradients", &named)?;
        let (bytes, flops) = self.work_per_parameter(gradients);
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`elements`",
                &[bytes as u64, elements as u64],
            )?),
            flops: Some(parameters::product(
                "`elements`",
                &[flops, elements as u64],
            )?),
            items: Some(elements as u64),
            formula: format!("bytes = {bytes} n, flops = {flops} n, items = n; n = elements"),
        });
        if *self == Self::Curvature {
            add_curvature(&mut program, elements, gradients);
        } else {
            add_step(&mut program, elements, gradients, self.optimizer());
        }
        Ok(program)
    }
}

/// Adds the pace of a case, an input: of the first step or of one soon after, as the seed has it.
fn add_pace(program: &mut Program) -> usize {
    let fill = Fill::Host(Box::new(|buffer, seed| {
        let pace = buffer.get_mut::<f32>();
        pace.copy_from_slice(&PACE);
        // Seed 1, by which changed kernels are to be found out, has the first step.
        pace[pace::STEP] = (1 + (seed % 3 + 2) % 3) as f32;
    }));
    program.input("pace", DType::F32, pace::LEN, fill)
}

fn add_step(program: &mut Program, elements: usize, gradients: DType, optimizer: Optimizer) {
    let parameters = program.in_out("parameters", DType::F32, elements, Fill::signed(0));
    let inputs = program.input("gradients", gradients, elements, Fill::signed(1));
    let mut states = vec![];
    for (stream, (name, is_positive)) in (2..).zip(optimizer.states()) {
        let fill = if *is_positive {
            Fill::Unit { stream }
        } else {
            Fill::signed(stream)
        };
        states.push(program.in_out(name, DType::F32, elements, fill));
    }
    let pace = add_pace(program);
    let step = OptimizerStep {
        elements,
        gradients,
        optimizer,
    };
    step.add(
        program,
        Tensors {
            parameters,
            gradients: inputs,
            states: &states,
            pace,
        },
    );
    program.check(move |outcome| {
        let tensors = Tensors {
            parameters,
            gradients: inputs,
            states: &states,
            pace,
        };
        with_rule!(optimizer, rule => check_step(rule, outcome, tensors))
    });
}

fn check_step<R: Rule>(rule: R, outcome: &Outcome, tensors: Tensors) -> Checked {
    let pace = RunningPace::of(outcome.get(tensors.pace));
    let gradient = gradients_of(&outcome.buffers.0[tensors.gradients]);
    let before = outcome.initial::<f32>(tensors.parameters);
    let found = outcome.get::<f32>(tensors.parameters);
    let error = check::worst(found.len(), |i| {
        let mut parameter = Running::from(before[i]);
        let mut states = [Running::default(); MOST_STATES];
        for (state, number) in states.iter_mut().zip(tensors.states) {
            *state = outcome.initial::<f32>(*number)[i].into();
        }
        let g = gradient(i) * pace.factor;
        for _ in 0..outcome.iterations {
            parameter = rule.reference(&pace, parameter, g, &mut states);
        }
        let of_states = states.iter().zip(tensors.states).map(|(state, number)| {
            let found = outcome.get::<f32>(*number)[i];
            state.distance(found.into())
        });
        of_states.fold(parameter.distance(found[i].into()), larger)
    });
    bounded(error)
}

fn add_curvature(program: &mut Program, elements: usize, gradients: DType) {
    let h = program.in_out("h", DType::F32, elements, Fill::Unit { stream: 0 });
    let inputs = program.input("gradients", gradients, elements, Fill::signed(1));
    let pace = add_pace(program);
    let curvature = Curvature {
        elements,
        gradients,
        beta2: 0.99,
        batch: BATCH,
    };
    curvature.add(program, h, inputs, pace);
    program.check(move |outcome| {
        let pace = RunningPace::of(outcome.get(pace));
        let gradient = gradients_of(&outcome.buffers.0[inputs]);
        let (before, found) = (outcome.initial::<f32>(h), outcome.get::<f32>(h));
        let [beta2, batch] = [curvature.beta2, curvature.batch].map(Running::from);
        let error = check::worst(found.len(), |i| {
            let g = gradient(i) * pace.factor;
            let mut h = Running::from(before[i]);
            for _ in 0..outcome.iterations {
                h = beta2 * h + (Running::exact(1.0) - beta2) * (batch * (g * g));
            }
            h.distance(found[i].into())
        });
        bounded(error)
    });
}

/// Gradients as numbers.
fn gradients_of(buffer: &Buffer) -> impl Fn(usize) -> Running + Sync {
    |i| Running::exact(buffer.value(i))
}

/// The larger of two distances; what is no number stays none.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn bounded(error: f64) -> Checked {
    Checked {
        error,
        tolerance: 1.0,
        detail: "largest |out - exact| in units of its running error bound".into(),
    }
}

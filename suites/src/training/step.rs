//! One step of training, as one program: windows of the corpus, forward, backward, clipping, and the optimizer's step.

use assay_kernels::element::DType;
use assay_kernels::ml::gradient::{ClipNorm, SquareSum};
use assay_kernels::ml::optimizer::pace::{self, Clock};
use assay_kernels::ml::optimizer::{Optimizer, OptimizerStep, Tensors};
use assay_kernels::ml::windows::Windows;
use assay_kernels::program::{Fill, Role};

use super::decoder::{Decoder, Shape};
use super::layers;
use super::model::Model;

/// Stream of the places of windows.
pub const WINDOW_STREAM: u64 = 1 << 42;

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// What is done with matrices; others do not decay.
    pub optimizer: Optimizer,
    /// Learning rates.
    pub clock: Clock,
    /// Largest norm of all gradients together; infinite where they are not clipped.
    pub most_norm: f32,
    /// Turns whose gradients are added up for one step of the optimizer.
    pub accumulation: usize,
}

/// A step of training, and where in its program to find what is of interest.
pub struct TrainingStep {
    /// The model, with all of the step.
    pub model: Model,
    /// Its layers.
    pub decoder: Decoder,
    /// Losses of all tokens, of each turn.
    pub losses: Vec<usize>,
    /// Norm of all gradients, before they are clipped.
    pub norm: usize,
    /// The buffers that go on from step to step, besides parameters: moments, clock, turn.
    pub states: Vec<usize>,
}

impl TrainingStep {
    /// Puts a step of training of a decoder together, on windows of a corpus.
    pub fn new(seed: u64, shape: Shape, recipe: &Recipe, corpus: &[u32]) -> Self {
        let mut model = Model::new(seed, true);
        let decoder = Decoder::new(&mut model, shape);
        let windows = Windows {
            corpus: corpus.len(),
            batch: shape.batch,
            length: shape.length,
            seed,
            stream: WINDOW_STREAM,
        };
        let tokens = corpus.to_vec();
        let fill = Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<u32>().copy_from_slice(&tokens);
        }));
        let program = &mut model.program;
        let corpus = program.add("corpus", DType::U32, corpus.len(), Role::Input, fill);
        let turn = program.add("turn", DType::U64, 1, Role::Scratch, Fill::Zero);
        let given = ["ids", "labels"]
            .map(|name| program.add(name, DType::U32, shape.tokens(), Role::Scratch, Fill::Zero));
        let mut step = Self {
            model,
            decoder,
            losses: vec![],
            norm: 0,
            states: vec![turn],
        };
        let scale = 1.0 / (shape.tokens() * recipe.accumulation) as f32;
        step.accumulate(recipe.accumulation, |step, losses| {
            let model = &mut step.model;
            model.program.family = "data";
            windows.forward(&mut model.program, corpus, turn, given);
            step.decoder.forward(model, given, losses);
            step.decoder.backward(model, given, scale);
        });
        step.optimize(recipe);
        step
    }

    /// Appends some turns, whose gradients are added up. Those of the first go where the sums will be.
    fn accumulate(&mut self, turns: usize, turn: impl Fn(&mut Self, usize)) {
        let sums = self.gradients();
        for number in 0..turns {
            let tokens = self.decoder.shape.tokens();
            let losses = self.model.kept(&format!("losses.{number}"), tokens);
            self.losses.push(losses);
            if number == 0 {
                turn(self, losses);
                continue;
            }
            for (parameter, _) in sums.iter().enumerate().filter(|(_, sum)| sum.is_some()) {
                let len = self.model.parameters[parameter].len();
                let name = format!("{}.of-turn", self.model.parameters[parameter].name);
                let own = self.model.kept(&name, len);
                self.model.parameters[parameter].gradient = Some(own);
            }
            turn(self, losses);
            let pairs = self.gradients().into_iter().zip(&sums);
            for (of_turn, sum) in pairs.filter_map(|(of_turn, sum)| of_turn.zip(*sum)) {
                let len = self.model.program.buffers[sum].len;
                self.model.program.family = "accumulation";
                layers::accumulate(&mut self.model, len, of_turn, sum);
            }
        }
        let parameters = self.model.parameters.iter_mut();
        parameters
            .zip(sums)
            .for_each(|(parameter, sum)| parameter.gradient = sum);
    }

    fn gradients(&self) -> Vec<Option<usize>> {
        let parameters = self.model.parameters.iter();
        parameters.map(|parameter| parameter.gradient).collect()
    }

    /// Appends clipping and the optimizer's step.
    fn optimize(&mut self, recipe: &Recipe) {
        let Self { model, .. } = self;
        let parameters = model.parameters.iter();
        let parameters: Vec<_> = parameters
            .filter(|p| p.gradient.is_some())
            .cloned()
            .collect();
        let sums = model.kept("squares", parameters.len());
        let norm = model.kept("gradient-norm", 1);
        let program = &mut model.program;
        let pace = pace::add(program);
        let clock = Clock::add_buffer(program);
        self.norm = norm;
        self.states.push(clock);
        program.family = "clipping";
        for (place, parameter) in parameters.iter().enumerate() {
            let Some(gradient) = parameter.gradient else {
                continue;
            };
            let elements = parameter.len();
            let is_free = false;
            SquareSum { elements, is_free }.add(program, gradient, sums, place);
        }
        let clip = ClipNorm {
            sums: parameters.len(),
            most: recipe.most_norm,
        };
        clip.add(program, sums, norm, pace);
        program.family = "optimizer";
        recipe.clock.add(program, clock, pace);
        for parameter in &parameters {
            let Some(gradients) = parameter.gradient else {
                continue;
            };
            let elements = parameter.len();
            let mut states = vec![];
            for (name, _) in recipe.optimizer.states() {
                let name = format!("{}.{name}", parameter.name);
                states.push(program.add(name, DType::F32, elements, Role::Scratch, Fill::Zero));
            }
            let optimizer = if parameter.is_matrix() {
                recipe.optimizer
            } else {
                recipe.optimizer.without_decay()
            };
            let step = OptimizerStep {
                elements,
                gradients: DType::F32,
                optimizer,
            };
            let tensors = Tensors {
                parameters: parameter.buffer,
                gradients,
                states: &states,
                pace,
            };
            step.add(program, tensors);
            self.states.extend(states);
        }
    }
}

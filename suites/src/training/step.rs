//! One step of training, as one program: turns of a network, what is done with their gradients, and the optimizer's step.
//!
//! Gradients of turns are added up as a tree does, half of the turns and the other half, whatever computes which: so that
//! processes which have as many turns each, a power of two of them, get the sums that one process gets; of GPUs, where
//! [NCCL](assay_kernels::device::cuda::nccl) has an order of its own, two do.

use std::ops::Range;

use assay_kernels::element::DType;
use assay_kernels::ml::draw;
use assay_kernels::ml::gradient::{ClipNorm, LossScale, SquareSum, Unscale};
use assay_kernels::ml::optimizer::pace::{self, Clock};
use assay_kernels::ml::optimizer::{Curvature, Optimizer, OptimizerStep, Tensors};
use assay_kernels::program::{Fill, Role, Steps};

use super::layers;
use super::model::{Model, Parameter};
use super::network::Network;
use super::ranks::{Place, Ranks};
use super::units;

/// Decay of the mean of curvatures (H. Liu et al., "Sophia", ICLR 2024, section 3.1).
const CURVATURE_BETA: f32 = 0.99;
/// What losses are multiplied by at first, and steps after which that grows (NVIDIA, "Train with mixed precision", 2023, section 4).
const LOSS_SCALE: f32 = 65_536.0;
const GROWTH_INTERVAL: u32 = 2000;
/// Turns whose labels are drawn begin here: no training comes so far.
const CURVATURE_TURNS: u64 = 1 << 40;

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Type of what linear layers, attention and experts multiply. Of `f16` losses are scaled.
    pub stored: DType,
    /// What is done with matrices; others do not decay.
    pub optimizer: Optimizer,
    /// Learning rates.
    pub clock: Clock,
    /// Steps from one estimate of curvatures to the next, where the optimizer divides by these.
    pub curvature_every: usize,
    /// Whether the mean is taken out of each unit's gradient.
    pub centralises: bool,
    /// Largest norm of a unit's gradient, over that of its parameters; infinite where they are not clipped.
    pub most_of_unit: f32,
    /// Largest norm of all gradients together, after that; infinite where they are not clipped.
    pub most_norm: f32,
    /// Turns whose gradients are added up for one step of the optimizer.
    pub accumulation: usize,
}

/// Steps of a program that are done now and then.
pub struct Sometimes {
    /// Before every so many steps of the training, and before the first.
    pub every: usize,
    /// What is done.
    pub steps: Steps,
}

/// A step of training, and where in its program to find what is of interest.
pub struct TrainingStep {
    /// The model, with all of the step.
    pub model: Model,
    /// Losses of all examples, of each turn.
    pub losses: Vec<usize>,
    /// Norm of all gradients, before they are clipped by it.
    pub norm: usize,
    /// The buffers that go on from step to step, besides parameters: moments, clock, turn. But for the turn, all ranks have the same.
    pub states: Vec<usize>,
    /// The next turn of this rank,
    pub turn: usize,
    /// and how many of a step's turns are those of ranks before this one.
    pub ahead: u64,
    /// What losses are multiplied by, and gradients that were no numbers, where losses are scaled.
    pub scaling: Option<[usize; 2]>,
    /// What the network wants to be seen after a step.
    pub watched: Vec<usize>,
    /// What is done in each step.
    pub main: Steps,
    /// The estimate of curvatures, where the optimizer needs one.
    pub sometimes: Option<Sometimes>,
    /// What is trained, and its curvature.
    trained: Vec<(Parameter, Option<usize>)>,
    /// The gradients of all parameters, where these have any.
    own: Vec<Option<usize>>,
    pace: usize,
}

impl TrainingStep {
    /// Puts a step of training together, of a network whose parameters the model has; of a part of its turns, where several ranks
    /// train together.
    ///
    /// # Panics
    /// If the optimizer needs curvatures, and the network has no labels that could be drawn.
    pub fn new(
        mut model: Model,
        network: &dyn Network,
        recipe: &Recipe,
        ranks: Option<&Ranks>,
    ) -> Self {
        let place = ranks.map_or(Place::ALONE, |ranks| ranks.place);
        let turns = recipe.accumulation / place.of;
        let ahead = (place.rank * turns) as u64;
        let fill = Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<u64>()[0] = ahead;
        }));
        let program = &mut model.program;
        let turn = program.add("turn", DType::U64, 1, Role::Scratch, fill);
        let own = model.parameters.iter().map(|p| p.gradient).collect();
        let mut step = Self {
            model,
            losses: vec![],
            norm: 0,
            states: vec![turn],
            turn,
            ahead,
            scaling: None,
            watched: vec![],
            main: Steps::default(),
            sometimes: None,
            trained: vec![],
            own,
            pace: 0,
        };
        if recipe.stored == DType::F16 {
            step.scale_losses();
        }
        let scale = 1.0 / (network.losses() * recipe.accumulation) as f32;
        step.add_up(0..turns, 0, &|model, number| {
            let losses = model.kept(&format!("losses.{number}"), network.losses());
            network.turn(model, turn, losses, scale);
            losses
        });
        step.set_gradients(&step.own.clone());
        if let Some(ranks) = ranks {
            step.add_up_ranks(ranks);
            draw::pass(
                &mut step.model.program,
                turn,
                (recipe.accumulation - turns) as u64,
            );
        }
        step.watched = network.watched(&mut step.model);
        step.clip(recipe);
        step.optimize(recipe);
        step.main = step.model.program.take_steps();
        if let Optimizer::SophiaG(_) = recipe.optimizer {
            step.estimate_curvatures(network, recipe);
        }
        step
    }

    /// Appends some turns, whose gradients are added up as a tree does, at some level of it.
    fn add_up(
        &mut self,
        turns: Range<usize>,
        level: usize,
        turn: &dyn Fn(&mut Model, usize) -> usize,
    ) {
        let sums = self.gradients_of_level(level);
        if turns.len() == 1 {
            self.set_gradients(&sums);
            let losses = turn(&mut self.model, turns.start);
            self.losses.push(losses);
            return;
        }
        let middle = turns.start + turns.len() / 2;
        self.add_up(turns.start..middle, level, turn);
        self.add_up(middle..turns.end, level + 1, turn);
        let others = self.gradients_of_level(level + 1);
        for (other, sum) in others.into_iter().zip(sums) {
            let Some((other, sum)) = other.zip(sum) else {
                continue;
            };
            let len = self.model.program.buffers[sum].len;
            self.model.program.belongs_to("accumulation");
            layers::accumulate(&mut self.model, len, other, sum);
        }
    }

    /// From here on, losses are scaled for the backward pass.
    fn scale_losses(&mut self) {
        let (program, scratch) = (&mut self.model.program, Role::Scratch);
        let fill = LossScale::fill(LOSS_SCALE);
        let scale = program.add("loss-scale", DType::F32, LossScale::LEN, scratch, fill);
        let found = program.add("not-finite", DType::U32, 2, scratch, Fill::Zero);
        self.model.loss_scale = Some(scale);
        self.states.push(scale);
        self.scaling = Some([scale, found]);
    }

    /// Appends taking the scale of losses out of gradients; a step with one that is no number is passed over.
    fn unscale(&mut self, trained: &[(Parameter, usize)]) {
        let Some([scale, found]) = self.scaling else {
            return;
        };
        let program = &mut self.model.program;
        program.belongs_to("loss-scale");
        for (parameter, gradient) in trained {
            let brick = Unscale {
                elements: parameter.len(),
                in_place: true,
            };
            brick.add(program, *gradient, found, scale);
        }
        let brick = LossScale {
            growth: 2.0,
            backoff: 0.5,
            interval: GROWTH_INTERVAL,
            in_place: true,
        };
        brick.add(program, found, scale, self.pace);
    }

    /// Appends the sums of gradients over all ranks.
    fn add_up_ranks(&mut self, ranks: &Ranks) {
        let gradients: Vec<_> = self.own.iter().flatten().copied().collect();
        let program = &mut self.model.program;
        program.belongs_to("all-reduce");
        ranks.all_reduce(program, &gradients);
    }

    /// Where gradients go at a level: those of level 0 are the parameters' own.
    fn gradients_of_level(&mut self, level: usize) -> Vec<Option<usize>> {
        if level == 0 {
            return self.own.clone();
        }
        let names = self.model.parameters.iter();
        let names: Vec<_> = names
            .map(|p| (format!("{}.of-turn-{level}", p.name), p.len()))
            .collect();
        let all = names.iter().zip(&self.own);
        all.map(|((name, len), own)| own.map(|_| self.model.kept(name, *len)))
            .collect()
    }

    fn set_gradients(&mut self, gradients: &[Option<usize>]) {
        let parameters = self.model.parameters.iter_mut();
        parameters
            .zip(gradients)
            .for_each(|(parameter, gradient)| parameter.gradient = *gradient);
    }

    /// The parameters that are trained, each with its gradient.
    fn trained(&self) -> Vec<(Parameter, usize)> {
        let parameters = self.model.parameters.iter();
        parameters
            .filter_map(|p| Some((p.clone(), p.gradient?)))
            .collect()
    }

    /// Appends what is done with gradients before the optimizer's step.
    fn clip(&mut self, recipe: &Recipe) {
        let trained = self.trained();
        self.pace = pace::add(&mut self.model.program);
        self.unscale(&trained);
        let model = &mut self.model;
        model.program.belongs_to("clipping");
        for (parameter, _) in &trained {
            if recipe.centralises {
                units::centralise(model, parameter);
            }
            if recipe.most_of_unit.is_finite() {
                units::clip(model, parameter, recipe.most_of_unit);
            }
        }
        let sums = model.kept("squares", trained.len());
        self.norm = model.kept("gradient-norm", 1);
        for (place, (parameter, gradient)) in trained.iter().enumerate() {
            let brick = SquareSum {
                elements: parameter.len(),
                is_free: false,
            };
            brick.add(&mut model.program, *gradient, sums, place);
        }
        let clip = ClipNorm {
            sums: trained.len(),
            most: recipe.most_norm,
        };
        clip.add(&mut model.program, sums, self.norm, self.pace);
    }

    /// Appends the optimizer's step.
    fn optimize(&mut self, recipe: &Recipe) {
        let trained = self.trained();
        let program = &mut self.model.program;
        let clock = Clock::add_buffer(program);
        self.states.push(clock);
        program.belongs_to("optimizer");
        recipe.clock.add(program, clock, self.pace);
        for (parameter, gradients) in trained {
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
                pace: self.pace,
            };
            step.add(program, tensors);
            self.trained.push((parameter, states.last().copied()));
            self.states.extend(states);
        }
    }

    /// Puts together what estimates curvatures now and then: a turn whose labels are drawn from what the model says. Every process
    /// does the same.
    fn estimate_curvatures(&mut self, network: &dyn Network, recipe: &Recipe) {
        let fill = Fill::Host(Box::new(|buffer, _| {
            buffer.get_mut::<u64>()[0] = CURVATURE_TURNS;
        }));
        let program = &mut self.model.program;
        let turn = program.add("curvature-turn", DType::U64, 1, Role::Scratch, fill);
        self.states.push(turn);
        let examples = network.curvature(&mut self.model, turn);
        let examples = examples.expect("a network with labels that can be drawn");
        let (program, pace) = (&mut self.model.program, self.pace);
        program.belongs_to("curvature");
        // Curvatures are those of gradients that nobody clips: as if all were 0.
        let [nothing, norm] = [("no-squares", 0), ("no-norm", 1)]
            .map(|(name, len)| program.add(name, DType::F32, len, Role::Scratch, Fill::Zero));
        let unclipped = ClipNorm {
            sums: 0,
            most: f32::INFINITY,
        };
        unclipped.add(program, nothing, norm, pace);
        for (parameter, curvature) in &self.trained {
            let (Some(gradients), Some(h)) = (parameter.gradient, *curvature) else {
                continue;
            };
            let brick = Curvature {
                elements: parameter.len(),
                gradients: DType::F32,
                beta2: CURVATURE_BETA,
                batch: examples as f32,
            };
            brick.add(program, h, gradients, pace);
        }
        self.sometimes = Some(Sometimes {
            every: recipe.curvature_every,
            steps: program.take_steps(),
        });
    }
}

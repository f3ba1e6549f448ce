//! A training that goes on step by step, and what is judged of it.

use std::path::PathBuf;

use assay_kernels::buffer::Buffer;
use assay_kernels::device::Team;
use assay_kernels::element::DType;
use assay_kernels::matrix::{Matrix, MatrixMut, Store, multiply_by};
use assay_kernels::ml::moe::NOWHERE;
use assay_kernels::program::{Fill, Role};
use assay_protocol::Failure;

use super::checkpoint;
use super::corpus::Corpus;
use super::decoder::{Decoder, Shape};
use super::model::{Model, Parameter};
use super::reference;
use super::session::Session;
use super::setup::Setup;
use super::step::TrainingStep;

/// Windows of the held-out part that a model is judged by, at most.
const HELD_OUT_WINDOWS: usize = 256;
/// Products and sums that the reference may take for the tokens that it computes.
const REFERENCE_FLOPS: usize = 1 << 31;

/// A training on the host.
pub struct Training {
    session: Session,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// How many of them multiply.
    pub multiplying: usize,
    /// How many of those are not trained.
    pub frozen: usize,
    base: Option<PathBuf>,
    /// Buffers of the losses of a step's turns.
    losses: Vec<usize>,
    norm: usize,
    /// Slots that choices of mixtures found.
    slots: Vec<usize>,
    /// What goes on from step to step besides parameters.
    states: Vec<usize>,
    /// Steps since it began.
    pub at: usize,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean loss of the step's tokens, in nats, before its update.
    pub loss: f64,
    /// Norm of all gradients, before clipping.
    pub norm: f64,
    /// Nanoseconds.
    pub ns: u64,
}

impl Training {
    /// Begins a training, by so many threads.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn new(setup: &Setup, corpus: &Corpus, threads: usize) -> Result<Self, Failure> {
        let mut step = TrainingStep::new(setup.seed, setup.shape, &setup.recipe, &corpus.train);
        let multiplying = step.decoder.multiplying(&step.model);
        let slots = step.decoder.slots(&mut step.model);
        let idle = step
            .model
            .parameters
            .iter()
            .filter(|p| p.gradient.is_none() && p.is_matrix());
        let frozen = idle
            .filter(|p| p.name != "places")
            .map(Parameter::len)
            .sum();
        let mut training = Self {
            multiplying,
            frozen,
            base: setup.base.clone(),
            parameters: step.model.parameters,
            session: Session::new(step.model.program, setup.seed, threads)?,
            losses: step.losses,
            norm: step.norm,
            slots,
            states: step.states,
            at: 0,
        };
        training.load_base()?;
        Ok(training)
    }

    fn load_base(&mut self) -> Result<(), Failure> {
        let Some(path) = self.base.clone() else {
            return Ok(());
        };
        checkpoint::load_base(self, &path)
            .map_err(|error| Failure::Failed(format!("parameter `base`: {error}")))
    }

    /// Takes one step.
    ///
    /// # Errors
    /// If its loss or the norm of its gradients is no finite number: that names the step, and where that shows first.
    pub fn step(&mut self) -> Result<Stepped, Failure> {
        let ns = self.session.run();
        self.at += 1;
        let of_turn = |losses: &usize| {
            let losses = self.session.buffers.get::<f32>(*losses);
            losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64
        };
        let loss = self.losses.iter().map(of_turn).sum::<f64>() / self.losses.len() as f64;
        let norm = f64::from(self.session.buffers.get::<f32>(self.norm)[0]);
        if loss.is_finite() && norm.is_finite() {
            return Ok(Stepped { loss, norm, ns });
        }
        Err(Failure::Failed(self.explain(loss, norm)))
    }

    /// Where a step went wrong: the first activation that is not finite, in the order of the forward pass, or gradient.
    fn explain(&self, loss: f64, norm: f64) -> String {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| parameter.buffer)
            .collect();
        let gradients: Vec<_> = self
            .parameters
            .iter()
            .filter_map(|parameter| parameter.gradient)
            .collect();
        // Parameters have been updated since; workspaces and moments are no tensors of the forward pass.
        let end = self.norm;
        let activations = self.session.names().filter(|(index, name)| {
            *index < end
                && Model::is_named(name)
                && !parameters.contains(index)
                && !gradients.contains(index)
        });
        let activations: Vec<_> = activations.map(|(index, _)| index).collect();
        let tensor = if loss.is_finite() {
            self.session.find_bad(gradients.into_iter())
        } else {
            self.session.find_bad(activations.into_iter())
        };
        format!(
            "step {}: the loss is {loss}, the norm of the gradients {norm}; the first tensor that is not finite is `{}`; lower the \
             `rate`, or `clip` more",
            self.at,
            tensor.as_deref().unwrap_or("a parameter")
        )
    }

    /// Nanoseconds of the last step, by the family of ops.
    pub fn families(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.session
            .families()
            .iter()
            .map(|(family, ns)| (*family, *ns))
    }

    /// All that it goes on from: names, shapes and buffers, parameters first.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>, &Buffer)> {
        let parameters = self.parameters.iter().map(|parameter| {
            let shape = match parameter.shape {
                [1, cols] => vec![cols],
                sides => sides.to_vec(),
            };
            (parameter.name.as_str(), shape, parameter.buffer)
        });
        let states = self.states.iter().map(|state| {
            let spec = self.session.spec(*state);
            (spec.name.as_ref(), vec![spec.len], *state)
        });
        let all = parameters.chain(states);
        all.map(|(name, shape, buffer)| (name, shape, &self.session.buffers.0[buffer]))
    }

    /// Replaces what [`Self::tensors`] has, in its order, by bytes.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn set_tensors(&mut self, bytes: &[&[u8]]) {
        let parameters = self.parameters.iter().map(|parameter| parameter.buffer);
        let buffers: Vec<_> = parameters.chain(self.states.iter().copied()).collect();
        assert_eq!(buffers.len(), bytes.len(), "tensors");
        for (buffer, bytes) in buffers.into_iter().zip(bytes) {
            self.session.buffers.0[buffer]
                .bytes_mut()
                .copy_from_slice(bytes);
        }
    }

    /// Begins again.
    ///
    /// # Errors
    /// If memory is lacking.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.at = 0;
        self.session.restart()?;
        self.load_base()
    }

    /// The share of choices of the last turn that found no slot, where there are mixtures.
    pub fn dropped(&self) -> Option<f64> {
        let slots = || {
            self.slots
                .iter()
                .flat_map(|slots| self.session.buffers.get::<u32>(*slots))
        };
        let count = slots().count();
        let dropped = slots().filter(|slot| **slot == NOWHERE).count();
        (count > 0).then(|| dropped as f64 / count as f64)
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.session.bytes()
    }

    /// The program that runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The elements of a parameter.
    pub fn values(&self, parameter: &Parameter) -> &[f32] {
        self.session.buffers.get(parameter.buffer)
    }
}

/// The forward pass alone, on windows that are held out.
pub struct Judge {
    session: Session,
    shape: Shape,
    parameters: Vec<Parameter>,
    given: [usize; 2],
    losses: usize,
}

/// How good a model is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Mean loss of held-out tokens that have at least half a window before them, in nats.
    pub loss: f64,
    /// Largest difference of a token's loss from the reference in `f64`.
    pub error: f64,
}

impl Judge {
    /// A judge of models of a shape.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn new(seed: u64, shape: Shape, threads: usize) -> Result<Self, Failure> {
        let mut model = Model::new(seed, false);
        let decoder = Decoder::new(&mut model, shape);
        let tokens = shape.tokens();
        let given = ["ids", "labels"].map(|name| {
            model
                .program
                .add(name, DType::U32, tokens, Role::Scratch, Fill::Zero)
        });
        let losses = model.kept("losses", tokens);
        decoder.forward(&mut model, given, losses);
        Ok(Self {
            parameters: model.parameters,
            session: Session::new(model.program, seed, threads)?,
            shape,
            given,
            losses,
        })
    }

    /// Judges what a training has come to.
    pub fn judge(&mut self, training: &Training, corpus: &Corpus) -> Judged {
        for (own, of_training) in self.parameters.iter().zip(&training.parameters) {
            self.session.buffers.0[own.buffer]
                .get_mut::<f32>()
                .copy_from_slice(training.values(of_training));
        }
        let length = self.shape.length;
        let windows = corpus.windows(length, HELD_OUT_WINDOWS);
        let (mut sum, mut count) = (0.0, 0);
        for batch in windows.chunks(self.shape.batch) {
            self.load(batch);
            self.session.run();
            let losses = self.session.buffers.get::<f32>(self.losses);
            for losses in losses.chunks_exact(length).take(batch.len()) {
                let last = &losses[length / 2..];
                sum += last.iter().map(|loss| f64::from(*loss)).sum::<f64>();
                count += last.len();
            }
        }
        Judged {
            loss: sum / f64::from(count as u32),
            error: self.error(),
        }
    }

    /// Windows at the first places of the batch; what is behind them stays as it was.
    fn load(&mut self, windows: &[[&[u32]; 2]]) {
        for (part, buffer) in self.given.into_iter().enumerate() {
            let out = self.session.buffers.0[buffer].get_mut::<u32>();
            for (out, window) in out.chunks_exact_mut(self.shape.length).zip(windows) {
                out.copy_from_slice(window[part]);
            }
        }
    }

    /// The largest difference of a loss of the first window from the reference, of as many tokens as that can compute.
    fn error(&self) -> f64 {
        let parameters: Vec<Vec<f64>> = self
            .parameters
            .iter()
            .map(|parameter| {
                let values = self.session.buffers.get::<f32>(parameter.buffer);
                values.iter().map(|x| f64::from(*x)).collect()
            })
            .collect();
        let size: usize = parameters.iter().map(Vec::len).sum();
        let tokens = (REFERENCE_FLOPS / (2 * size)).clamp(1, self.shape.length);
        let [ids, labels] = self
            .given
            .map(|buffer| &self.session.buffers.get::<u32>(buffer)[..tokens]);
        let (exact, _) = reference::losses(&self.shape, &parameters, ids, labels);
        let found = self.session.buffers.get::<f32>(self.losses);
        let differences = found
            .iter()
            .zip(exact)
            .map(|(found, exact)| (f64::from(*found) - exact).abs());
        differences.fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
    }
}

/// Products and sums a second of this machine's tuned product by so many threads: of 1024 cubed, the best of some.
///
/// # Errors
/// If threads cannot be started.
pub fn product_rate(threads: usize) -> Result<f64, Failure> {
    const SIDE: usize = 1024;
    let team = Team::new(threads)?;
    let (a, b) = (vec![0.5_f32; SIDE * SIDE], vec![0.25_f32; SIDE * SIDE]);
    let mut c = vec![0.0_f32; SIDE * SIDE];
    let mut once = || {
        let begin = std::time::Instant::now();
        let [left, right] = [&a, &b].map(|matrix| Matrix::whole(matrix, SIDE, SIDE));
        multiply_by(
            &team,
            MatrixMut::whole(&mut c, SIDE, SIDE),
            left,
            right,
            Store::Set,
        );
        begin.elapsed().as_secs_f64()
    };
    let best = (0..8).map(|_| once()).fold(f64::INFINITY, f64::min);
    Ok(2.0 * (SIDE as f64).powi(3) / best)
}

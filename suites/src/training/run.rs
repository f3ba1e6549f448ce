//! A training that goes on step by step, whatever is trained.

use std::path::PathBuf;

use assay_kernels::device::cuda::nccl::Peers as _;
use assay_kernels::ml::optimizer::Optimizer;
use assay_protocol::{Digest, Digesting, Failure};

use super::checkpoint::{self, CheckpointError, Contents};
use super::model::{Model, Parameter};
use super::network::Network;
use super::origin::Origin;
use super::plan::Plan;
use super::ranks::Ranks;
use super::session::{Device, Seen, Session, Took};
use super::step::TrainingStep;

/// Who trains: a device of this process, and perhaps others that do their parts.
#[derive(Clone)]
pub struct Together {
    /// Threads of this process, or a GPU.
    pub device: Device,
    /// All processes, if there are several.
    pub ranks: Option<Ranks>,
}

impl Together {
    /// This process alone, with so many threads.
    pub fn alone(threads: usize) -> Self {
        Self::on(Device::Host(threads))
    }

    /// This process alone, on a device.
    pub fn on(device: Device) -> Self {
        Self {
            device,
            ranks: None,
        }
    }
}

/// What a training begins with, whatever is trained.
pub struct Begin<'a> {
    /// How it is trained.
    pub plan: &'a Plan,
    /// All parameters.
    pub model: Model,
    /// What appends turns to the model.
    pub network: Box<dyn Network>,
    /// What a checkpoint says of the model.
    pub facts: Vec<(&'static str, String)>,
    /// The checkpoint that has the parameters which are not trained.
    pub base: Option<PathBuf>,
    /// Digests of its data.
    pub inputs: Vec<(&'static str, Digest)>,
}

impl<'a> Begin<'a> {
    /// With a network whose parameters the model has.
    pub fn new(plan: &'a Plan, model: Model, network: impl Network + 'static) -> Self {
        Self {
            plan,
            model,
            network: Box::new(network),
            facts: vec![],
            base: None,
            inputs: vec![],
        }
    }

    /// A step of it, for which nothing is allocated.
    pub fn step(self) -> TrainingStep {
        TrainingStep::new(self.model, &*self.network, &self.plan.recipe, None)
    }

    /// Begins it.
    ///
    /// # Errors
    /// If it does not fit into memory, or if there is no such base.
    pub fn training(self, team: &Together) -> Result<Training, Failure> {
        Training::new(self, team)
    }
}

/// What helps where numbers end.
pub const REMEDY: &str = "lower the `rate`, or `clip` more";

/// A training.
pub struct Training {
    session: Session,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// How they follow their gradients: of matrices; others do not decay.
    pub optimizer: Optimizer,
    /// What a checkpoint says of the model, for others that are to use it.
    pub facts: Vec<(&'static str, String)>,
    /// What another training has to have in common with it to go on from its checkpoints.
    pub origin: Origin,
    /// The ranks that it is trained by, if it is by several.
    ranks: Option<Ranks>,
    /// Its last step.
    last: usize,
    /// The checkpoint that has the parameters which are not trained, if it is from one.
    base: Option<PathBuf>,
    /// The checkpoint that it goes on from, if it does,
    resume: Option<PathBuf>,
    /// what both were when it began,
    files: Files,
    /// and how many steps the latter has come to.
    first: usize,
    /// The next turn of this rank, and how many of a step's turns are those of ranks before it.
    turn: usize,
    ahead: u64,
    /// Buffers of the losses of a step's turns.
    losses: Vec<usize>,
    norm: usize,
    scaling: Option<[usize; 2]>,
    watched: Vec<usize>,
    /// What goes on from step to step besides parameters.
    states: Vec<usize>,
    /// Steps since it began.
    at: usize,
}

/// The files that a training begins with, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    base: Option<Digest>,
    resume: Option<Contents>,
}

impl Files {
    /// What names each of them.
    fn digests(&self) -> Vec<(String, Digest)> {
        let base = self.base.map(|digest| ("base".to_owned(), digest));
        let resume = self.resume.as_ref().map(|contents| {
            let named = contents.named.iter();
            let lines: Vec<_> = named
                .map(|(name, digest)| format!("{name} {digest}\n"))
                .collect();
            ("resume".to_owned(), Digest::of(lines.concat()))
        });
        base.into_iter().chain(resume).collect()
    }

    /// All that was read of them, by names.
    fn named(&self) -> Vec<(String, Digest)> {
        let base = self
            .base
            .map(|digest| ("parameter `base`".to_owned(), digest));
        let resume = self.resume.iter().flat_map(|contents| &contents.named);
        let resume = resume.map(|(name, digest)| (format!("parameter `resume`: {name}"), *digest));
        base.into_iter().chain(resume).collect()
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean loss of the step's examples, in nats, before its update.
    pub loss: f64,
    /// Norm of all gradients, before clipping; 0 of a step that was passed over, for some were no numbers.
    pub norm: f64,
    /// How long it took.
    pub took: Took,
    /// What losses were multiplied by, if they were.
    pub scale: Option<f64>,
}

impl Training {
    fn new(begin: Begin, team: &Together) -> Result<Self, Failure> {
        let (plan, ranks) = (begin.plan, team.ranks.clone());
        let recipe = &plan.recipe;
        let step = TrainingStep::new(begin.model, &*begin.network, recipe, ranks.as_ref());
        let mut origin = plan.origin.clone();
        origin.set_inputs(&begin.inputs);
        let mut training = Self {
            optimizer: recipe.optimizer,
            facts: begin.facts,
            origin,
            ranks,
            last: plan.last(),
            parameters: step.model.parameters,
            session: Session::of_steps(
                step.model.program,
                step.main,
                step.sometimes,
                plan.seed,
                &team.device,
            )?,
            base: begin.base,
            resume: plan.resume.clone(),
            files: Files::default(),
            first: 0,
            turn: step.turn,
            ahead: step.ahead,
            losses: step.losses,
            norm: step.norm,
            scaling: step.scaling,
            watched: step.watched,
            states: step.states,
            at: 0,
        };
        training.files = training.load()?;
        training.first = training.at;
        training.agree_on_files()?;
        Ok(training)
    }

    /// Takes what it begins with from files, where it does.
    fn load(&mut self) -> Result<Files, Failure> {
        let mut files = Files::default();
        if let Some(path) = self.base.clone() {
            let digest = checkpoint::load_base(self, &path).map_err(of_parameter("base"))?;
            self.origin.set_base(&digest);
            files.base = Some(digest);
        }
        if let Some(path) = self.resume.clone() {
            let contents = checkpoint::load(self, &path).map_err(of_parameter("resume"))?;
            files.resume = Some(contents);
        }
        Ok(files)
    }

    /// That all ranks have read the same files: somebody may write one while they do.
    fn agree_on_files(&self) -> Result<(), Failure> {
        let Some(ranks) = &self.ranks else {
            return Ok(());
        };
        ranks.agree(&self.files.named())
    }

    /// Takes one step, as every rank does.
    ///
    /// # Errors
    /// If its loss or the norm of its gradients is no finite number: that names the step, and where that shows first. If a
    /// device fails, or another rank; or if ranks have come to other parameters.
    pub fn step(&mut self) -> Result<Stepped, Failure> {
        let stepped = self.take_step();
        if let (Err(why), Some(ranks)) = (&stepped, &self.ranks) {
            ranks.part(why);
        }
        stepped
    }

    fn take_step(&mut self) -> Result<Stepped, Failure> {
        let took = self.session.run()?;
        self.at += 1;
        let of_turns = self.losses.iter().map(|losses| self.mean(*losses));
        let mut of_turns = of_turns.collect::<Result<Vec<_>, _>>()?;
        if let Some(ranks) = &self.ranks {
            ranks.check()?;
            of_turns = ranks.gather(&of_turns)?;
        }
        let loss = of_turns.iter().sum::<f64>() / of_turns.len() as f64;
        let norm = f64::from(self.session.read(self.norm)?.get::<f32>()[0]);
        let scaling = self.scaling.map(|scaling| self.scaling(scaling));
        let scaling = scaling.transpose()?;
        let is_skipped = scaling.is_some_and(|(_, is_skipped)| is_skipped);
        let norm = if is_skipped { 0.0 } else { norm };
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Failure::Failed(self.explain(loss, norm)?));
        }
        self.agree()?;
        self.check_last()?;
        Ok(Stepped {
            loss,
            norm,
            took,
            scale: scaling.map(|(scale, _)| scale),
        })
    }

    /// Now and then, that all ranks have come to the same parameters: what each computes alone has to have the same bits.
    fn agree(&self) -> Result<(), Failure> {
        let is_due = self.at.is_power_of_two() || self.at == self.last;
        let Some(ranks) = self.ranks.as_ref().filter(|_| is_due) else {
            return Ok(());
        };
        let mut digest = Digesting::default();
        for parameter in self.parameters.iter().filter(|p| p.gradient.is_some()) {
            digest.update(self.session.read(parameter.buffer)?.bytes());
        }
        let name = format!("parameters after step {}", self.at);
        ranks.agree(&[(name, digest.finish())])
    }

    /// That the last update left numbers: of those before it the next loss tells.
    fn check_last(&self) -> Result<(), Failure> {
        if self.at < self.last {
            return Ok(());
        }
        let trained = self.parameters.iter().filter(|p| p.gradient.is_some());
        match self.session.find_bad(trained.map(|p| p.buffer))? {
            None => Ok(()),
            Some(name) => Err(Failure::Failed(format!(
                "step {}: its update left a `{name}` that is not finite; {REMEDY}",
                self.at
            ))),
        }
    }

    /// The mean of a turn's losses.
    fn mean(&self, losses: usize) -> Result<f64, Failure> {
        let losses = self.session.read(losses)?;
        let losses = losses.get::<f32>().iter();
        let count = losses.len() as f64;
        Ok(losses.map(|loss| f64::from(*loss)).sum::<f64>() / count)
    }

    /// What losses are multiplied by, and whether the last step was passed over.
    fn scaling(&self, [scale, found]: [usize; 2]) -> Result<(f64, bool), Failure> {
        let scale = self.session.read(scale)?.get::<f32>()[0];
        let found = self.session.read(found)?.get::<u32>()[1];
        Ok((scale.into(), found > 0))
    }

    /// Where a step went wrong: the first activation that is not finite, or gradient, in the order in which they were computed.
    fn explain(&self, loss: f64, norm: f64) -> Result<String, Failure> {
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
        let is_activation = |index: usize, name: &str| {
            index < self.norm
                && Model::is_named(index, name)
                && !parameters.contains(&index)
                && !gradients.contains(&index)
        };
        let of_loss = |(index, name): &(usize, &str)| {
            if loss.is_finite() {
                gradients.contains(index)
            } else {
                is_activation(*index, name)
            }
        };
        let suspects = self.session.in_order().filter(of_loss);
        let tensor = self.session.find_bad(suspects.map(|(index, _)| index))?;
        Ok(format!(
            "step {}: the loss is {loss}, the norm of the gradients {norm}; the first tensor that is not finite is `{}`; {REMEDY}",
            self.at,
            tensor.unwrap_or(&self.session.spec(self.norm).name)
        ))
    }

    /// Steps since it began.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Steps that it had come to where it was resumed.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Where it was resumed, and what of its recipe goes on otherwise, in words, if it was.
    pub fn resumed(&self) -> Option<String> {
        let contents = self.files.resume.as_ref()?;
        let changed = contents.changed.iter().map(|words| format!("; {words}"));
        let at = format!("after step {}", self.first);
        Some(changed.fold(at, |at, words| at + &words))
    }

    /// Digests of the checkpoints that it began with, by the names of their parameters.
    pub fn began_with(&self) -> Vec<(String, Digest)> {
        self.files.digests()
    }

    /// Nanoseconds of the last step, by the family of ops.
    pub fn families(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.session
            .families()
            .iter()
            .map(|(family, ns)| (*family, *ns))
    }

    /// All that it goes on from: names, shapes and numbers of buffers, parameters first, then scales of those that are codes.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>, usize)> {
        let parameters = self
            .parameters
            .iter()
            .map(|parameter| (parameter.name.as_str(), parameter.sides(), parameter.buffer));
        let others = self.others().map(|buffer| {
            let spec = self.session.spec(buffer);
            (spec.name.as_ref(), vec![spec.len], buffer)
        });
        parameters.chain(others)
    }

    /// Buffers of scales and states.
    fn others(&self) -> impl Iterator<Item = usize> {
        let scales = self.parameters.iter().filter_map(|p| p.scales);
        scales.chain(self.states.iter().copied())
    }

    /// Replaces a buffer.
    ///
    /// # Errors
    /// If a device fails.
    pub fn write(&mut self, buffer: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.session.write(buffer, bytes)
    }

    /// Goes on as after so many steps, with what [`Self::tensors`] had then of the first rank, whichever this one is.
    ///
    /// # Errors
    /// If a device fails.
    pub fn go_on(&mut self, at: usize, tensors: &[&[u8]]) -> Result<(), Failure> {
        self.set_tensors(tensors)?;
        let turn = self.session.read(self.turn)?.get::<u64>()[0].wrapping_add(self.ahead);
        self.session.write(self.turn, &turn.to_le_bytes())?;
        self.at = at;
        self.session.set_runs(at);
        Ok(())
    }

    /// Replaces what [`Self::tensors`] has, in its order, by bytes.
    ///
    /// # Errors
    /// If a device fails.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn set_tensors(&mut self, bytes: &[&[u8]]) -> Result<(), Failure> {
        let parameters = self.parameters.iter().map(|parameter| parameter.buffer);
        let buffers: Vec<_> = parameters.chain(self.others()).collect();
        assert_eq!(buffers.len(), bytes.len(), "tensors");
        let mut pairs = buffers.into_iter().zip(bytes);
        pairs.try_for_each(|(buffer, bytes)| self.session.write(buffer, bytes))
    }

    /// Begins again.
    ///
    /// # Errors
    /// If memory is lacking, or if a device fails; if it began with a file that is another one now.
    pub fn restart(&mut self) -> Result<(), Failure> {
        let restarted = self.begin_again();
        if let (Err(why), Some(ranks)) = (&restarted, &self.ranks) {
            ranks.part(why);
        }
        restarted
    }

    fn begin_again(&mut self) -> Result<(), Failure> {
        self.at = 0;
        self.session.restart()?;
        let files = self.load()?;
        self.ensure_same(&files)
    }

    /// Fails if another training of the same plan has begun with other files than this one.
    ///
    /// # Errors
    /// The file that was written in between.
    pub fn ensure_began_as(&self, other: &Self) -> Result<(), Failure> {
        self.ensure_same(&other.files)
    }

    fn ensure_same(&self, files: &Files) -> Result<(), Failure> {
        let is_other = |name, is_same: bool, path: &Option<PathBuf>| match path {
            Some(path) if !is_same => Err(Failure::Failed(format!(
                "parameter `{name}`: {}: it is another file than the one that the training began with: expected one that nobody \
                 writes meanwhile",
                path.display()
            ))),
            _ => Ok(()),
        };
        is_other("base", files.base == self.files.base, &self.base)?;
        is_other("resume", files.resume == self.files.resume, &self.resume)
    }

    /// Buffers that the network wanted to be seen, as the last step left them.
    ///
    /// # Errors
    /// If a device fails.
    pub fn watched(&self) -> Result<Vec<Seen<'_>>, Failure> {
        let buffers = self.watched.iter();
        buffers.map(|buffer| self.session.read(*buffer)).collect()
    }

    /// Losses of all examples of the last step, of each turn of this rank.
    ///
    /// # Errors
    /// If a device fails.
    pub fn losses(&self) -> Result<Vec<Vec<f32>>, Failure> {
        let read = |losses: &usize| Ok(self.session.read(*losses)?.get::<f32>().to_vec());
        self.losses.iter().map(read).collect()
    }

    /// Has the examples of this turn next.
    ///
    /// # Errors
    /// If a device fails.
    pub fn set_turn(&mut self, turn: u64) -> Result<(), Failure> {
        self.session.write(self.turn, &turn.to_le_bytes())
    }

    /// How many numbers all parameters have.
    pub fn size(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// Begins again, by so many threads of this process.
    ///
    /// # Errors
    /// If threads cannot be started; the same as [`Self::restart`].
    pub fn restart_with(&mut self, threads: usize) -> Result<(), Failure> {
        self.session.set_threads(threads)?;
        self.restart()
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
    ///
    /// # Errors
    /// If a device fails.
    pub fn values(&self, parameter: &Parameter) -> Result<Vec<f32>, Failure> {
        self.session.values(parameter)
    }
}

/// Of which parameter an error is.
pub fn of_parameter(name: &str) -> impl FnOnce(CheckpointError) -> Failure + '_ {
    move |error| Failure::Failed(format!("parameter `{name}`: {error}"))
}

//! Trainings as workloads: a step is timed while the model learns.
//!
//! A sample is one step, and samples are a training: step after step, of as many as `steps` says, then from the beginning again. Every
//! repeated step must give the bits of loss that it gave before; so must the first steps by one thread of one process or, on a GPU, when
//! they are done once more, and those of a model that is not too large have the losses and gradients of the host, but for rounding. When the
//! first training is over (or, where less was sampled, when the case is verified) the model is judged by what was held out, and
//! some of its losses there are compared with those of a reference in `f64`. What is trained is a [`Subject`].
//!
//! In timing mode `graph` a step on a GPU is a replay of one graph: its bits are those of single launches, and its families have no times.
//!
//! Where several ranks train, the first steps are also done by one alone: on the host and by two GPUs to the same bits. Of more GPUs, bits
//! are not promised, and losses are near.
//!
//! Utilisation is flops of the median step a second, by the formula of each subject, over what our own product reaches on the same device,
//! and over that of all ranks together. The product is taken between steps, when the first training is over, and when the case ends; its
//! rate is that of the fastest, and is told (`product_rate`).

mod company;
mod keeping;
mod repeating;

use std::collections::BTreeMap;

use assay_kernels::device::cuda;
use assay_kernels::element::DType;
use assay_protocol::{
    CaseSpec, DeviceKind, Digest, Direction, Failure, Measured, Metric, MetricKind, ParameterInfo,
    Prepared, TimingMode, Unit, Verification, Work, Workload, WorkloadInfo,
};

use super::examine::Examined;
use super::gauge::{product_rate, product_side, product_type};
use super::plan::Plan;
use super::run::{Begin, REMEDY, Stepped, Together, Training};
use crate::memory;
use company::Company;
use keeping::Keeping;
use repeating::{REPEATED, is_compared};

/// Steps whose mean loss has to be below the quality that is asked for.
const SMOOTHED: usize = 10;
/// The metric of what was held out.
const HELD_OUT_LOSS: &str = "held_out_loss";
/// The metric of what utilisation is over.
const PRODUCT_RATE: &str = "product_rate";
/// How far a loss may be from that in `f64`, in nats, or as a share of one above 1: some thousand roundings; a wrong op is off by much more.
const TOLERANCE: f64 = 1e-3;

/// What is trained, with its data and its judge.
pub trait Subject: 'static {
    /// How it is trained.
    fn plan(&self) -> &Plan;

    /// What a training begins with.
    ///
    /// # Errors
    /// If there is no such model.
    fn begin(&self) -> Result<Begin<'_>, Failure>;

    /// Begins a training.
    ///
    /// # Errors
    /// If it does not fit into memory, or if its base cannot be had.
    fn training(&self, team: &Together) -> Result<Training, Failure> {
        let begin = Begin {
            inputs: self.inputs(),
            ..self.begin()?
        };
        begin.training(team)
    }

    /// Digests of its data.
    fn inputs(&self) -> Vec<(&'static str, Digest)>;

    /// Judges what a training has come to.
    ///
    /// # Errors
    /// If that takes more memory than there is.
    fn judge(&mut self, training: &Training) -> Result<Judged, Failure>;

    /// Examines the step that is timed, of all its size, with numbers whose answer can be had. The training is somewhere else then.
    ///
    /// # Errors
    /// If a device fails.
    fn examine(&self, _: &mut Training) -> Result<Examined, Failure> {
        Ok(Examined::default())
    }

    /// What is seen after each step, besides its loss and the norm of its gradients.
    ///
    /// # Errors
    /// If a device fails.
    fn observe(&self, _: &Training) -> Result<Vec<(&'static str, f64)>, Failure> {
        Ok(vec![])
    }

    /// What no loss stays below, in nats, where that is known: the entropy of what is trained on, unless the model gets to know it by heart,
    /// and that of what is held out.
    fn floors(&self) -> [Option<f64>; 2] {
        [None; 2]
    }

    /// What is known of it before it is trained.
    fn describe(&self, training: &Training) -> Description;
}

/// What a subject says of itself.
pub struct Description {
    /// Tokens, rows or pictures of a step.
    pub items: usize,
    /// How items and flops are counted.
    pub formula: &'static str,
    /// Flops of a step by each formula, with the names of the metrics of utilisation; the last is the work.
    pub flops: Vec<(&'static str, usize)>,
    /// Metrics that only it has.
    pub metrics: Vec<Metric>,
    /// What else somebody may want to know.
    pub facts: Vec<(&'static str, String)>,
}

/// How good a model is.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Mean loss of what was held out, in nats.
    pub loss: f64,
    /// Largest difference of a loss from the reference in `f64`.
    pub error: f64,
    /// Values of the metrics that only this subject has.
    pub values: BTreeMap<String, f64>,
    /// What it was to come to, and did not.
    pub missed: Option<String>,
}

impl Judged {
    /// Fails if something of it is no number, as what is too large is.
    fn check(&self, step: usize) -> Result<(), Failure> {
        let of_loss = [(HELD_OUT_LOSS, self.loss)].into_iter();
        let values = self.values.iter().map(|(name, x)| (name.as_str(), *x));
        match of_loss.chain(values).find(|(_, x)| !x.is_finite()) {
            None => Ok(()),
            Some((name, x)) => Err(Failure::Failed(format!(
                "step {step}: after its update `{name}` is {x}, of a held-out loss of {}; {REMEDY}",
                self.loss
            ))),
        }
    }

    /// Misses something, unless a value of its own is at least so large.
    #[must_use]
    pub fn at_least(mut self, name: &str, least: f64) -> Self {
        let found = self.values.get(name).copied().unwrap_or(f64::NAN);
        if found < least || found.is_nan() {
            self.missed = Some(format!("{name} is {found:.4}: expected at least {least}"));
        }
        self
    }
}

/// The unit of losses.
const NATS: &str = "nats";

/// A metric.
pub fn metric(name: &str, unit: &str, direction: Direction, kind: MetricKind) -> Metric {
    Metric::new(name, Unit::from(unit), direction, kind)
}

/// The catalog's description of a training.
pub fn info(name: &str, summary: &str, parameters: Vec<ParameterInfo>) -> WorkloadInfo {
    WorkloadInfo {
        name: name.into(),
        summary: summary.into(),
        // 2: utilisation is over shorter products; losses are told by the bytes that were judged; rates of all batches are.
        definition: 2,
        parameters,
        timing: vec![TimingMode::Hot, TimingMode::Graph],
        devices: vec![DeviceKind::Cpu, DeviceKind::Cuda],
    }
}

/// Prepares the training of a subject.
///
/// # Errors
/// If it does not fit into memory.
pub fn prepare(case: &CaseSpec, subject: impl Subject) -> Result<Box<dyn Workload>, Failure> {
    Ok(Box::new(Case::new(case, subject)?))
}

struct Case<S> {
    subject: S,
    training: Training,
    /// Other ranks that go step by step with this one.
    company: Company,
    /// Its checkpoints.
    keeping: Keeping,
    flops: Vec<(&'static str, usize)>,
    prepared: Prepared,
    /// Of the first training, as far as it came.
    curve: Vec<Stepped>,
    judged: Option<Judged>,
    /// The most memory that this process held until it was judged, where that is known.
    peak: Option<f64>,
    /// Flops a second of the fastest product.
    product_rate: f64,
    /// The first step whose loss was another when it was repeated.
    differs: Option<usize>,
    /// What was found when its steps were repeated and examined, and what was not done, in words.
    notes: Vec<String>,
}

impl<S: Subject> Case<S> {
    fn new(case: &CaseSpec, subject: S) -> Result<Self, Failure> {
        let device = subject.plan().device.clone();
        let keeping = Keeping::of(subject.plan())?;
        let (mut company, ranks) = Company::meet(case, subject.plan())?;
        // If it cannot, its connections are gone by then, so that others do not wait.
        let begun = subject.training(&Together { device, ranks });
        let begun = begun.and_then(|begun| keeping.check(&begun).map(|()| begun));
        let training = company.join(begun)?;
        ensure_not_over(subject.plan(), training.at())?;
        let description = subject.describe(&training);
        let flops = description.flops.clone();
        let mut prepared = prepared(&subject, &training, &company, description);
        let metrics = prepared.metrics.iter_mut();
        for loss in metrics.filter(|metric| metric.unit.symbol() == NATS) {
            let [trained, held_out] = subject.floors();
            loss.floor = if loss.name == HELD_OUT_LOSS {
                held_out
            } else {
                trained
            };
        }
        Ok(Self {
            flops,
            prepared,
            subject,
            training,
            company,
            keeping,
            curve: vec![],
            judged: None,
            peak: None,
            product_rate: 0.0,
            differs: None,
            notes: vec![],
        })
    }

    /// The last step.
    fn last(&self) -> usize {
        self.subject.plan().last()
    }

    /// Steps of a training: of one that is resumed, those that are left.
    fn steps(&self) -> usize {
        self.last() - self.training.first()
    }

    /// Takes a step, and compares it with what it was before.
    fn step(&mut self) -> Result<Stepped, Failure> {
        let training = &mut self.training;
        let stepped = self.company.step(|| training.step())?;
        let place = self.training.at() - 1 - self.training.first();
        match self.curve.get(place) {
            None => self.curve.push(stepped),
            Some(before) if before.loss.to_bits() != stepped.loss.to_bits() => {
                self.differs = self.differs.or(Some(self.training.at()));
            }
            Some(_) => {}
        }
        Ok(stepped)
    }

    /// Judges the model at the end of the first training, and writes it, if somebody wants it.
    fn judge_once(&mut self) -> Result<(), Failure> {
        if self.judged.is_some() || self.training.at() != self.last() {
            return Ok(());
        }
        // Before anything is checked: what that takes is not the training's.
        self.peak = memory::peak();
        // What judging finds, and whether it can be done, is no reason to lose a training.
        self.keeping.keep(&self.training)?;
        self.gauge()?;
        let judged = self.subject.judge(&self.training)?;
        judged.check(self.last())?;
        self.judged = Some(judged);
        Ok(())
    }

    /// Goes on to the end of the first training, untimed.
    fn complete(&mut self) -> Result<Judged, Failure> {
        while self.curve.len() < self.steps() {
            self.keeping.keep(&self.training)?;
            self.step()?;
        }
        self.judge_once()?;
        self.judged
            .clone()
            .ok_or_else(|| Failure::Failed("the training was not judged at its end".into()))
    }

    /// The step from which on the mean loss of some is what is asked for, and the nanoseconds until then, where that is known: of a training
    /// that was resumed, what came before it took some, too.
    fn reached(&self, quality: f64) -> Option<(usize, Option<f64>)> {
        let mean = |window: &[Stepped]| {
            window.iter().map(|step| step.loss).sum::<f64>() / window.len() as f64
        };
        let smoothed = SMOOTHED.min(self.steps());
        let first = self
            .curve
            .windows(smoothed)
            .position(|window| mean(window) <= quality)?;
        let steps = first + smoothed;
        let before = self.training.first();
        let ns = self.curve[..steps].iter().map(|step| step.took.ns() as f64);
        Some((before + steps, (before == 0).then(|| ns.sum())))
    }

    /// What is wrong with a training, if anything is.
    fn fault(&mut self, judged: &Judged) -> Result<Option<String>, Failure> {
        let beside = self.strays()?;
        if let Some(step) = self.differs.filter(|_| self.prepared.deterministic) {
            let words = format!("step {step} gave another loss when it was repeated");
            return Ok(Some(words));
        }
        if beside.is_some() {
            return Ok(beside);
        }
        let quality = self.subject.plan().quality;
        if let Some(quality) = quality.filter(|quality| self.reached(*quality).is_none()) {
            let steps = self.steps();
            let words = format!(
                "the quality was not reached: the loss did not come down to {quality} in {steps} steps"
            );
            return Ok(Some(words));
        }
        Ok(judged.missed.clone())
    }

    /// Digest of all losses of the first training.
    fn digest(&self) -> Digest {
        let bits = self.curve.iter().map(|step| step.loss.to_le_bytes());
        Digest::of(bits.collect::<Vec<_>>().concat())
    }

    /// Takes the product that utilisation is over.
    fn gauge(&mut self) -> Result<(), Failure> {
        let plan = self.subject.plan();
        let side = product_side(&plan.device, most(&self.flops));
        let rate = product_rate(&plan.device, plan.recipe.stored, side)? * plan.ranks as f64;
        self.product_rate = self.product_rate.max(rate);
        Ok(())
    }

    /// Flops a second over those of a product, by each formula.
    fn utilisation(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let mut times: Vec<u64> = self.curve.iter().map(|step| step.took.ns()).collect();
        times.sort_unstable();
        let seconds = times[times.len() / 2].max(1) as f64 / 1e9;
        let flops = self.flops.iter();
        flops.map(move |(name, flops)| (*name, *flops as f64 / seconds / self.product_rate))
    }
}

/// Fails if nothing is left of a training that was resumed.
fn ensure_not_over(plan: &Plan, at: usize) -> Result<(), Failure> {
    let last = plan.last();
    if at < last {
        return Ok(());
    }
    let name = if plan.stop.is_some() { "stop" } else { "steps" };
    Err(Failure::Failed(format!(
        "parameter `resume`: its training has come to step {at}; expected less than `{name}`, {last}"
    )))
}

/// Flops of a step, by the formula that counts the most.
fn most(flops: &[(&'static str, usize)]) -> usize {
    flops.iter().map(|(_, flops)| *flops).max().unwrap_or(0)
}

fn family_metric(family: &str) -> String {
    format!("time_{}", family.replace('-', "_"))
}

/// The metrics of every training.
fn metrics(plan: &Plan, training: &Training) -> Vec<Metric> {
    let (sample, case) = (MetricKind::Sample, MetricKind::Case);
    let mut metrics = vec![
        metric("loss", NATS, Direction::Neutral, sample),
        metric("gradient_norm", "1", Direction::Neutral, sample),
        metric("final_loss", NATS, Direction::Lower, case),
        metric(HELD_OUT_LOSS, NATS, Direction::Lower, case),
        // Of the process on the host; on a GPU of what is there.
        metric("peak_memory", "B", Direction::Lower, case),
        metric("buffer_memory", "B", Direction::Lower, case),
    ];
    let families = training.families();
    metrics.extend(
        families.map(|(family, _)| metric(&family_metric(family), "ns", Direction::Lower, sample)),
    );
    if plan.recipe.stored == DType::F16 {
        metrics.push(metric("loss_scale", "1", Direction::Neutral, sample));
    }
    if plan.device.is_cuda() {
        metrics.push(cuda::sm_clock());
    }
    if plan.quality.is_some() {
        if training.first() == 0 {
            metrics.push(metric("time_to_quality", "ns", Direction::Lower, case));
        }
        metrics.push(metric("steps_to_quality", "1", Direction::Lower, case));
    }
    metrics
}

fn prepared(
    subject: &impl Subject,
    training: &Training,
    company: &Company,
    description: Description,
) -> Prepared {
    let plan = subject.plan();
    let own = |(name, value): (&str, String)| (name.to_owned(), value);
    let mut facts: BTreeMap<_, _> = description.facts.into_iter().map(own).collect();
    facts.insert("parameters".into(), training.size().to_string());
    facts.insert("mfu".into(), over(plan, &description.flops));
    facts.extend(company.gpus().map(|gpus| ("ranks".into(), gpus)));
    facts.extend(training.resumed().map(|words| ("resumed".into(), words)));
    if plan.quality.is_some() && training.first() > 0 {
        let words = format!(
            "`steps_to_quality` counts the {} steps before, in which it may have been reached; how long they took is not known, so there \
             is no `time_to_quality`",
            training.first()
        );
        facts.insert("quality".into(), words);
    }
    if let Some((_, of_kernels)) = training.session().gpu() {
        facts.extend(of_kernels.clone());
        let compared = if is_compared(&description.flops) {
            format!("losses and gradients of the first {REPEATED} steps")
        } else {
            "nothing: a step has too many flops".into()
        };
        facts.insert("compared with the host".into(), compared);
    }
    let of_data = subject.inputs().into_iter();
    let of_data = of_data.map(|(name, digest)| (name.to_owned(), digest));
    let names = description.flops.iter().map(|(name, _)| *name);
    let utilisation = names.map(|name| metric(name, "1", Direction::Higher, MetricKind::Case));
    let mut metrics = metrics(plan, training);
    metrics.extend(utilisation.chain(description.metrics));
    metrics.push(metric(
        PRODUCT_RATE,
        "FLOP/s",
        Direction::Neutral,
        MetricKind::Case,
    ));
    Prepared {
        work: Work {
            flops: description.flops.last().map(|(_, flops)| *flops as u64),
            items: Some(description.items as u64),
            formula: description.formula.into(),
            ..Work::default()
        },
        metrics,
        inputs: of_data.chain(training.began_with()).collect(),
        // In which order NCCL adds up more than two numbers, it does not promise.
        deterministic: !plan.device.is_cuda() || plan.ranks <= 2,
        device: company
            .device()
            .or_else(|| training.session().gpu().map(|(uuid, _)| uuid.to_owned())),
        timer_resolution_ns: training.session().resolution_ns(),
        facts,
        ..Prepared::default()
    }
}

/// What utilisation is over, in words.
fn over(plan: &Plan, flops: &[(&'static str, usize)]) -> String {
    let side = product_side(&plan.device, most(flops));
    let by = if plan.device.is_cuda() {
        "our own kernel"
    } else {
        "the same threads"
    };
    let dtype = product_type(&plan.device, plan.recipe.stored);
    let of_ranks = match plan.ranks {
        1 => String::new(),
        ranks => format!(", times {ranks} ranks"),
    };
    format!(
        "of the median step, over `{PRODUCT_RATE}`, that of the fastest product of {side} cubed in {dtype} by {by}{of_ranks}"
    )
}

impl<S: Subject> Workload for Case<S> {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// After the last step, the first comes next.
    fn restore(&mut self) -> Result<(), Failure> {
        if self.training.at() == self.last() {
            self.judge_once()?;
            return self.training.restart();
        }
        self.keeping.keep(&self.training)
    }

    fn most_iterations(&self) -> u64 {
        1
    }

    fn run(&mut self, _: u64) -> Result<Measured, Failure> {
        let stepped = self.step()?;
        let mut values: BTreeMap<String, f64> = self
            .training
            .families()
            .map(|(family, ns)| (family_metric(family), ns as f64))
            .collect();
        values.insert("loss".into(), stepped.loss);
        values.insert("gradient_norm".into(), stepped.norm);
        values.extend(stepped.scale.map(|scale| ("loss_scale".to_owned(), scale)));
        let took = stepped.took;
        values.extend(took.clock_mhz.map(|mhz| (cuda::SM_CLOCK.to_owned(), mhz)));
        let seen = self.subject.observe(&self.training)?;
        values.extend(seen.into_iter().map(|(name, x)| (name.to_owned(), x)));
        Ok(Measured {
            host_ns: Some(took.host_ns),
            device_ns: took.device_ns,
            values,
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        if self.curve.is_empty() {
            return Err(Failure::Failed("nothing was sampled yet".into()));
        }
        let judged = self.complete()?;
        self.notes.clear();
        let fault = self.fault(&judged)?;
        let passed = fault.is_none() && judged.error <= TOLERANCE;
        let detail = if judged.error.is_finite() {
            "largest difference of a held-out loss from that in f64, in nats, or as a share of a loss above 1; the digest is of all \
             losses of the training"
        } else {
            "a held-out loss is no finite number in f64, or here: they cannot be compared"
        };
        let notes = self.notes.iter().map(String::as_str);
        let notes = notes.chain(self.keeping.note());
        let notes = notes.map(|words| format!("; {words}"));
        let detail = notes.fold(detail.to_owned(), |detail, words| detail + &words);
        Ok(Verification {
            passed,
            error: Some(judged.error).filter(|error| error.is_finite()),
            tolerance: Some(TOLERANCE),
            output: Some(self.digest()),
            detail: fault.unwrap_or(detail),
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let judged = self.complete()?;
        let last = self.curve.iter().rev().take(SMOOTHED);
        let final_loss = last.clone().map(|step| step.loss).sum::<f64>() / last.count() as f64;
        let mut values = judged.values;
        let mut put = |name: &str, value| values.insert(name.to_owned(), value);
        put("final_loss", final_loss);
        put(HELD_OUT_LOSS, judged.loss);
        let buffers = self.training.bytes() as f64;
        put("buffer_memory", buffers);
        let on_gpu = self.training.session().gpu().map(|_| buffers);
        if let Some(peak) = on_gpu.or(self.peak) {
            put("peak_memory", peak);
        }
        self.gauge()?;
        put(PRODUCT_RATE, self.product_rate);
        for (name, share) in self.utilisation() {
            put(name, share);
        }
        let quality = self.subject.plan().quality;
        // One that was not reached has no time.
        if let Some((steps, ns)) = quality.and_then(|quality| self.reached(quality)) {
            put("steps_to_quality", steps as f64);
            if let Some(ns) = ns {
                put("time_to_quality", ns);
            }
        }
        Ok(values)
    }
}

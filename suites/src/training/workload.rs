//! `train-lm`: a step of training a language model, timed while the model learns.
//!
//! A sample is one step, and samples are a training: step after step, of as many as `steps` says, then from the beginning again. Every
//! repeated step must give the bits of loss that it gave before, and so must its first steps by one thread. When the
//! first training is over (or, where less was sampled, when the case is verified) the model is judged by text that was held out, and
//! its losses there are compared with those of a reference in `f64`.
//!
//! Work: `6 N + 12 L W S` flops a token, with `N` parameters that multiply, `L` layers of width `W` and sequences of `S` (A. Chowdhery et
//! al., "`PaLM`", 2022, appendix B), the attention of which is counted whole, without its mask. `mfu_palm` is this, `mfu_6n` the `6 N` alone
//! (J. Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1), both over what a product of 1024 cubed reaches by
//! the same threads, measured when the case ends. Of a mixture `N` has the experts that a token goes to; of parameters that are not trained it is
//! `4 N`, for they have no gradient.

use std::collections::BTreeMap;

use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Digest, Direction, Failure, Measured, Metric, MetricKind,
    Prepared, TimingMode, Unit, Verification, Work, Workload, WorkloadInfo,
};

use super::checkpoint;
use super::corpus::Corpus;
use super::run::{Judge, Judged, Stepped, Training, product_rate};
use super::setup::{self, Setup};

/// Steps that are done once more by one thread.
const REPEATED: usize = 3;
/// Steps whose mean loss has to be below the quality that is asked for.
const SMOOTHED: usize = 10;
/// How far a token's loss may be from that in `f64`, in nats: some thousand roundings; a wrong op is off by much more.
const TOLERANCE: f64 = 1e-3;

/// The catalog entry.
pub struct TrainLm;

impl Catalog for TrainLm {
    fn info(&self) -> WorkloadInfo {
        WorkloadInfo {
            name: "train-lm".into(),
            summary: "a step of training a language model on bytes, while it learns".into(),
            definition: 1,
            parameters: setup::infos(),
            timing: vec![TimingMode::Hot],
            devices: vec![DeviceKind::Cpu],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        Ok(Box::new(Case::new(Setup::of(case)?)?))
    }
}

struct Case {
    setup: Setup,
    corpus: Corpus,
    training: Training,
    judge: Judge,
    prepared: Prepared,
    /// Of the first training, as far as it came.
    curve: Vec<Stepped>,
    judged: Option<Judged>,
    /// The first step whose loss was another when it was repeated.
    differs: Option<usize>,
}

impl Case {
    fn new(setup: Setup) -> Result<Self, Failure> {
        let corpus = setup.corpus()?;
        let training = Training::new(&setup, &corpus, setup.threads)?;
        let judge = Judge::new(setup.seed, setup.shape, setup.threads)?;
        let prepared = describe(&setup, &corpus, &training);
        Ok(Self {
            setup,
            corpus,
            training,
            judge,
            prepared,
            curve: vec![],
            judged: None,
            differs: None,
        })
    }

    /// Takes a step, and compares it with what it was before.
    fn step(&mut self) -> Result<Stepped, Failure> {
        let stepped = self.training.step()?;
        match self.curve.get(self.training.at - 1) {
            None => self.curve.push(stepped),
            Some(before) if before.loss.to_bits() != stepped.loss.to_bits() => {
                self.differs = self.differs.or(Some(self.training.at));
            }
            Some(_) => {}
        }
        Ok(stepped)
    }

    /// Judges the model at the end of the first training, and writes it, if somebody wants it.
    fn judge_once(&mut self) -> Result<(), Failure> {
        if self.judged.is_some() || self.training.at != self.setup.steps {
            return Ok(());
        }
        self.judged = Some(self.judge.judge(&self.training, &self.corpus));
        if let Some(path) = &self.setup.save {
            checkpoint::save(&self.training, path)
                .map_err(|error| Failure::Failed(format!("parameter `save`: {error}")))?;
        }
        Ok(())
    }

    /// Goes on to the end of the first training, untimed.
    fn complete(&mut self) -> Result<Judged, Failure> {
        while self.curve.len() < self.setup.steps {
            self.step()?;
        }
        self.judge_once()?;
        self.judged
            .ok_or_else(|| Failure::Failed("the training was not judged at its end".into()))
    }

    /// The first of some steps that one thread does otherwise.
    fn differs_alone(&self) -> Result<Option<usize>, Failure> {
        if self.setup.threads == 1 {
            return Ok(None);
        }
        let mut alone = Training::new(&self.setup, &self.corpus, 1)?;
        for before in self.curve.iter().take(REPEATED) {
            if alone.step()?.loss.to_bits() != before.loss.to_bits() {
                return Ok(Some(alone.at));
            }
        }
        Ok(None)
    }

    /// The step from which on the mean loss of some is what is asked for, and the nanoseconds until then.
    fn reached(&self, quality: f64) -> Option<(usize, f64)> {
        let mean = |window: &[Stepped]| {
            window.iter().map(|step| step.loss).sum::<f64>() / window.len() as f64
        };
        let first = self
            .curve
            .windows(SMOOTHED.min(self.setup.steps))
            .position(|window| mean(window) <= quality)?;
        let steps = first + SMOOTHED.min(self.setup.steps);
        let ns = self.curve[..steps].iter().map(|step| step.ns as f64).sum();
        Some((steps, ns))
    }

    /// Digest of all losses of the first training.
    fn digest(&self) -> Digest {
        let bits = self.curve.iter().map(|step| step.loss.to_le_bytes());
        Digest::of(bits.collect::<Vec<_>>().concat())
    }
}

/// Flops of a token, by both formulas: without those of attention, and with.
fn flops_per_token(setup: &Setup, training: &Training) -> [u64; 2] {
    let shape = &setup.shape;
    let of_products = 6 * training.multiplying - 2 * training.frozen;
    let of_attention = 12 * shape.layers * shape.width * shape.length;
    [of_products, of_products + of_attention].map(|flops| flops as u64)
}

fn metrics(setup: &Setup, corpus: &Corpus, training: &Training) -> Vec<Metric> {
    let metric = |name: &str, unit: &str, direction, kind| Metric {
        name: name.into(),
        unit: Unit::from(unit),
        direction,
        kind,
    };
    let (sample, case) = (MetricKind::Sample, MetricKind::Case);
    let mut metrics = vec![
        metric("loss", "nats", Direction::Neutral, sample),
        metric("gradient_norm", "1", Direction::Neutral, sample),
        metric("final_loss", "nats", Direction::Lower, case),
        metric("held_out_loss", "nats", Direction::Lower, case),
        metric("perplexity", "1", Direction::Lower, case),
        metric("peak_memory", "B", Direction::Lower, case),
        metric("mfu_palm", "1", Direction::Higher, case),
        metric("mfu_6n", "1", Direction::Higher, case),
    ];
    metrics.extend(
        training
            .families()
            .map(|(family, _)| metric(&family_metric(family), "ns", Direction::Lower, sample)),
    );
    if setup.shape.routing.is_some() {
        metrics.push(metric("dropped_choices", "1", Direction::Lower, sample));
    }
    if corpus.floor.is_some() {
        metrics.push(metric("loss_over_entropy", "1", Direction::Lower, case));
    }
    if setup.quality.is_some() {
        metrics.push(metric("time_to_quality", "ns", Direction::Lower, case));
        metrics.push(metric("steps_to_quality", "1", Direction::Lower, case));
    }
    metrics
}

fn family_metric(family: &str) -> String {
    format!("time_{}", family.replace('-', "_"))
}

fn describe(setup: &Setup, corpus: &Corpus, training: &Training) -> Prepared {
    let tokens = setup.shape.tokens() * setup.recipe.accumulation;
    let parameters: usize = training
        .parameters
        .iter()
        .map(|p| p.shape[0] * p.shape[1])
        .sum();
    let [_, flops] = flops_per_token(setup, training);
    let mut facts: BTreeMap<String, String> = [
        ("parameters", parameters.to_string()),
        ("parameters.multiplying", training.multiplying.to_string()),
        ("corpus.train", format!("{} bytes", corpus.train.len())),
        (
            "corpus.held_out",
            format!("{} bytes", corpus.held_out.len()),
        ),
        (
            "corpus.leaked",
            format!("{:.4} of held-out lines are trained on", corpus.leaked),
        ),
        (
            "mfu",
            "over the rate of a product of 1024 cubed by the same threads".into(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(floor) = corpus.floor {
        facts.insert("corpus.entropy".into(), format!("{floor:.6} nats a byte"));
    }
    Prepared {
        work: Work {
            flops: Some(flops.saturating_mul(tokens as u64)),
            items: Some(tokens as u64),
            formula: "items = tokens = batch length accumulation, flops = (6 N + 12 L W S) tokens; N parameters that multiply, \
                      L = layers, W = width, S = length"
                .into(),
            ..Work::default()
        },
        metrics: metrics(setup, corpus, training),
        inputs: [("corpus".to_owned(), corpus.digest)].into(),
        deterministic: true,
        facts,
        ..Prepared::default()
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// After the last step, the first comes next.
    fn restore(&mut self) -> Result<(), Failure> {
        if self.training.at == self.setup.steps {
            self.judge_once()?;
            self.training.restart()?;
        }
        Ok(())
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
        values.extend(
            self.training
                .dropped()
                .map(|share| ("dropped_choices".to_owned(), share)),
        );
        Ok(Measured {
            host_ns: Some(stepped.ns),
            values,
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        if self.curve.is_empty() {
            return Err(Failure::Failed("nothing was sampled yet".into()));
        }
        let judged = self.complete()?;
        let unreached = self
            .setup
            .quality
            .filter(|quality| self.reached(*quality).is_none());
        let (passed, detail) = if let Some(step) = self.differs {
            (
                false,
                format!("step {step} gave another loss when it was repeated"),
            )
        } else if let Some(step) = self.differs_alone()? {
            (
                false,
                format!("step {step} gives another loss by one thread"),
            )
        } else if let Some(quality) = unreached {
            (
                false,
                format!(
                    "the loss did not come down to {quality} in {} steps",
                    self.setup.steps
                ),
            )
        } else {
            let detail = "largest difference of a held-out token's loss from that in f64, in nats; the digest is of all \
                          losses of the training";
            (judged.error <= TOLERANCE, detail.to_owned())
        };
        Ok(Verification {
            passed,
            error: Some(judged.error).filter(|error| error.is_finite()),
            tolerance: Some(TOLERANCE),
            output: Some(self.digest()),
            detail,
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let judged = self.complete()?;
        let tokens = (self.setup.shape.tokens() * self.setup.recipe.accumulation) as f64;
        let mut times: Vec<u64> = self.curve.iter().map(|step| step.ns).collect();
        times.sort_unstable();
        let seconds = times[times.len() / 2].max(1) as f64 / 1e9;
        let rate = product_rate(self.setup.threads)?;
        let [of_products, of_all] = flops_per_token(&self.setup, &self.training)
            .map(|flops| flops as f64 * tokens / seconds / rate);
        let last = self.curve.iter().rev().take(SMOOTHED);
        let final_loss = last.clone().map(|step| step.loss).sum::<f64>() / last.count() as f64;
        let mut values: BTreeMap<String, f64> = [
            ("final_loss", final_loss),
            ("held_out_loss", judged.loss),
            ("perplexity", judged.loss.exp()),
            ("peak_memory", self.training.bytes() as f64),
            ("mfu_palm", of_all),
            ("mfu_6n", of_products),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(floor) = self.corpus.floor {
            values.insert("loss_over_entropy".into(), judged.loss / floor);
        }
        if let Some(quality) = self.setup.quality {
            let (steps, ns) = self
                .reached(quality)
                .unwrap_or((self.setup.steps, f64::MAX));
            values.insert("time_to_quality".into(), ns);
            values.insert("steps_to_quality".into(), steps as f64);
        }
        Ok(values)
    }
}

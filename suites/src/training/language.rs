//! `train-lm`: a language model that learns text, byte by byte, or token by token of a tokenizer's file.
//!
//! It is judged by text that was held out, of which its losses are compared with those of a [reference](super::reference) in
//! `f64`.
//!
//! Work: `6 N + 12 L W S` flops a token, with `N` parameters that multiply, `L` layers of width `W` and sequences of `S` (A. Chowdhery et
//! al., "`PaLM`", 2022, appendix B), the attention of which is counted whole, without its mask. `mfu_palm` is this, `mfu_6n` the `6 N` alone
//! (J. Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1). `N` are all parameters but learned places, which are only
//! added: also biases and gains of norms, which are few. Of a mixture it has the experts that a token goes to; of parameters that are not
//! trained it is `4 N`, for they have no gradient.

use std::collections::BTreeMap;
use std::fmt::Display;

use assay_kernels::element::DType;
use assay_kernels::ml::moe::NOWHERE;
use assay_kernels::ml::windows::Windows;
use assay_kernels::program::{Fill, Role};
use assay_protocol::{
    CaseSpec, Catalog, Digest, Direction, Failure, MetricKind, Workload, WorkloadInfo,
};
use tempfile::TempDir;

use super::checkpoint;
use super::corpus::{Corpus, Scored};
use super::decoder::{Decoder, Shape};
use super::draw;
use super::evaluation::{Evaluation, largest_difference};
use super::examine::{self, Examined};
use super::grammar;
use super::model::{Model, Parameter};
use super::network::Network;
use super::plan::Plan;
use super::reference;
use super::run::{Begin, Together, Training};
use super::session::Device;
use super::setup::{self, Setup};
use super::tokens::Tokens;
use super::workload::{self, Description, Judged, Subject, metric};

/// Stream of the places of windows.
const WINDOW_STREAM: u64 = 1 << 42;
/// Windows of the held-out part that a model is judged by, at most.
const HELD_OUT_WINDOWS: usize = 256;
/// Products and sums that the reference may take for the tokens that it computes.
const REFERENCE_FLOPS: usize = 1 << 31;

/// The buffer of a training's corpus, by its name,
pub const CORPUS: &str = "corpus";
/// and those of the last turn's tokens and of the tokens that follow them.
pub const GIVEN: [&str; 2] = ["ids", "labels"];

/// The metric of the held-out loss, over the entropy of what is judged.
const LOSS_OVER_ENTROPY: &str = "loss_over_entropy";
/// What that cannot come below of new text; a little less than 1, since what few bytes say may be guessed by chance.
const LEAST_SHARE: f64 = 0.9;

/// What a model is judged by.
fn scored(corpus: &Corpus, length: usize) -> Option<Scored> {
    corpus.scored(length, HELD_OUT_WINDOWS)
}

/// A decoder, and the windows of a corpus that it is trained on.
struct Language {
    decoder: Decoder,
    windows: Windows,
    corpus: usize,
    /// Tokens, and those that follow them.
    given: [usize; 2],
}

impl Language {
    fn new(model: &mut Model, setup: &Setup, corpus: &[u32]) -> Self {
        let shape = setup.shape;
        let decoder = Decoder::new(model, shape);
        let windows = windows(setup, corpus.len());
        let tokens = corpus.to_vec();
        let fill = Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<u32>().copy_from_slice(&tokens);
        }));
        let program = &mut model.program;
        let corpus = program.add(CORPUS, DType::U32, corpus.len(), Role::Input, fill);
        Self {
            decoder,
            windows,
            corpus,
            given: given(model, &shape),
        }
    }
}

/// The windows of a corpus of so many tokens.
pub fn windows(setup: &Setup, corpus: usize) -> Windows {
    Windows {
        corpus,
        batch: setup.shape.batch,
        length: setup.shape.length,
        seed: setup.plan.seed,
        stream: WINDOW_STREAM,
    }
}

/// Buffers of tokens, and of those that follow them.
fn given(model: &mut Model, shape: &Shape) -> [usize; 2] {
    GIVEN.map(|name| {
        let (len, role) = (shape.tokens(), Role::Scratch);
        model.program.add(name, DType::U32, len, role, Fill::Zero)
    })
}

impl Network for Language {
    fn losses(&self) -> usize {
        self.decoder.shape.tokens()
    }

    fn turn(&self, model: &mut Model, turn: usize, losses: usize, scale: f32) {
        let Self { corpus, given, .. } = *self;
        model.program.belongs_to("data");
        self.windows
            .forward(&mut model.program, corpus, turn, given);
        self.decoder.forward(model, given, losses);
        self.decoder.backward(model, given, scale);
    }

    fn curvature(&self, model: &mut Model, turn: usize) -> Option<usize> {
        let Self { corpus, given, .. } = *self;
        let rows = self.losses();
        let shape = [rows, self.decoder.shape.vocabulary];
        let losses = model.kept("losses.drawn", rows);
        let drawn = model.kept_as("labels.drawn", DType::U32, rows);
        model.program.belongs_to("data");
        self.windows
            .forward(&mut model.program, corpus, turn, given);
        let logits = self.decoder.forward(model, given, losses);
        // Windows have counted their turn: labels are drawn by the words of the next one, of a stream of their own.
        draw::labels(model, (self.windows.seed, shape), turn, [logits, drawn]);
        let scale = 1.0 / rows as f32;
        self.decoder.backward(model, [given[0], drawn], scale);
        Some(rows)
    }

    /// The slots that choices of mixtures found.
    fn watched(&self, model: &mut Model) -> Vec<usize> {
        self.decoder.slots(model)
    }
}

/// What a training begins with.
pub fn begin<'a>(setup: &'a Setup, corpus: &Corpus) -> Begin<'a> {
    begin_on(setup, &corpus.train)
}

/// The same on these tokens.
pub fn begin_on<'a>(setup: &'a Setup, tokens: &[u32]) -> Begin<'a> {
    let mut model = setup.plan.model();
    let network = Language::new(&mut model, setup, tokens);
    Begin {
        facts: vec![(setup::MODEL, setup.words.clone())],
        base: setup.base.clone(),
        ..Begin::new(&setup.plan, model, network)
    }
}

/// Bytes of all buffers of a training.
pub fn footprint(setup: &Setup, corpus: &Corpus) -> u64 {
    begin(setup, corpus).step().model.program.footprint()
}

/// The forward pass alone, on windows that are held out.
pub struct Judge {
    evaluation: Evaluation,
    shape: Shape,
    given: [usize; 2],
    losses: usize,
}

impl Judge {
    /// A judge of models of a shape.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn new(seed: u64, shape: Shape, device: &Device) -> Result<Self, Failure> {
        let mut model = Model::new(seed, false);
        let decoder = Decoder::new(&mut model, shape);
        let given = given(&mut model, &shape);
        let losses = model.kept("losses", shape.tokens());
        decoder.forward(&mut model, given, losses);
        Ok(Self {
            evaluation: Evaluation::new(model, seed, device)?,
            shape,
            given,
            losses,
        })
    }

    /// Judges what a training has come to: the mean loss of held-out tokens that have at least half a window before them.
    ///
    /// # Errors
    /// If a device fails.
    pub fn judge(&mut self, training: &Training, corpus: &Corpus) -> Result<Judged, Failure> {
        self.evaluation.adopt(training)?;
        let length = self.shape.length;
        let windows = corpus.windows(length, HELD_OUT_WINDOWS);
        let (mut sum, mut count) = (0.0, 0);
        for batch in windows.chunks(self.shape.batch) {
            self.load(batch)?;
            self.evaluation.run(self.losses)?;
            let session = self.evaluation.session();
            let losses = session.read(self.losses)?;
            for losses in losses.get::<f32>().chunks_exact(length).take(batch.len()) {
                let last = &losses[length / 2..];
                sum += last.iter().map(|loss| f64::from(*loss)).sum::<f64>();
                count += last.len();
            }
        }
        let loss = sum / f64::from(count as u32);
        let mut values: BTreeMap<_, _> = [("perplexity".to_owned(), loss.exp())].into();
        let scored = scored(corpus, length);
        // Of a byte, whatever it is cut into, so that tokenisations compare.
        let bits = scored.map(|scored| sum / std::f64::consts::LN_2 / scored.bytes);
        values.extend(bits.map(|bits| ("bits_per_byte".to_owned(), bits)));
        let share = scored.and_then(|scored| Some(sum / scored.nats?));
        values.extend(share.map(|share| (LOSS_OVER_ENTROPY.to_owned(), share)));
        let impossible = share.filter(|share| *share < LEAST_SHARE && corpus.leaked == 0.0);
        Ok(Judged {
            loss,
            error: self.error()?,
            values,
            missed: impossible.map(|share| {
                format!(
                    "the held-out loss is {share:.4} of the entropy of what is judged: no model comes below that, so that loss or text is \
                     another than it seems"
                )
            }),
        })
    }

    /// Windows at the first places of the batch; what is behind them stays as it was.
    fn load(&mut self, windows: &[[&[u32]; 2]]) -> Result<(), Failure> {
        let session = self.evaluation.session();
        let mut parts = self.given.into_iter().enumerate();
        parts.try_for_each(|(part, buffer)| {
            let tokens: Vec<u32> = windows
                .iter()
                .flat_map(|window| window[part])
                .copied()
                .collect();
            session.write_first(buffer, &tokens)
        })
    }

    /// The largest difference of a loss of the first window from the reference, of as many tokens as that can compute.
    fn error(&mut self) -> Result<f64, Failure> {
        let parameters = self.evaluation.exact_parameters()?;
        let size: usize = parameters.iter().map(Vec::len).sum();
        let tokens = (REFERENCE_FLOPS / (2 * size)).clamp(1, self.shape.length);
        let session = self.evaluation.session();
        let [ids, labels] = self.given;
        let (ids, labels) = (session.read(ids)?, session.read(labels)?);
        let [ids, labels] = [&ids, &labels].map(|given| &given.get::<u32>()[..tokens]);
        let (exact, _) = reference::losses(&self.shape, &parameters, ids, labels);
        let losses = session.read(self.losses)?;
        Ok(largest_difference(losses.get(), &exact))
    }
}

/// What cannot be told from tokens, in words.
fn dropped(corpus: &Corpus) -> String {
    let of = |part: usize| format!("{} of {}", corpus.dropped[part], corpus.bytes[part]);
    format!(
        "{} bytes that are trained on and {} held-out ones cannot be told from their tokens, so that no loss of these is told by bytes, nor \
         beside the entropy",
        of(0),
        of(1)
    )
}

/// The catalog entry.
pub struct TrainLm;

impl Catalog for TrainLm {
    fn info(&self) -> WorkloadInfo {
        let summary = "a step of training a language model on text, while it learns";
        workload::info("train-lm", summary, setup::infos())
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let mut setup = Setup::of(case)?;
        setup.ensure_fits(case)?;
        let corpus = setup.corpus()?;
        let base = train_base(case, &mut setup, &corpus)?;
        let judge = Judge::new(setup.plan.seed, setup.shape, &setup.plan.device)?;
        let subject = Text {
            setup,
            corpus,
            judge,
            _base: base,
        };
        workload::prepare(case, subject)
    }
}

struct Text {
    setup: Setup,
    corpus: Corpus,
    judge: Judge,
    /// Where its base is, for as long as it may be begun again, where that was trained before.
    _base: Option<TempDir>,
}

/// Trains the base of adapters, untimed, where the case asks for that.
fn train_base(
    case: &CaseSpec,
    setup: &mut Setup,
    corpus: &Corpus,
) -> Result<Option<TempDir>, Failure> {
    let Some(steps) = setup.base_steps else {
        return Ok(None);
    };
    let of_base = Setup::case_of_base(case, steps);
    let base = Setup::of(&of_base)?;
    base.ensure_fits(&of_base)?;
    let begin = Begin {
        inputs: base.inputs(corpus),
        ..begin(&base, corpus)
    };
    let mut training = begin.training(&Together::on(base.plan.device.clone()))?;
    for _ in 0..steps {
        let stepped = training.step();
        stepped.map_err(|failure| match failure {
            Failure::Failed(why) => Failure::Failed(format!("its base: {why}")),
            skipped @ Failure::Skipped(_) => skipped,
        })?;
    }
    let failed = |error: &dyn Display| {
        Failure::Failed(format!(
            "its base cannot be kept in a folder of its own: {error}"
        ))
    };
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let path = folder.path().join("base.safetensors");
    checkpoint::save(&training, &path).map_err(|error| failed(&error))?;
    setup.base = Some(path);
    Ok(Some(folder))
}

impl Text {
    /// Flops of a token, by both formulas: without those of attention, and with.
    fn flops_per_token(&self, training: &Training) -> [usize; 2] {
        let shape = &self.setup.shape;
        let idle = training.parameters.iter();
        let idle = idle.filter(|p| p.gradient.is_none() && p.name != "places");
        let frozen: usize = idle.map(Parameter::len).sum();
        let of_products = 6 * self.multiplying() - 2 * frozen;
        let of_attention = 12 * shape.layers * shape.width * shape.length;
        [of_products, of_products + of_attention]
    }

    /// How large a part of the corpus is, in words.
    fn size(&self, part: usize) -> String {
        let bytes = self.corpus.bytes[part];
        let tokens = [&self.corpus.train, &self.corpus.held_out][part].len();
        match self.setup.tokens {
            Tokens::Bytes => format!("{bytes} bytes"),
            Tokens::Of(_) => format!("{tokens} tokens of {bytes} bytes"),
        }
    }

    /// What adapters are on, where there are some and no file says it.
    fn base(&self) -> Option<(&'static str, String)> {
        let Setup {
            shape,
            base,
            base_steps,
            ..
        } = &self.setup;
        match base_steps {
            Some(steps) => Some(("base", format!("trained here by {steps} steps before"))),
            None if shape.rank > 0 && base.is_none() => Some((
                "base.warning",
                "its weights are random, for there is neither `base` nor `base_steps`: times are those of adapters on any base, losses say \
                 nothing of what adapters come to"
                    .into(),
            )),
            None => None,
        }
    }

    /// How many parameters multiply a token.
    fn multiplying(&self) -> usize {
        let mut model = Model::new(0, false);
        let decoder = Decoder::new(&mut model, self.setup.shape);
        decoder.multiplying(&model)
    }
}

impl Subject for Text {
    fn plan(&self) -> &Plan {
        &self.setup.plan
    }

    fn begin(&self) -> Result<Begin<'_>, Failure> {
        Ok(begin(&self.setup, &self.corpus))
    }

    fn inputs(&self) -> Vec<(&'static str, Digest)> {
        self.setup.inputs(&self.corpus)
    }

    fn judge(&mut self, training: &Training) -> Result<Judged, Failure> {
        self.judge.judge(training, &self.corpus)
    }

    fn examine(&self, training: &mut Training) -> Result<Examined, Failure> {
        examine::step(&self.setup, &self.corpus.train, training)
    }

    /// The share of choices of the last turn that found no slot, where there are mixtures.
    fn observe(&self, training: &Training) -> Result<Vec<(&'static str, f64)>, Failure> {
        let watched = training.watched()?;
        let slots = || watched.iter().flat_map(|slots| slots.get::<u32>());
        let count = slots().count();
        let dropped = slots().filter(|slot| **slot == NOWHERE).count();
        let share = dropped as f64 / count.max(1) as f64;
        Ok(Vec::from_iter(
            (count > 0).then_some(("dropped_choices", share)),
        ))
    }

    /// Of losses of tokens.
    fn floors(&self) -> [Option<f64>; 2] {
        let per_byte = self.corpus.tokens_per_byte();
        let of_train = self.corpus.floors[0].zip(per_byte);
        let of_train = of_train.map(|(floor, tokens)| floor / tokens);
        let scored = scored(&self.corpus, self.setup.shape.length);
        let of_held_out = scored.and_then(|scored| Some(scored.nats? / scored.tokens as f64));
        [of_train, of_held_out]
    }

    fn describe(&self, training: &Training) -> Description {
        let tokens = self.setup.shape.tokens() * self.setup.plan.recipe.accumulation;
        let [of_products, of_all] = self.flops_per_token(training).map(|flops| flops * tokens);
        let corpus = &self.corpus;
        let (lower, of_case) = (Direction::Lower, MetricKind::Case);
        let mut metrics = vec![metric("perplexity", "1", lower, of_case)];
        let scored = scored(corpus, self.setup.shape.length);
        if scored.is_some() {
            metrics.push(metric("bits_per_byte", "bits/B", lower, of_case));
        }
        if self.setup.shape.routing.is_some() {
            let kind = MetricKind::Sample;
            metrics.push(metric("dropped_choices", "1", Direction::Lower, kind));
        }
        let mut facts = vec![
            ("parameters.multiplying", self.multiplying().to_string()),
            ("corpus.train", self.size(0)),
            ("corpus.held_out", self.size(1)),
            // Of held-out lines, the share that is trained on.
            ("corpus.leaked", format!("{:.4}", corpus.leaked)),
        ];
        let warning = corpus.warning().into_iter();
        facts.extend(warning.map(|words| ("corpus.warning", words)));
        facts.extend(self.base());
        if let Tokens::Of(_) = self.setup.tokens {
            let count = self.setup.tokens.vocabulary();
            facts.push(("vocabulary", format!("{count} tokens")));
        }
        if self.setup.text.is_some() {
            facts.push((
                "corpus.corrupt",
                format!("{} rows left out", corpus.corrupt),
            ));
        }
        if corpus.dropped.iter().any(|dropped| *dropped > 0) {
            facts.push(("corpus.dropped", dropped(corpus)));
        }
        if let Some((of_all, of_scored)) = corpus.floors[1].zip(scored.and_then(|s| s.nats)) {
            metrics.push(metric(LOSS_OVER_ENTROPY, "1", lower, of_case));
            let bytes = scored.map_or(1.0, |scored| scored.bytes);
            facts.push((
                "corpus.entropy",
                format!(
                    "{:.6} nats a byte of what is judged, {of_all:.6} of all that is held out; of all sentences {:.6}",
                    of_scored / bytes,
                    grammar::entropy()
                ),
            ));
        }
        Description {
            items: tokens,
            formula: "items = tokens = batch length accumulation, flops = (6 N + 12 L W S) tokens; N parameters but places, of \
                      experts those of a token, L = layers, W = width, S = length",
            flops: vec![("mfu_6n", of_products), ("mfu_palm", of_all)],
            metrics,
            facts,
        }
    }
}

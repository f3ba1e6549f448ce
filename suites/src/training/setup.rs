//! What a case of `train-lm` asks for: its parameters, read and judged.

use std::path::{Path, PathBuf};

use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::ml::optimizer::pace::Clock;
use assay_kernels::ml::optimizer::rules::{AdamW, Adan, Lion, Sgd};
use assay_kernels::ml::optimizer::schedule;
use assay_kernels::parameters::{self, Arguments, size_product, wrong};
use assay_protocol::{CaseSpec, Failure, ParamValue, ParameterInfo, ParameterKind};

use super::corpus::{Corpus, VOCABULARY};
use super::decoder::{Places, Shape};
use super::layers::Activation;
use super::mixture::Routing;
use super::step::Recipe;

const PLACES: [(&str, Places); 3] = [
    ("learned", Places::Learned),
    ("rope", Places::Rope),
    ("alibi", Places::Alibi),
];
const NORMS: [(&str, Kind); 2] = [("layernorm", Kind::Layer), ("rmsnorm", Kind::Rms)];
const ACTIVATIONS: [(&str, Activation); 2] =
    [("gelu", Activation::Gelu), ("swiglu", Activation::SwiGlu)];
const OPTIMIZERS: [&str; 4] = ["adamw", "sgd", "lion", "adan"];
/// Factor of the loss of load balancing: that of Switch transformers.
const BALANCE: f32 = 0.01;
/// Columns of a head at most, as fused attention has them.
const MOST_OF_HEAD: usize = 128;

/// A case of `train-lm`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The model.
    pub shape: Shape,
    /// How it is trained.
    pub recipe: Recipe,
    /// Steps of a training.
    pub steps: usize,
    /// Loss that is to be reached within them, if any.
    pub quality: Option<f64>,
    /// Bytes of the grammar's text, where no file is named.
    pub corpus: usize,
    /// A file of text.
    pub text: Option<String>,
    /// Where a checkpoint goes when the training is over.
    pub save: Option<PathBuf>,
    /// The checkpoint that has the parameters which adapters leave alone.
    pub base: Option<PathBuf>,
    /// Threads of the host.
    pub threads: usize,
    /// Seed of parameters, text and places.
    pub seed: u64,
}

fn float(name: &str, default: f64) -> ParameterInfo {
    ParameterInfo {
        kind: ParameterKind::Float,
        default: Some(ParamValue::Float(default)),
        minimum: None,
        ..parameters::integer(name)
    }
}

fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

/// Descriptions of all parameters.
pub fn infos() -> Vec<ParameterInfo> {
    let text = |name: &str| ParameterInfo {
        kind: ParameterKind::Text,
        default: Some(ParamValue::Text(String::new())),
        minimum: None,
        ..parameters::integer(name)
    };
    vec![
        parameters::integer_or("batch", 8),
        parameters::integer_or("length", 64),
        parameters::integer_or("layers", 2),
        parameters::integer_or("width", 64),
        parameters::integer_or("heads", 4),
        parameters::choice("position", &names(&PLACES)),
        parameters::choice("norm", &names(&NORMS)),
        parameters::choice("activation", &names(&ACTIVATIONS)),
        parameters::integer_from("experts", 0),
        parameters::integer_or("chosen", 2),
        float("capacity", 1.25),
        parameters::integer_from("rank", 0),
        parameters::choice("optimizer", &OPTIMIZERS),
        parameters::choice("schedule", &names(schedule::Shape::NAMED)),
        float("rate", 3e-3),
        float("decay", 0.1),
        float("clip", 1.0),
        parameters::integer_or("steps", 100),
        parameters::integer_from("warmup", 0),
        parameters::integer_or("accumulation", 1),
        float("quality", 0.0),
        parameters::integer_or("corpus", 1_000_000),
        text("text"),
        text("save"),
        text("base"),
        parameters::integer_or("threads", 1),
    ]
}

impl Setup {
    /// Reads the parameters of a case.
    ///
    /// # Errors
    /// If one is not what it should be, or if some do not go together.
    pub fn of(case: &CaseSpec) -> Result<Self, Failure> {
        let arguments = Arguments(case);
        let number = |name: &str, least: f64| {
            let value = case.params.get(name);
            let found = value.and_then(ParamValue::as_f64);
            found
                .filter(|x| x.is_finite() && *x >= least)
                .ok_or_else(|| wrong(name, &format!("a number of at least {least}"), value))
        };
        let shape = Shape {
            batch: arguments.count("batch")?,
            length: arguments.count("length")?,
            vocabulary: VOCABULARY,
            layers: arguments.count("layers")?,
            width: arguments.count("width")?,
            heads: arguments.count("heads")?,
            places: arguments.choice("position", &PLACES)?,
            norm: arguments.choice("norm", &NORMS)?,
            activation: arguments.choice("activation", &ACTIVATIONS)?,
            routing: routing(&arguments, number("capacity", 1.0 / 64.0)?)?,
            rank: arguments.size("rank")?,
        };
        check_shape(case, &shape)?;
        let steps = arguments.at_most("steps", 1 << 24)?;
        arguments.check_most("warmup", steps)?;
        let (rate, clip, decay) = (
            number("rate", 0.0)?,
            number("clip", 0.0)?,
            number("decay", 0.0)?,
        );
        let (optimizer, [beta1, beta2]) = optimizer(arguments.text("optimizer")?, decay as f32)
            .ok_or_else(|| {
                wrong(
                    "optimizer",
                    &OPTIMIZERS.join(", "),
                    case.params.get("optimizer"),
                )
            })?;
        let recipe = Recipe {
            optimizer,
            clock: Clock {
                beta1,
                beta2,
                peak: rate as f32,
                floor: (rate / 10.0) as f32,
                warmup: arguments.size("warmup")? as u32,
                steps: steps as u32,
                shape: arguments.choice("schedule", schedule::Shape::NAMED)?,
            },
            most_norm: if clip > 0.0 {
                clip as f32
            } else {
                f32::INFINITY
            },
            accumulation: arguments.at_most("accumulation", 1024)?,
        };
        let text = |name: &str| -> Result<Option<String>, Failure> {
            let text = arguments.text(name)?;
            Ok((!text.is_empty()).then(|| text.to_owned()))
        };
        let base = text("base")?.map(PathBuf::from);
        if base.is_some() && shape.rank == 0 {
            let found = case.params.get("base");
            return Err(wrong(
                "base",
                "none without a `rank`: adapters go with it",
                found,
            ));
        }
        Ok(Self {
            shape,
            recipe,
            steps,
            quality: Some(number("quality", 0.0)?).filter(|quality| *quality > 0.0),
            corpus: arguments.at_most("corpus", u32::MAX as usize / 2)?,
            text: text("text")?,
            save: text("save")?.map(PathBuf::from),
            base,
            threads: threads(&arguments)?,
            seed: case.seed.0,
        })
    }

    /// The text that the case asks for.
    ///
    /// # Errors
    /// If there is none, or too little.
    pub fn corpus(&self) -> Result<Corpus, Failure> {
        let corpus = match &self.text {
            Some(path) => Corpus::of_file(Path::new(path))?,
            None => Corpus::of_grammar(self.seed, self.corpus),
        };
        corpus.check(self.shape.length)?;
        Ok(corpus)
    }
}

fn check_shape(case: &CaseSpec, shape: &Shape) -> Result<(), Failure> {
    let Shape { width, heads, .. } = *shape;
    let pairs = if shape.places == Places::Rope { 2 } else { 1 };
    let value = case.params.get("width");
    if !width.is_multiple_of(pairs * heads) {
        let expected = match pairs {
            1 => format!("a multiple of `heads`, {heads}"),
            _ => format!(
                "a multiple of twice `heads`, {}, since `rope` rotates pairs",
                2 * heads
            ),
        };
        return Err(wrong("width", &expected, value));
    }
    if width / heads > MOST_OF_HEAD {
        let expected = format!("at most {MOST_OF_HEAD} columns for each of {heads} heads");
        return Err(wrong("width", &expected, value));
    }
    if shape.rank > width {
        let expected = format!("at most `width`, {width}");
        return Err(wrong("rank", &expected, case.params.get("rank")));
    }
    let hidden = shape.activation.hidden(width);
    let widest = hidden.max(shape.vocabulary);
    size_product(
        "`batch`, `length` and `width`",
        &[shape.batch, shape.length, widest, 4],
    )?;
    size_product(
        "`batch`, `length` and `heads`",
        &[shape.batch, shape.length, heads, 4],
    )?;
    let experts = shape.routing.map_or(1, |routing| routing.experts);
    let names = "`layers`, `width` and `experts`";
    size_product(names, &[shape.layers, width, hidden, experts, 64])?;
    Ok(())
}

/// How tokens go to experts, where there are any.
fn routing(arguments: &Arguments, capacity: f64) -> Result<Option<Routing>, Failure> {
    let experts = arguments.size("experts")?;
    if experts == 0 {
        return Ok(None);
    }
    arguments.check_most("experts", 4096)?;
    Ok(Some(Routing {
        experts,
        chosen: arguments.at_most("chosen", experts.min(64))?,
        capacity: capacity.min(experts as f64),
        // The gradients of all turns are added up.
        balance: BALANCE / arguments.count("accumulation")? as f32,
    }))
}

/// The optimizer of a name, and the betas of its corrections.
fn optimizer(name: &str, decay: f32) -> Option<(Optimizer, [f32; 2])> {
    let optimizer = match name {
        "adamw" => {
            let rule = AdamW {
                decay,
                beta2: 0.99,
                ..AdamW::default()
            };
            return Some((Optimizer::AdamW(rule), [rule.beta1, rule.beta2]));
        }
        "sgd" => Optimizer::Sgd(Sgd {
            decay,
            ..Sgd::default()
        }),
        "lion" => Optimizer::Lion(Lion {
            decay,
            ..Lion::default()
        }),
        "adan" => Optimizer::Adan(Adan {
            decay,
            ..Adan::default()
        }),
        _ => return None,
    };
    // They correct nothing.
    Some((optimizer, [0.0, 0.0]))
}

/// More threads than this process may use are skipped rather than run.
fn threads(arguments: &Arguments) -> Result<usize, Failure> {
    let threads = arguments.count("threads")?;
    let usable = assay_kernels::device::host::usable_cpus();
    if threads > usable {
        return Err(Failure::Skipped(format!(
            "parameter `threads` is {threads}, but this process may use {usable} CPUs"
        )));
    }
    Ok(threads)
}

//! What a case of `train-lm` asks for: its parameters, read and judged.

use std::path::{Path, PathBuf};

use assay_kernels::device::memory;
use assay_kernels::element::DType;
use assay_kernels::ml::norm::Kind;
use assay_kernels::parameters::{self, Arguments, size_product, wrong};
use assay_protocol::{
    CaseSpec, DeviceSelector, Digest, Failure, ParamValue, ParameterInfo, Params, TimingMode,
};

use super::corpus::Corpus;
use super::decoder::{Places, Shape};
use super::layers::Activation;
use super::mixture::Routing;
use super::plan::{self, Plan, STORED, float, given, names, number, text};
use super::room::{self, Least, product};
use super::tokens::{self, BYTES, Tokens};

const PLACES: [(&str, Places); 3] = [
    ("learned", Places::Learned),
    ("rope", Places::Rope),
    ("alibi", Places::Alibi),
];
const NORMS: [(&str, Kind); 2] = [("layernorm", Kind::Layer), ("rmsnorm", Kind::Rms)];
const ACTIVATIONS: [(&str, Activation); 2] =
    [("gelu", Activation::Gelu), ("swiglu", Activation::SwiGlu)];
/// What the base of adapters is kept as.
const BASES: [(&str, DType); 2] = [("f32", DType::F32), ("int8", DType::I8)];
/// Factor of the loss of load balancing: that of Switch transformers.
const BALANCE: f32 = 0.01;
/// Columns of a head at most, as fused attention has them.
const MOST_OF_HEAD: usize = 128;
/// Layers at most.
const MOST_OF_LAYERS: usize = 1024;
/// Bytes of the grammar's text at most: a million sentences are ten times what any model here reads.
const MOST_OF_CORPUS: usize = 1 << 28;
/// Bytes in memory for each of a text, while it is read and once it is: its lines, its tokens, what these are of, and a copy of them.
const BYTES_OF_BYTE: usize = 16;

/// A case of `train-lm`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The model,
    pub shape: Shape,
    /// and its parameters in words.
    pub words: String,
    /// How it is trained.
    pub plan: Plan,
    /// Bytes of the grammar's text, where no file is named.
    pub corpus: usize,
    /// A file of text, or a table with one,
    pub text: Option<String>,
    /// in this column.
    pub column: String,
    /// What text is cut into.
    pub tokens: Tokens,
    /// The checkpoint that has the parameters which adapters leave alone,
    pub base: Option<PathBuf>,
    /// or after how many steps a model has them that is trained before.
    pub base_steps: Option<usize>,
}

/// The parameter of a base that is trained before its adapters.
pub const BASE_STEPS: &str = "base_steps";

/// Descriptions of all parameters.
pub fn infos() -> Vec<ParameterInfo> {
    let of_model = vec![
        parameters::integer_or("batch", 8),
        parameters::integer_or("length", 64),
        parameters::integer_or("layers", 2),
        parameters::integer_or("width", 64),
        parameters::integer_or("heads", 4),
        parameters::integer_from("vocabulary", 0),
        parameters::choice("position", &names(&PLACES)),
        parameters::choice("norm", &names(&NORMS)),
        parameters::choice("activation", &names(&ACTIVATIONS)),
        parameters::integer_from("experts", 0),
        parameters::integer_or("chosen", 2),
        float("capacity", 1.25),
        parameters::integer_from("rank", 0),
        parameters::choice("base_stored", &names(&BASES)),
        parameters::choice("stored", &names(&STORED)),
        parameters::integer_or("corpus", 1_000_000),
        text("text"),
        ParameterInfo {
            default: Some(ParamValue::Text("text".into())),
            ..text("column")
        },
        text("tokenizer"),
        text("base"),
        plan::optional_integer(BASE_STEPS),
    ];
    [of_model, plan::infos()].concat()
}

impl Setup {
    /// Reads the parameters of a case.
    ///
    /// # Errors
    /// If one is not what it should be, or if some do not go together; if there is no such tokenizer.
    pub fn of(case: &CaseSpec) -> Result<Self, Failure> {
        let arguments = Arguments(case);
        let tokens = match given(case, "tokenizer")? {
            Some(path) => Tokens::of_file(Path::new(&path))?,
            None => Tokens::Bytes,
        };
        let shape = shape(case, tokens.vocabulary())?;
        let base = plan::read_again(case, "base")?;
        if base.is_some() && shape.rank == 0 {
            let found = case.params.get("base");
            return Err(wrong(
                "base",
                "none without a `rank`: adapters go with it",
                found,
            ));
        }
        let base_steps = plan::optional_count(case, BASE_STEPS, 1 << 24)?;
        if base_steps.is_some() && (shape.rank == 0 || base.is_some()) {
            let found = case.params.get(BASE_STEPS);
            let expected = "none without a `rank`, or with a `base`, which is trained";
            return Err(wrong(BASE_STEPS, expected, found));
        }
        let plan = Plan::of(case)?;
        Ok(Self {
            shape,
            words: words(case, &tokens),
            plan,
            corpus: arguments.at_most("corpus", MOST_OF_CORPUS)?,
            text: given(case, "text")?,
            column: arguments.text("column")?.to_owned(),
            tokens,
            base,
            base_steps,
        })
    }

    /// The case of the base that is trained before adapters of this one: by one process, with the same text, recipe and seed.
    pub fn case_of_base(case: &CaseSpec, steps: usize) -> CaseSpec {
        let mut of_base = case.clone();
        let params = &mut of_base.params;
        params.retain(|name, _| !NOT_OF_BASE.contains(&name.as_str()));
        let steps = steps as i64;
        let warmup = params.get("warmup").and_then(ParamValue::as_u64);
        let warmup = warmup.map_or(0, |warmup| warmup as i64).min(steps);
        let integers = [
            ("rank", 0),
            ("ranks", 1),
            ("steps", steps),
            ("warmup", warmup),
        ];
        params.extend(integers.map(|(name, value)| (name.to_owned(), ParamValue::Int(value))));
        let empty = ["save", "resume", "peer"];
        params.extend(empty.map(|name| (name.to_owned(), ParamValue::Text(String::new()))));
        params.insert("quality".into(), ParamValue::Float(0.0));
        of_base
    }

    /// Fails unless a training of this shape can fit into memory, and can be put together: what is asked for may be of any size.
    ///
    /// # Errors
    /// How much is missing: then it is skipped. Or which parameter to lower.
    pub fn ensure_fits(&self, case: &CaseSpec) -> Result<(), Failure> {
        room::ensure_turns(case, &self.plan, self.shape.layers)?;
        room::ensure(&self.plan, &self.least())
    }

    /// What a training of it holds at least.
    pub fn least(&self) -> Least {
        let shape = &self.shape;
        let (width, layers) = (shape.width, shape.layers);
        let places = match shape.places {
            Places::Learned => product(&[shape.length, width]),
            Places::Rope | Places::Alibi => 0,
        };
        let (experts, matrices) = match (shape.routing, shape.activation) {
            (Some(routing), _) => (routing.experts, 3),
            (None, Activation::SwiGlu) => (1, 3),
            (None, Activation::Gelu) => (1, 2),
        };
        let hidden = match shape.routing {
            Some(_) => Activation::SwiGlu.hidden(width),
            None => shape.activation.hidden(width),
        };
        let of_layers = product(&[layers, 4, width, width])
            + product(&[layers, experts, matrices, width, hidden]);
        let tables = product(&[shape.vocabulary, width]) + places;
        let (trained, still) = match (shape.rank, shape.base) {
            (0, _) => (tables + of_layers, 0),
            (_, DType::I8) => (0, 4 * tables + of_layers),
            _ => (0, 4 * (tables + of_layers)),
        };
        // What is kept of each layer, or its output alone where the rest is computed again; and logits with their gradients.
        let of_layer = if self.plan.recomputes { 1 } else { 4 };
        let tokens = [shape.batch, shape.length];
        let activations = product(&[&tokens[..], &[width, layers, of_layer]].concat())
            + product(&[&tokens[..], &[shape.vocabulary, 2]].concat());
        Least {
            trained,
            still,
            activations,
            data: match self.text {
                Some(_) => 0,
                None => product(&[self.corpus, BYTES_OF_BYTE]),
            },
        }
    }

    /// The text that the case asks for.
    ///
    /// # Errors
    /// If there is none, or too little.
    pub fn corpus(&self) -> Result<Corpus, Failure> {
        if let Some(path) = &self.text {
            // One that is not there is said when it is read.
            let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
            memory::ensure_fits(bytes.saturating_mul(BYTES_OF_BYTE as u64))?;
        }
        let corpus = match &self.text {
            Some(path) => Corpus::of_file(Path::new(path), &self.column, &self.tokens)?,
            None => Corpus::of_grammar(self.plan.seed, self.corpus, &self.tokens)?,
        };
        corpus.check(self.shape.length, &self.tokens)?;
        Ok(corpus)
    }

    /// Digests of the text, and of the tokenizer's file, if there is one.
    pub fn inputs(&self, corpus: &Corpus) -> Vec<(&'static str, Digest)> {
        let tokenizer = self.tokens.digest().into_iter();
        let tokenizer = tokenizer.map(|digest| (TOKENIZER, digest));
        [("corpus", corpus.digest)]
            .into_iter()
            .chain(tokenizer)
            .collect()
    }
}

/// What a base does not have that is trained before its adapters: it is of f32, and goes on until it is done.
const NOT_OF_BASE: [&str; 4] = [BASE_STEPS, "base_stored", "stop", "save_every"];
/// The parameters that say of what shape a model is.
const OF_SHAPE: [&str; 14] = [
    "batch",
    "length",
    "layers",
    "width",
    "heads",
    "vocabulary",
    "position",
    "norm",
    "activation",
    "experts",
    "chosen",
    "capacity",
    "rank",
    "base_stored",
];
/// By what name a checkpoint has them.
pub const MODEL: &str = "model";

fn shape(case: &CaseSpec, tokens: usize) -> Result<Shape, Failure> {
    let arguments = Arguments(case);
    let shape = Shape {
        batch: arguments.count("batch")?,
        length: arguments.count("length")?,
        vocabulary: vocabulary(&arguments, tokens)?,
        layers: arguments.at_most("layers", MOST_OF_LAYERS)?,
        width: arguments.count("width")?,
        heads: arguments.count("heads")?,
        places: arguments.choice("position", &PLACES)?,
        norm: arguments.choice("norm", &NORMS)?,
        activation: arguments.choice("activation", &ACTIVATIONS)?,
        routing: routing(&arguments, number(case, "capacity", 1.0 / 64.0)?)?,
        rank: arguments.size("rank")?,
        base: base(&arguments)?,
    };
    check_shape(case, &shape)?;
    Ok(shape)
}

/// Rows of the table of tokens: as many as there are tokens, or more, as published models have them. Checkpoints of before there was a
/// choice do not tell.
fn vocabulary(arguments: &Arguments, tokens: usize) -> Result<usize, Failure> {
    let found = arguments.0.params.get("vocabulary");
    let asked = found.map_or(Ok(0), |_| arguments.size("vocabulary"))?;
    if found.is_some() {
        arguments.check_most("vocabulary", tokens::MOST)?;
    }
    if asked != 0 && asked < tokens {
        let expected = format!("0, or at least the number of tokens, {tokens}");
        return Err(wrong("vocabulary", &expected, found));
    }
    Ok(asked.max(tokens))
}

/// What the base of adapters is kept as. Checkpoints of before there was a choice do not tell.
fn base(arguments: &Arguments) -> Result<DType, Failure> {
    match arguments.0.params.get("base_stored") {
        Some(_) => arguments.choice("base_stored", &BASES),
        None => Ok(DType::F32),
    }
}

/// The digest of the tokenizer's file, if there is one: among inputs, and among what words say of a model.
const TOKENIZER: &str = "tokenizer";

/// The parameters of a case that say of what shape its model is: JSON.
fn words(case: &CaseSpec, tokens: &Tokens) -> String {
    let params = case.params.iter();
    let of_shape = params
        .filter(|(name, _)| OF_SHAPE.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()));
    let digest = tokens.digest().into_iter();
    let digest = digest.map(|digest| (TOKENIZER.to_owned(), ParamValue::Text(digest.to_string())));
    let all: Params = of_shape.chain(digest).collect();
    serde_json::to_string(&all).unwrap_or_default()
}

/// The digest of the tokenizer's file that such words tell of, if they do.
pub fn tokenizer_of_words(words: &str) -> Option<String> {
    let params: Params = serde_json::from_str(words).ok()?;
    let digest = params.get(TOKENIZER)?;
    Some(digest.as_str()?.to_owned())
}

/// The shape that such words tell of, of a model of bytes.
///
/// # Errors
/// If they are no words of a shape, or of a model of other tokens.
pub fn shape_of_words(words: &str) -> Result<Shape, String> {
    let params: Params =
        serde_json::from_str(words).map_err(|error| format!("its model is unreadable: {error}"))?;
    if params.contains_key(TOKENIZER) {
        return Err("its model is one of a tokenizer's tokens: expected one of bytes".into());
    }
    let shape = shape(&case(params), BYTES).map_err(|failure| format!("its model: {failure}"))?;
    if shape.vocabulary > BYTES {
        let count = shape.vocabulary;
        return Err(format!(
            "its model has a vocabulary of {count}: expected one of bytes, {BYTES}"
        ));
    }
    Ok(shape)
}

/// A case of `train-lm` on the host that no suite asked for.
pub fn case(params: Params) -> CaseSpec {
    CaseSpec {
        workload: "train-lm".into(),
        params,
        seed: 0.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
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
    check_base(case, shape)?;
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

/// Codes are of weights that are not trained, of linear layers.
fn check_base(case: &CaseSpec, shape: &Shape) -> Result<(), Failure> {
    let expected = match (shape.base, shape.rank, shape.routing) {
        (DType::I8, 0, _) => "f32 without a `rank`: weights that are trained are no codes",
        (DType::I8, _, Some(_)) => "f32 with `experts`, whose weights are no codes",
        _ => return Ok(()),
    };
    Err(wrong(
        "base_stored",
        expected,
        case.params.get("base_stored"),
    ))
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

//! What every training is asked for: how its parameters follow their gradients, for how long, and what it has to come to.

use std::path::{Path, PathBuf};

use assay_kernels::device::cuda::Launched;
use assay_kernels::element::DType;
use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::ml::optimizer::pace::Clock;
use assay_kernels::ml::optimizer::rules::{AdamW, Adan, Lion, Sgd, SophiaG};
use assay_kernels::ml::optimizer::schedule;
use assay_kernels::parameters::{self, Arguments, wrong};
use assay_protocol::{CaseSpec, Failure, ParamValue, ParameterInfo, ParameterKind, TimingMode};

use super::model::Model;
use super::origin::Origin;
use super::ranks::MOST;
use super::session::Device;
use super::step::Recipe;

const OPTIMIZERS: [&str; 5] = ["adamw", "sgd", "lion", "adan", "sophia-g"];

/// Whether something is done.
const YES: [(&str, bool); 2] = [("no", false), ("yes", true)];

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How parameters follow their gradients.
    pub recipe: Recipe,
    /// Whether activations of layers are computed again for the backward pass, rather than kept.
    pub recomputes: bool,
    /// Steps of a training, by which its rates go.
    pub steps: usize,
    /// The step after which it stops, where that is not the last of them.
    pub stop: Option<usize>,
    /// Loss that is to be reached within them, if any.
    pub quality: Option<f64>,
    /// Where a checkpoint goes when the training is over,
    pub save: Option<PathBuf>,
    /// and after each so many steps, if it does.
    pub save_every: Option<usize>,
    /// The checkpoint that it goes on from.
    pub resume: Option<PathBuf>,
    /// Processes that train together.
    pub ranks: usize,
    /// Of a rank that another one started: its number, and where all meet.
    pub peer: Option<(usize, PathBuf)>,
    /// What it runs on, of each rank.
    pub device: Device,
    /// Seed of parameters, data and places.
    pub seed: u64,
    /// What its checkpoints say of it.
    pub origin: Origin,
}

/// A parameter that is a number.
pub fn float(name: &str, default: f64) -> ParameterInfo {
    ParameterInfo {
        kind: ParameterKind::Float,
        default: Some(ParamValue::Float(default)),
        minimum: None,
        ..parameters::integer(name)
    }
}

/// A parameter that is a text, and empty where nobody says otherwise.
pub fn text(name: &str) -> ParameterInfo {
    ParameterInfo {
        kind: ParameterKind::Text,
        default: Some(ParamValue::Text(String::new())),
        minimum: None,
        ..parameters::integer(name)
    }
}

/// The names of choices.
pub fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

/// The value of a parameter that is a number, at least so large.
///
/// # Errors
/// If it is not.
pub fn number(case: &CaseSpec, name: &str, least: f64) -> Result<f64, Failure> {
    let value = case.params.get(name);
    let found = value.and_then(ParamValue::as_f64);
    let found = found
        .filter(|x| x.is_finite() && *x >= least)
        .ok_or_else(|| wrong(name, &format!("a number of at least {least}"), value))?;
    if found > f64::from(f32::MAX) {
        let expected = format!("at most {:e}, which 32 bits can hold", f32::MAX);
        return Err(wrong(name, &expected, value));
    }
    Ok(found)
}

/// The value of a parameter that is a text, where it is not empty.
///
/// # Errors
/// If it is no text.
pub fn given(case: &CaseSpec, name: &str) -> Result<Option<String>, Failure> {
    let arguments = Arguments(case);
    let text = arguments.text(name)?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A parameter that is a text, and that came to a workload whose cases have a history: one that does not ask for it lacks it.
pub fn optional_text(name: &str) -> ParameterInfo {
    ParameterInfo {
        kind: ParameterKind::Text,
        minimum: None,
        optional: true,
        ..parameters::integer(name)
    }
}

/// A parameter of some choices, and that one that does not ask for it lacks.
pub fn optional_choice(name: &str, choices: &[&str]) -> ParameterInfo {
    ParameterInfo {
        default: None,
        optional: true,
        ..parameters::choice(name, choices)
    }
}

/// The value of such a parameter, where it is there and not empty.
///
/// # Errors
/// If it is no text.
pub fn given_optional(case: &CaseSpec, name: &str) -> Result<Option<String>, Failure> {
    let is_there = case.params.contains_key(name);
    is_there
        .then(|| given(case, name))
        .transpose()
        .map(Option::flatten)
}

/// A parameter that is an integer of at least one, and that one that does not ask for it lacks.
pub fn optional_integer(name: &str) -> ParameterInfo {
    ParameterInfo {
        optional: true,
        ..parameters::integer(name)
    }
}

/// Types of what linear layers, attention and experts multiply.
pub const STORED: [(&str, DType); 3] = [
    ("f32", DType::F32),
    ("bf16", DType::Bf16),
    ("f16", DType::F16),
];

/// Descriptions of the parameters that every training has.
pub fn infos() -> Vec<ParameterInfo> {
    vec![
        parameters::choice("optimizer", &OPTIMIZERS),
        parameters::choice("schedule", &names(schedule::Shape::NAMED)),
        float("rate", 3e-3),
        float("decay", 0.1),
        float("clip", 1.0),
        float("adaptive_clip", 0.0),
        parameters::choice("centralise", &["no", "yes"]),
        parameters::integer_or("curvature_every", 10),
        parameters::choice("recompute", &["no", "yes"]),
        parameters::integer_or("steps", 100),
        parameters::integer_from("warmup", 0),
        parameters::integer_or("accumulation", 1),
        parameters::integer_or("ranks", 1),
        float("quality", 0.0),
        optional_integer("stop"),
        text("save"),
        optional_integer("save_every"),
        text("resume"),
        parameters::threads(),
        // Which of the ranks this is, and where they meet: set by the first one alone.
        text("peer"),
    ]
}

impl Plan {
    /// The last step that is taken.
    pub fn last(&self) -> usize {
        self.stop.unwrap_or(self.steps)
    }

    /// A model without layers, that is trained by it.
    pub fn model(&self) -> Model {
        let mut model = Model::new(self.seed, true);
        model.recomputes = self.recomputes;
        model.stored = self.recipe.stored;
        model
    }

    /// Reads the parameters of a case.
    ///
    /// # Errors
    /// If one is not what it should be.
    pub fn of(case: &CaseSpec) -> Result<Self, Failure> {
        let arguments = Arguments(case);
        let steps = arguments.at_most("steps", 1 << 24)?;
        let recipe = recipe(case, steps)?;
        let ranks = ranks(case, recipe.accumulation)?;
        Ok(Self {
            recipe,
            ranks,
            peer: peer(case, ranks)?,
            recomputes: arguments.choice("recompute", &YES)?,
            steps,
            quality: Some(number(case, "quality", 0.0)?).filter(|quality| *quality > 0.0),
            stop: optional_count(case, "stop", steps)?,
            save: given(case, "save")?.map(PathBuf::from),
            save_every: save_every(case)?,
            resume: read_again(case, "resume")?,
            device: device(case, ranks)?,
            seed: case.seed.0,
            origin: Origin::of(case),
        })
    }
}

/// How many processes train together: a power of two, so that each has a branch of the tree of turns.
fn ranks(case: &CaseSpec, turns: usize) -> Result<usize, Failure> {
    let ranks = Arguments(case).at_most("ranks", MOST)?;
    if ranks.is_power_of_two() && turns.is_multiple_of(ranks) {
        return Ok(ranks);
    }
    let expected =
        format!("a power of two that divides `accumulation`, {turns}, whose turns ranks share");
    Err(wrong("ranks", &expected, case.params.get("ranks")))
}

/// An integer of one to so many, where it is there.
///
/// # Errors
/// If it is another.
pub fn optional_count(case: &CaseSpec, name: &str, most: usize) -> Result<Option<usize>, Failure> {
    let is_there = case.params.contains_key(name);
    let count = is_there.then(|| Arguments(case).at_most(name, most));
    count.transpose()
}

/// After how many steps a checkpoint is written, where one is.
fn save_every(case: &CaseSpec) -> Result<Option<usize>, Failure> {
    let every = optional_count(case, "save_every", 1 << 24)?;
    if every.is_some() && given(case, "save")?.is_none() {
        let expected = "none without `save`, which says where to";
        return Err(wrong("save_every", expected, case.params.get("save_every")));
    }
    Ok(every)
}

/// The checkpoint of a parameter, that each repetition of a training reads again.
///
/// # Errors
/// If it is the one that the training writes, by whatever path.
pub fn read_again(case: &CaseSpec, name: &str) -> Result<Option<PathBuf>, Failure> {
    let path = given(case, name)?.map(PathBuf::from);
    let [read, written] = [path.clone(), given(case, "save")?.map(PathBuf::from)]
        .map(|path| path.map(|path| place(&path)));
    if read.is_some() && read == written {
        let expected = "another file than that of `save`: the training is repeated from it";
        return Err(wrong(name, expected, case.params.get(name)));
    }
    Ok(path)
}

/// The file that a path leads to; of one that is not there yet, its place in its folder.
fn place(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = Path::new(".").join(path.parent()?).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    path.canonicalize()
        .ok()
        .or_else(in_folder)
        .unwrap_or_else(|| path.to_owned())
}

fn peer(case: &CaseSpec, ranks: usize) -> Result<Option<(usize, PathBuf)>, Failure> {
    let Some(peer) = given(case, "peer")? else {
        return Ok(None);
    };
    let (rank, folder) = peer.split_once(':').unwrap_or_default();
    let rank: Option<usize> = rank.parse().ok();
    rank.filter(|rank| (1..ranks).contains(rank))
        .map(|rank| Some((rank, PathBuf::from(folder))))
        .ok_or_else(|| {
            let expected = "none: it is set by a rank that starts another";
            wrong("peer", expected, case.params.get("peer"))
        })
}

fn recipe(case: &CaseSpec, steps: usize) -> Result<Recipe, Failure> {
    let arguments = Arguments(case);
    arguments.check_most("warmup", steps)?;
    let (rate, decay) = (number(case, "rate", 0.0)?, number(case, "decay", 0.0)?);
    let (optimizer, [beta1, beta2]) = optimizer(arguments.text("optimizer")?, decay as f32)
        .ok_or_else(|| {
            let found = case.params.get("optimizer");
            wrong("optimizer", &OPTIMIZERS.join(", "), found)
        })?;
    // Models that cannot be stored otherwise have no such parameter.
    let stored = match case.params.get("stored") {
        Some(_) => arguments.choice("stored", &STORED)?,
        None => DType::F32,
    };
    if let (DType::F16, Optimizer::SophiaG(_)) = (stored, optimizer) {
        let expected =
            "bf16 or f32 with `sophia-g`, whose estimates are of losses that are not scaled";
        return Err(wrong("stored", expected, case.params.get("stored")));
    }
    Ok(Recipe {
        stored,
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
        curvature_every: arguments.at_most("curvature_every", 1 << 24)?,
        centralises: arguments.choice("centralise", &YES)?,
        most_of_unit: most(case, "adaptive_clip")?,
        most_norm: most(case, "clip")?,
        accumulation: arguments.at_most("accumulation", 1024)?,
    })
}
/// What is to be clipped above, where it is not 0.
fn most(case: &CaseSpec, name: &str) -> Result<f32, Failure> {
    let most = number(case, name, 0.0)? as f32;
    Ok(if most > 0.0 { most } else { f32::INFINITY })
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
        "sophia-g" => Optimizer::SophiaG(SophiaG {
            decay,
            ..SophiaG::default()
        }),
        _ => return None,
    };
    // They correct nothing.
    Some((optimizer, [0.0, 0.0]))
}

/// More threads than this process may use are skipped rather than run, and so are graphs of what is no GPU.
fn device(case: &CaseSpec, ranks: usize) -> Result<Device, Failure> {
    let arguments = Arguments(case);
    let is_graph = case.timing == TimingMode::Graph;
    if arguments.is_cuda() {
        let launched = if is_graph {
            Launched::Replayed
        } else {
            Launched::Singly
        };
        let which = case.device.which.clone();
        return Ok(Device::Cuda { which, launched });
    }
    if is_graph {
        let reason = "timing mode `graph` is for CUDA devices";
        return Err(Failure::Skipped(reason.into()));
    }
    let threads = arguments.count("threads")?;
    let usable = assay_kernels::device::host::usable_cpus();
    if threads.saturating_mul(ranks) > usable {
        let of_ranks = match ranks {
            1 => String::new(),
            ranks => format!(" for each of {ranks} `ranks`"),
        };
        return Err(Failure::Skipped(format!(
            "parameter `threads` is {threads}{of_ranks}, but this process may use {usable} CPUs"
        )));
    }
    Ok(Device::Host(threads))
}

//! `train-vae`: a beta-VAE that learns spectra.
//!
//! It is judged by the loss of spectra that were held out, with noise in their codes as in training, of which some are compared with the
//! [reference](super::reference). Among its metrics are the two parts of that loss: what is lost of a spectrum, and the divergence, both
//! in nats a number.
//!
//! Work: `6 N - 2 P W` flops a spectrum, with `N` weights of products: forward, and twice as much backward, but for the `P` by `W` weights of
//! the first layer, whose input has no gradient.

use std::path::Path;

use assay_kernels::element::DType;
use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::parameters::{self, Arguments, size_product, wrong};
use assay_kernels::program::{Fill, Role};
use assay_protocol::{
    CaseSpec, Catalog, Digest, Direction, Failure, MetricKind, ParameterInfo, Workload,
    WorkloadInfo,
};

use super::{Autoencoder, Shape, reference};
use crate::training::draw::Draw;
use crate::training::evaluation::{Evaluation, largest_difference};
use crate::training::leaks;
use crate::training::model::Model;
use crate::training::network::Network;
use crate::training::plan::{
    self, Plan, float, given_optional, number, optional_choice, optional_text,
};
use crate::training::room::{self, Least, product};
use crate::training::run::{Begin, Training};
use crate::training::spectra::{POINTS, Spectra, Weighted};
use crate::training::workload::{self, Description, Judged, Subject, metric};

/// Spectra whose losses are compared with the reference.
const REFERENCE_SPECTRA: usize = 16;
/// The turn whose noise the first held-out spectra get: no training comes so far.
const HELD_OUT_TURN: u64 = 1 << 40;

/// An autoencoder, and the spectra that it is trained on.
struct Learner {
    network: Autoencoder,
    draw: Draw,
    /// Numbers and weights of all spectra.
    set: [usize; 2],
    /// Those of a turn.
    given: [usize; 2],
}

fn given(model: &mut Model, shape: &Shape) -> [usize; 2] {
    ["x", "w"].map(|name| {
        let (len, role) = (shape.batch * shape.points, Role::Scratch);
        model.program.add(name, DType::F32, len, role, Fill::Zero)
    })
}

impl Network for Learner {
    fn losses(&self) -> usize {
        self.draw.batch
    }

    fn turn(&self, model: &mut Model, turn: usize, losses: usize, scale: f32) {
        for (set, given) in self.set.into_iter().zip(self.given) {
            self.draw.append(model, turn, set, given);
        }
        self.network.forward(model, turn, self.given, losses);
        self.network.backward(model, self.given, scale);
        Draw::count(model, turn);
    }
}

/// What a training on spectra begins with.
pub fn begin<'a>(plan: &'a Plan, shape: Shape, spectra: &Weighted) -> Begin<'a> {
    let mut model = plan.model();
    let draw = Draw {
        rows: spectra.x.len() / shape.points,
        batch: shape.batch,
        seed: plan.seed,
    };
    let learner = Learner {
        network: Autoencoder::new(&mut model, shape, plan.seed),
        draw,
        set: [
            draw.add(&mut model, "all-x", &spectra.x),
            draw.add(&mut model, "all-w", &spectra.w),
        ],
        given: given(&mut model, &shape),
    };
    Begin::new(plan, model, learner)
}

/// Judges a training by spectra: the mean of their losses, and of the parts of these.
///
/// # Errors
/// If that takes more memory than there is, or if a device fails.
pub fn judge(
    training: &Training,
    plan: &Plan,
    shape: &Shape,
    spectra: &Weighted,
) -> Result<Judged, Failure> {
    let mut model = Model::new(0, false);
    let network = Autoencoder::new(&mut model, *shape, plan.seed);
    let given = given(&mut model, shape);
    let program = &mut model.program;
    let turn = program.add("turn", DType::U64, 1, Role::Scratch, Fill::Zero);
    let losses = model.kept("losses", shape.batch);
    network.forward(&mut model, turn, given, losses);
    let divergences = model.kept("divergences", shape.batch);
    let mut evaluation = Evaluation::new(model, 0, &plan.device)?;
    evaluation.adopt(training)?;
    let len = shape.batch * shape.points;
    let (mut found, mut diverged) = (vec![], vec![]);
    let batches = spectra.x.chunks(len).zip(spectra.w.chunks(len));
    for (number, (x, w)) in (0..).zip(batches) {
        let session = evaluation.session();
        // What is behind the last spectra stays as it was.
        for (buffer, numbers) in given.into_iter().zip([x, w]) {
            session.write_first(buffer, numbers)?;
        }
        session.write_first(turn, &[HELD_OUT_TURN + number])?;
        evaluation.run(losses)?;
        let session = evaluation.session();
        let rows = x.len() / shape.points;
        found.extend_from_slice(&session.read(losses)?.get::<f32>()[..rows]);
        diverged.extend_from_slice(&session.read(divergences)?.get::<f32>()[..rows]);
    }
    let mean =
        |values: &[f32]| values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64;
    let (loss, divergence) = (mean(&found), mean(&diverged) / shape.points as f64);
    let parameters = evaluation.exact_parameters()?;
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let rows = spectra.x.chunks_exact(shape.points);
    let rows = rows.zip(spectra.w.chunks_exact(shape.points)).enumerate();
    let exact = rows
        .take(REFERENCE_SPECTRA.min(shape.batch))
        .map(|(b, (x, w))| {
            let noise = wide(&network.noise(HELD_OUT_TURN, b));
            reference(shape, &parameters, [&wide(x), &wide(w)], &noise)
        });
    Ok(Judged {
        loss,
        error: largest_difference(&found, &exact.collect::<Vec<_>>()),
        values: [
            ("divergence".to_owned(), divergence),
            (
                "reconstruction".to_owned(),
                loss - f64::from(shape.beta) * divergence,
            ),
        ]
        .into(),
        missed: None,
    })
}

/// The catalog entry.
pub struct TrainVae;

fn infos() -> Vec<ParameterInfo> {
    let of_model = vec![
        parameters::integer_or("batch", 32),
        parameters::integer_or("points", 256),
        parameters::integer_or("layers", 2),
        parameters::integer_or("width", 128),
        parameters::integer_or("code", 8),
        float("beta", 1.0),
        parameters::integer_or("spectra", 2000),
        optional_text("fluxes"),
        float("redshift", 0.2),
        float("held_out_quality", 0.0),
        optional_choice("stored", &["f32", "bf16"]),
    ];
    [of_model, plan::infos()].concat()
}

fn shape(case: &CaseSpec) -> Result<Shape, Failure> {
    let arguments = Arguments(case);
    let shape = Shape {
        batch: arguments.count("batch")?,
        points: arguments.count("points")?,
        width: arguments.count("width")?,
        layers: arguments.at_most("layers", 1024)?,
        code: arguments.count("code")?,
        beta: number(case, "beta", 0.0)? as f32,
    };
    if !POINTS.contains(&shape.points) {
        let expected = format!("{} to {}", POINTS.start(), POINTS.end());
        return Err(wrong("points", &expected, case.params.get("points")));
    }
    let widest = shape.width.max(shape.points);
    if shape.code > widest {
        let expected = format!("at most the larger of `width` and `points`, {widest}");
        return Err(wrong("code", &expected, case.params.get("code")));
    }
    size_product("`batch` and `width`", &[shape.batch, widest, 16])?;
    size_product(
        "`layers` and `width`",
        &[2 * shape.layers + 2, widest, widest, 64],
    )?;
    Ok(shape)
}

/// Fails unless a network and spectra that are made for it can fit into memory.
fn ensure_fits(case: &CaseSpec, plan: &Plan, shape: &Shape) -> Result<(), Failure> {
    let spectra = Arguments(case).at_most("spectra", 1 << 24)?;
    room::ensure_turns(case, plan, 2 * shape.layers)?;
    let least = Least {
        trained: shape.weights() as u128,
        activations: product(&[shape.batch, 2 * shape.layers, shape.width]),
        // A number and a weight each, kept once and in the program.
        data: product(&[spectra, shape.points, 16]),
        ..Least::default()
    };
    room::ensure(plan, &least)
}

/// Largest redshift that the generator has.
const MOST_REDSHIFT: f64 = 20.0;

/// As many spectra as a case asks for, up to its redshift.
fn generated(case: &CaseSpec, points: usize) -> Result<Spectra, Failure> {
    let count = Arguments(case).at_most("spectra", 1 << 24)?;
    size_product("`spectra` and `points`", &[count, points, 16])?;
    let redshift = number(case, "redshift", 0.0)?;
    if redshift > MOST_REDSHIFT {
        let expected = format!("at most {MOST_REDSHIFT}");
        return Err(wrong("redshift", &expected, case.params.get("redshift")));
    }
    Spectra::new(case.seed.0, count, points, redshift)
        .map_err(|what| Failure::Failed(format!("spectra: {what}")))
}

impl Catalog for TrainVae {
    fn info(&self) -> WorkloadInfo {
        let summary = "a step of training a beta-VAE on spectra, while it learns";
        workload::info("train-vae", summary, infos())
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let (plan, shape) = (Plan::of(case)?, shape(case)?);
        ensure_fits(case, &plan, &shape)?;
        if plan.recipe.stored == DType::F16 {
            let expected =
                "f32 or bf16: losses of f16 are scaled, which divergences of codes are not";
            return Err(wrong("stored", expected, case.params.get("stored")));
        }
        if let Optimizer::SophiaG(_) = plan.recipe.optimizer {
            let expected = "another optimizer: this one draws labels, and spectra have none";
            return Err(wrong("optimizer", expected, case.params.get("optimizer")));
        }
        let spectra = match given_optional(case, "fluxes")? {
            Some(path) => Spectra::of_file(Path::new(&path), shape.points)?,
            None => generated(case, shape.points)?,
        };
        workload::prepare(
            case,
            Observed {
                quality: number(case, "held_out_quality", 0.0)?,
                plan,
                shape,
                spectra,
            },
        )
    }
}

struct Observed {
    plan: Plan,
    shape: Shape,
    spectra: Spectra,
    /// Loss of held-out spectra that it has to come to; 0 for any.
    quality: f64,
}

impl Subject for Observed {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn begin(&self) -> Result<Begin<'_>, Failure> {
        Ok(begin(&self.plan, self.shape, &self.spectra.train))
    }

    fn inputs(&self) -> Vec<(&'static str, Digest)> {
        vec![("spectra", self.spectra.digest)]
    }

    fn judge(&mut self, training: &Training) -> Result<Judged, Failure> {
        let judged = judge(training, &self.plan, &self.shape, &self.spectra.held_out)?;
        let (loss, quality) = (judged.loss, self.quality);
        let missed = quality > 0.0 && (loss > quality || loss.is_nan());
        Ok(Judged {
            missed: missed
                .then(|| format!("the held-out loss is {loss:.4}: expected at most {quality}")),
            ..judged
        })
    }

    fn describe(&self, _: &Training) -> Description {
        let shape = &self.shape;
        let items = shape.batch * self.plan.recipe.accumulation;
        let flops = 6 * shape.weights() - 2 * shape.points * shape.width;
        let counts = [&self.spectra.train, &self.spectra.held_out];
        let [train, held_out] = counts.map(|part| (part.x.len() / shape.points).to_string());
        let leaked = format!(
            "{:.4} of held-out spectra are trained on",
            self.spectra.leaked
        );
        let warning = leaks::warning(self.spectra.leaked, "spectra");
        let of_loss = |name| metric(name, "nats", Direction::Lower, MetricKind::Case);
        Description {
            items,
            formula: "items = spectra = batch accumulation, flops = (6 N - 2 P W) spectra; N weights of products, P = points, W = width",
            flops: vec![("mfu", flops * items)],
            metrics: vec![
                of_loss("reconstruction"),
                metric("divergence", "nats", Direction::Neutral, MetricKind::Case),
            ],
            facts: [
                ("spectra.train", train),
                ("spectra.held_out", held_out),
                ("spectra.leaked", leaked),
            ]
            .into_iter()
            .chain(warning.map(|words| ("spectra.warning", words)))
            .collect(),
        }
    }
}

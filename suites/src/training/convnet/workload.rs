//! `train-cnn`: a convolutional network that learns what pictures show.
//!
//! Pictures of a turn are [mixed](assay_kernels::ml::mixing), branches are left out; it is judged without both by pictures that were
//! held out, of which some losses are compared with those of the [reference](super::reference).
//!
//! Work: products alone. Forward `2 P Q K C R S` flops for each convolution and `2 C K` for the head, and twice as much backward, but for the
//! first convolution, whose input has no gradient.

use std::path::Path;

use assay_kernels::element::DType;
use assay_kernels::ml::cross_entropy::CrossEntropy;
use assay_kernels::ml::mixing::{Kind, Mixing};
use assay_kernels::ml::soft_cross_entropy::SoftCrossEntropy;
use assay_kernels::parameters::{self, Arguments, size_product, wrong};
use assay_kernels::program::{Fill, Role};
use assay_protocol::{
    CaseSpec, Catalog, Digest, Direction, Failure, MetricKind, ParameterInfo, Workload,
    WorkloadInfo,
};

use super::{Convnet, Shape, reference};
use crate::training::draw::{self, Draw};
use crate::training::evaluation::{Answers, Evaluation, largest_difference};
use crate::training::images::{CHANNELS, Images, SIDES, Stored};
use crate::training::model::Model;
use crate::training::network::Network;
use crate::training::plan::{self, Plan, float, given_optional, names, number, optional_text};
use crate::training::reference::softmax_loss;
use crate::training::room::{self, Least, product};
use crate::training::rows::Labelled;
use crate::training::run::{Begin, Training};
use crate::training::session::Device;
use crate::training::workload::{self, Description, Judged, Subject, metric};

/// Stream of partners of pictures, and of what is done with them.
const MIXING_STREAM: u64 = 1 << 45;
/// Pictures whose losses are compared with the reference.
const REFERENCE_PICTURES: usize = 4;

/// A network, and the pictures that it is trained on.
struct Learner {
    network: Convnet,
    mixing: Mixing,
    /// All pictures and their labels.
    set: [usize; 2],
    /// Those of a turn, and their soft labels.
    given: [usize; 2],
}

impl Network for Learner {
    fn losses(&self) -> usize {
        self.mixing.draw.batch
    }

    fn turn(&self, model: &mut Model, turn: usize, losses: usize, scale: f32) {
        let Self { mixing, given, .. } = *self;
        let (rows, classes) = (mixing.draw.batch, mixing.classes);
        model.program.belongs_to("data");
        mixing.forward(&mut model.program, turn, self.set, given);
        let [x, targets] = given;
        let logits = self.network.forward(model, x, Some(turn));
        let brick = SoftCrossEntropy { rows, classes };
        let d_logits = model.take(rows * classes);
        model.program.belongs_to("cross-entropy");
        brick.forward(&mut model.program, [logits, targets], losses);
        brick.backward(&mut model.program, [logits, targets], scale, d_logits);
        self.network.backward(model, x, turn, d_logits);
        model.give(d_logits);
        // What was left out of this turn is needed until here.
        Draw::count(model, turn);
    }

    /// Pictures are mixed, and branches left out, as in any turn; labels that are drawn are not.
    fn curvature(&self, model: &mut Model, turn: usize) -> Option<usize> {
        let Self { mixing, given, .. } = *self;
        let (rows, classes) = (mixing.draw.batch, mixing.classes);
        let shape = [rows, classes];
        let brick = CrossEntropy {
            tokens: rows,
            classes,
            dtype: DType::F32,
        };
        let [losses, logsums] = ["losses.drawn", "logsums"].map(|name| model.kept(name, rows));
        let labels = model.kept_as("labels.drawn", DType::U32, rows);
        let d_logits = model.take(rows * classes);
        model.program.belongs_to("data");
        mixing.forward(&mut model.program, turn, self.set, given);
        let logits = self.network.forward(model, given[0], Some(turn));
        draw::labels(model, (mixing.draw.seed, shape), turn, [logits, labels]);
        let program = &mut model.program;
        brick.forward(program, [logits, labels], losses, logsums);
        let scale = 1.0 / rows as f32;
        brick.backward(program, [logits, labels, logsums], scale, d_logits);
        self.network.backward(model, given[0], turn, d_logits);
        model.give(d_logits);
        Draw::count(model, turn);
        Some(rows)
    }
}

/// How pictures are mixed, and labels smoothed.
#[derive(Clone, Copy, Debug)]
pub struct Augmentation {
    /// What is done with a picture and its partner.
    pub kind: Kind,
    /// What of a label is spread over all.
    pub smoothing: f32,
}

/// What a training on labelled pictures begins with.
///
/// # Errors
/// If the shape is none that convolutions have.
pub fn begin<'a>(
    plan: &'a Plan,
    shape: Shape,
    augmentation: Augmentation,
    pictures: &Labelled,
) -> Result<Begin<'a>, Failure> {
    let mut model = plan.model();
    let draw = Draw {
        rows: pictures.labels.len(),
        batch: shape.batch,
        seed: plan.seed,
    };
    let network = Convnet::new(&mut model, shape, plan.seed)?;
    let set = [
        draw.add(&mut model, "all-x", &pictures.x),
        draw.add(&mut model, "all-labels", &pictures.labels),
    ];
    let lens = [
        ("x", shape.batch * shape.side * shape.side * shape.channels),
        ("targets", shape.batch * shape.classes),
    ];
    let given = lens.map(|(name, len)| {
        let role = Role::Scratch;
        model.program.add(name, DType::F32, len, role, Fill::Zero)
    });
    let learner = Learner {
        network,
        mixing: Mixing {
            draw: draw.brick(),
            kind: augmentation.kind,
            shape: [shape.side, shape.channels],
            classes: shape.classes,
            smoothing: augmentation.smoothing,
            stream: MIXING_STREAM,
        },
        set,
        given,
    };
    Ok(Begin::new(plan, model, learner))
}

/// Judges a training by labelled pictures: the mean of their losses, and the share of right answers.
///
/// # Errors
/// If that takes more memory than there is, or if a device fails.
pub fn judge(
    training: &Training,
    shape: &Shape,
    pictures: &Labelled,
    device: &Device,
) -> Result<Judged, Failure> {
    let mut model = Model::new(0, false);
    let network = Convnet::new(&mut model, *shape, 0)?;
    let Shape { batch, classes, .. } = *shape;
    let len = shape.side * shape.side * shape.channels;
    let parts = [
        ("x", DType::F32, batch * len),
        ("labels", DType::U32, batch),
    ];
    let given = parts.map(|(name, dtype, len)| {
        let role = Role::Scratch;
        model.program.add(name, dtype, len, role, Fill::Zero)
    });
    let [losses, logsums] = ["losses", "logsums"].map(|name| model.kept(name, batch));
    let logits = network.forward(&mut model, given[0], None);
    let brick = CrossEntropy {
        tokens: batch,
        classes,
        dtype: DType::F32,
    };
    let [_, labels] = given;
    brick.forward(&mut model.program, [logits, labels], losses, logsums);
    let mut evaluation = Evaluation::new(model, 0, device)?;
    evaluation.adopt(training)?;
    let answers = Answers {
        shape: [batch, len],
        given,
        losses,
        logits,
    };
    let (judged, found) = answers.judge(&mut evaluation, &pictures.x, &pictures.labels)?;
    let parameters = evaluation.exact_parameters()?;
    let some = pictures.x.chunks_exact(len).zip(&pictures.labels);
    let exact = some.take(REFERENCE_PICTURES).map(|(x, label)| {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let logits = reference::logits(shape, &parameters, &x, |_| 1.0);
        softmax_loss(&logits, *label as usize)
    });
    Ok(Judged {
        error: largest_difference(&found, &exact.collect::<Vec<_>>()),
        ..judged
    })
}

/// The catalog entry.
pub struct TrainCnn;

fn infos() -> Vec<ParameterInfo> {
    let of_model = vec![
        parameters::integer_or("batch", 32),
        parameters::integer_or("side", 24),
        parameters::integer_or("width", 8),
        parameters::integer_or("stages", 2),
        parameters::integer_or("blocks", 1),
        parameters::integer_or("pictures", 2000),
        optional_text("images"),
        optional_text("labels"),
        optional_text("label"),
        parameters::choice("mixing", &names(Kind::NAMED)),
        float("smoothing", 0.0),
        float("drop", 0.0),
        float("accuracy", 0.0),
    ];
    [of_model, plan::infos()].concat()
}

/// A share below one.
fn share(case: &CaseSpec, name: &str) -> Result<f64, Failure> {
    let found = number(case, name, 0.0)?;
    let value = case.params.get(name);
    let is_share = found < 1.0;
    is_share
        .then_some(found)
        .ok_or_else(|| wrong(name, "a number from 0 to below 1", value))
}

fn shape(case: &CaseSpec, classes: usize) -> Result<Shape, Failure> {
    let arguments = Arguments(case);
    let shape = Shape {
        batch: arguments.count("batch")?,
        side: arguments.count("side")?,
        channels: CHANNELS,
        width: arguments.count("width")?,
        stages: arguments.at_most("stages", 16)?,
        blocks: arguments.at_most("blocks", 1024)?,
        classes,
        drop: (share(case, "drop")? * 2_f64.powi(32)) as u32,
    };
    let side = case.params.get("side");
    let multiple = 1 << (shape.stages - 1);
    if !SIDES.contains(&shape.side) || !shape.side.is_multiple_of(multiple) {
        let expected = format!(
            "a multiple of {multiple}, since each of {} `stages` but the first halves it, from {} to {}",
            shape.stages,
            SIDES.start(),
            SIDES.end()
        );
        return Err(wrong("side", &expected, side));
    }
    let widest = shape.width.max(shape.channels) << (shape.stages - 1);
    let pixels = [shape.batch, shape.side, shape.side, widest, 64];
    size_product("`batch`, `side` and `width`", &pixels)?;
    let filters = [shape.stages, shape.blocks, widest, widest, 2048];
    size_product("`blocks` and `width`", &filters)?;
    Ok(shape)
}

/// Fails unless a network and pictures that are made for it can fit into memory.
fn ensure_fits(case: &CaseSpec, plan: &Plan) -> Result<(), Failure> {
    let shape = shape(case, 1)?;
    let pictures = Arguments(case).at_most("pictures", 1 << 24)?;
    room::ensure_turns(case, plan, shape.stages * shape.blocks)?;
    let pixels = [shape.side, shape.side];
    let last = shape.width << (shape.stages - 1);
    let needed = Least {
        // Two convolutions of 3 by 3 in each block of the last stage.
        trained: product(&[shape.blocks, 2 * 9, last, last]),
        activations: product(&[&pixels[..], &[shape.batch, shape.width]].concat()),
        // Kept once and in the program.
        data: product(&[&pixels[..], &[pictures, CHANNELS, 8]].concat()),
        ..Least::default()
    };
    room::ensure(plan, &needed)
}

/// The pictures that a case asks for: of files, or so many as are generated.
fn images(case: &CaseSpec, side: usize) -> Result<Images, Failure> {
    let images = given_optional(case, "images")?;
    let labels = given_optional(case, "labels")?;
    let label = given_optional(case, "label")?;
    let Some(images) = images else {
        for (name, given) in [("labels", &labels), ("label", &label)] {
            if given.is_some() {
                let expected = "none without `images`: they are of these";
                return Err(wrong(name, expected, case.params.get(name)));
            }
        }
        return generated(case, side);
    };
    let expected = "the table of labels, a row for each item of `images`";
    let labels = labels.ok_or_else(|| wrong("labels", expected, None))?;
    let stored = Stored {
        images: Path::new(&images),
        labels: Path::new(&labels),
        label: label.as_deref(),
    };
    Images::of_files(stored, side)
}

fn generated(case: &CaseSpec, side: usize) -> Result<Images, Failure> {
    let count = Arguments(case).at_most("pictures", 1 << 24)?;
    size_product("`pictures` and `side`", &[count, side * side * CHANNELS, 8])?;
    Images::new(case.seed.0, count, side).map_err(Failure::Failed)
}

impl Catalog for TrainCnn {
    fn info(&self) -> WorkloadInfo {
        let summary = "a step of training a convolutional network on pictures, while it learns";
        workload::info("train-cnn", summary, infos())
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let (plan, arguments) = (Plan::of(case)?, Arguments(case));
        ensure_fits(case, &plan)?;
        // How many classes there are is known when there are pictures.
        let asked = shape(case, 1)?;
        let images = images(case, asked.side)?;
        workload::prepare(
            case,
            Pictures {
                accuracy: number(case, "accuracy", 0.0)?,
                augmentation: Augmentation {
                    kind: arguments.choice("mixing", Kind::NAMED)?,
                    smoothing: share(case, "smoothing")? as f32,
                },
                shape: Shape {
                    classes: images.classes,
                    ..asked
                },
                plan,
                images,
            },
        )
    }
}

struct Pictures {
    plan: Plan,
    shape: Shape,
    augmentation: Augmentation,
    images: Images,
    /// Share of right answers that it has to come to.
    accuracy: f64,
}

impl Subject for Pictures {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn begin(&self) -> Result<Begin<'_>, Failure> {
        let pictures = &self.images.train;
        begin(&self.plan, self.shape, self.augmentation, pictures)
    }

    fn inputs(&self) -> Vec<(&'static str, Digest)> {
        vec![("pictures", self.images.digest)]
    }

    fn judge(&mut self, training: &Training) -> Result<Judged, Failure> {
        let (held_out, device) = (&self.images.held_out, &self.plan.device);
        let judged = judge(training, &self.shape, held_out, device)?;
        Ok(judged.at_least("accuracy", self.accuracy))
    }

    fn describe(&self, _: &Training) -> Description {
        let items = self.shape.batch * self.plan.recipe.accumulation;
        let network = Convnet::new(&mut Model::new(0, false), self.shape, 0);
        let flops = network.map_or(0, |network| network.flops());
        let counts = [&self.images.train, &self.images.held_out].map(|part| part.labels.len());
        let leaked = format!(
            "{:.4} of held-out pictures are trained on",
            self.images.leaked
        );
        Description {
            items,
            formula: "items = pictures = batch accumulation, flops = those of all convolutions and of the head, forward and twice \
                      as many backward, but for the gradient of the pictures",
            flops: vec![("mfu", flops * items)],
            metrics: vec![metric("accuracy", "1", Direction::Higher, MetricKind::Case)],
            facts: [
                ("pictures.train", counts[0].to_string()),
                ("pictures.held_out", counts[1].to_string()),
                ("pictures.leaked", leaked),
                ("classes", self.shape.classes.to_string()),
            ]
            .into_iter()
            .chain(self.images.doubts())
            .collect(),
        }
    }
}

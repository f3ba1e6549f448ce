//! `train-mlp`: a perceptron of several layers that foretells a column of a table from the others.
//!
//! `h = gelu(x W + b)`, layer after layer, then logits `h W + b`, and cross-entropy. It is judged by rows that were held out, of which
//! some losses are compared with those of the same in `f64`.
//!
//! Work: `6 N - 2 F W` flops a row, with `N` weights of products: forward, and twice as much backward, but for the `F` by `W` weights of
//! the first layer, whose input has no gradient.

use std::path::Path;

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml::cross_entropy::CrossEntropy;
use assay_kernels::parameters::{self, Arguments, size_product};
use assay_kernels::program::{Fill, Role};
use assay_protocol::{
    CaseSpec, Catalog, Digest, Direction, Failure, MetricKind, ParamValue, ParameterInfo, Workload,
    WorkloadInfo,
};

use super::draw::{self, Draw};
use super::evaluation::{Answers, Evaluation, largest_difference};
use super::layers::{Hidden, Linear};
use super::leaks;
use super::model::Model;
use super::network::Network;
use super::plan::{self, Plan, STORED, float, given, names, number, text};
use super::reference::{Reader, gelu, linear, softmax_loss};
use super::room::{self, Least, product};
use super::rows::{Labelled, Rows};
use super::run::{Begin, Training};
use super::session::Device;
use super::workload::{self, Description, Judged, Subject, metric};

/// Rows whose losses are compared with the reference.
const REFERENCE_ROWS: usize = 64;

/// The shape of a perceptron.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of a turn.
    pub batch: usize,
    /// Features of a row.
    pub features: usize,
    /// Columns of a hidden layer.
    pub width: usize,
    /// Hidden layers, at least one.
    pub layers: usize,
    /// Different labels.
    pub classes: usize,
}

impl Shape {
    fn weights(&self) -> usize {
        let Self { width, layers, .. } = *self;
        width * (self.features + (layers - 1) * width + self.classes)
    }

    fn cross_entropy(&self) -> CrossEntropy {
        CrossEntropy {
            tokens: self.batch,
            classes: self.classes,
            dtype: DType::F32,
        }
    }
}

/// A perceptron with its parameters.
#[derive(Clone, Debug)]
pub struct Perceptron {
    shape: Shape,
    layers: Vec<Hidden>,
    head: Linear,
}

impl Perceptron {
    /// Adds its parameters to a model.
    pub fn new(model: &mut Model, shape: Shape) -> Self {
        let Shape {
            batch,
            width,
            classes,
            ..
        } = shape;
        let layer = |index: usize| {
            let inputs = if index == 0 { shape.features } else { width };
            Hidden::new(model, &format!("layers.{index}"), [batch, inputs, width])
        };
        let layers = (0..shape.layers).map(layer).collect();
        let deviation = 1.0 / (width as f32).sqrt();
        let head = Linear::new(model, "head", [batch, width, classes], true, deviation);
        Self {
            shape,
            layers,
            head,
        }
    }

    fn logits(&self, model: &mut Model) -> usize {
        model.kept("logits", self.shape.batch * self.shape.classes)
    }

    fn logsums(&self, model: &mut Model) -> usize {
        model.kept("logsums", self.shape.batch)
    }

    /// Computes the loss of each row, given features and labels; gives its logits.
    pub fn forward(&self, model: &mut Model, [x, labels]: [usize; 2], losses: usize) -> usize {
        let mut h = x;
        for layer in &self.layers {
            h = layer.forward(model, h);
        }
        let (logits, logsums) = (self.logits(model), self.logsums(model));
        self.head.forward(model, h, logits);
        model.program.belongs_to("cross-entropy");
        let brick = self.shape.cross_entropy();
        brick.forward(&mut model.program, [logits, labels], losses, logsums);
        logits
    }

    /// Computes the gradients of all parameters, where that of each row's loss is `scale`.
    pub fn backward(&self, model: &mut Model, [x, labels]: [usize; 2], scale: f32) {
        let Shape {
            batch,
            width,
            classes,
            ..
        } = self.shape;
        let (logits, logsums) = (self.logits(model), self.logsums(model));
        let d_logits = model.take(batch * classes);
        model.program.belongs_to("cross-entropy");
        let brick = self.shape.cross_entropy();
        let given = [logits, labels, logsums];
        brick.backward(&mut model.program, given, scale, d_logits);
        model.scale_loss(d_logits);
        let mut d = model.take(batch * width);
        let mut inputs = vec![x];
        inputs.extend(self.layers.iter().map(|layer| layer.out(model)));
        let last = inputs[self.layers.len()];
        self.head.backward(model, [last, d_logits], d, Store::Set);
        for (layer, x) in self.layers.iter().zip(&inputs).skip(1).rev() {
            let dx = model.take(batch * width);
            layer.backward(model, [*x, d], Some(dx));
            model.give(d);
            d = dx;
        }
        self.layers[0].backward(model, [x, d], None);
        model.give(d);
        model.give(d_logits);
    }
}

/// Logits and losses of rows in `f64`, given parameters in their order.
pub fn reference(shape: &Shape, parameters: &[Vec<f64>], x: &[f64], labels: &[u32]) -> Vec<f64> {
    let of_row = |(x, label): (&[f64], &u32)| {
        let mut reader = Reader::new(parameters);
        let mut h = x.to_vec();
        for _ in 0..shape.layers {
            h = linear(&mut reader, &h, true);
            for x in &mut h {
                *x = gelu(*x);
            }
        }
        softmax_loss(&linear(&mut reader, &h, true), *label as usize)
    };
    let rows = x.chunks_exact(shape.features).zip(labels);
    rows.map(of_row).collect()
}

/// A perceptron, and the rows that it is trained on.
struct Learner {
    perceptron: Perceptron,
    draw: Draw,
    /// Features and labels of all rows.
    set: [usize; 2],
    /// Those of a turn.
    given: [usize; 2],
}

fn given_rows(model: &mut Model, shape: &Shape) -> [usize; 2] {
    let Shape {
        batch, features, ..
    } = *shape;
    let parts = [
        ("x", DType::F32, batch * features),
        ("labels", DType::U32, batch),
    ];
    parts.map(|(name, dtype, len)| {
        let role = Role::Scratch;
        model.program.add(name, dtype, len, role, Fill::Zero)
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
        Draw::count(model, turn);
        self.perceptron.forward(model, self.given, losses);
        self.perceptron.backward(model, self.given, scale);
    }

    fn curvature(&self, model: &mut Model, turn: usize) -> Option<usize> {
        let [x, labels] = self.given;
        let rows = self.draw.batch;
        let shape = [rows, self.perceptron.shape.classes];
        let losses = model.kept("losses.drawn", rows);
        self.draw.append(model, turn, self.set[0], x);
        // Any labels do, as long as they are classes: nobody looks at these losses.
        self.draw.append(model, turn, self.set[1], labels);
        let logits = self.perceptron.forward(model, self.given, losses);
        draw::labels(model, (self.draw.seed, shape), turn, [logits, labels]);
        Draw::count(model, turn);
        self.perceptron
            .backward(model, self.given, 1.0 / rows as f32);
        Some(rows)
    }
}

/// What a training on labelled rows begins with.
pub fn begin<'a>(plan: &'a Plan, shape: Shape, rows: &Labelled) -> Begin<'a> {
    let mut model = plan.model();
    let draw = Draw {
        rows: rows.labels.len(),
        batch: shape.batch,
        seed: plan.seed,
    };
    let learner = Learner {
        perceptron: Perceptron::new(&mut model, shape),
        draw,
        set: [
            draw.add(&mut model, "all-x", &rows.x),
            draw.add(&mut model, "all-labels", &rows.labels),
        ],
        given: given_rows(&mut model, &shape),
    };
    Begin::new(plan, model, learner)
}

/// Judges a training by labelled rows: the mean of their losses, and the share of right answers.
///
/// # Errors
/// If that takes more memory than there is, or if a device fails.
pub fn judge(
    training: &Training,
    shape: &Shape,
    rows: &Labelled,
    device: &Device,
) -> Result<Judged, Failure> {
    let mut model = Model::new(0, false);
    let perceptron = Perceptron::new(&mut model, *shape);
    let given = given_rows(&mut model, shape);
    let losses = model.kept("losses", shape.batch);
    let logits = perceptron.forward(&mut model, given, losses);
    let mut evaluation = Evaluation::new(model, 0, device)?;
    evaluation.adopt(training)?;
    let answers = Answers {
        shape: [shape.batch, shape.features],
        given,
        losses,
        logits,
    };
    let (judged, found) = answers.judge(&mut evaluation, &rows.x, &rows.labels)?;
    let some = REFERENCE_ROWS.min(rows.labels.len());
    let x = rows.x[..some * shape.features].iter();
    let x: Vec<f64> = x.map(|x| f64::from(*x)).collect();
    let parameters = evaluation.exact_parameters()?;
    let exact = reference(shape, &parameters, &x, &rows.labels[..some]);
    Ok(Judged {
        error: largest_difference(&found, &exact),
        ..judged
    })
}

/// Rows of the table that is made, and layers, at most.
const MOST_ROWS: usize = 1 << 24;
const MOST_LAYERS: usize = 1024;
/// Features of the rows that are made, whatever is foretold of them, at least.
const LEAST_FEATURES: usize = 36;
/// Bytes of such a row at least: features and label are kept once, once more for whoever fills the program's buffers, and in these.
const BYTES_OF_ROW: usize = 3 * 4 * (LEAST_FEATURES + 1);

/// The catalog entry.
pub struct TrainMlp;

fn infos() -> Vec<ParameterInfo> {
    let target = ParameterInfo {
        default: Some(ParamValue::Text("occupation".into())),
        ..text("target")
    };
    let of_model = vec![
        parameters::integer_or("batch", 64),
        parameters::integer_or("layers", 2),
        parameters::integer_or("width", 64),
        parameters::choice("stored", &names(&STORED)),
        parameters::integer_or("rows", 20_000),
        text("table"),
        target,
        float("accuracy", 0.0),
    ];
    [of_model, plan::infos()].concat()
}

impl Catalog for TrainMlp {
    fn info(&self) -> WorkloadInfo {
        let summary = "a step of training a perceptron on rows of a table, while it learns";
        workload::info("train-mlp", summary, infos())
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let (plan, arguments) = (Plan::of(case)?, Arguments(case));
        ensure_fits(case, &plan)?;
        let target = arguments.text("target")?;
        let rows = match given(case, "table")? {
            Some(path) => Rows::of_file(Path::new(&path), target)?,
            None => Rows::of_census(plan.seed, arguments.at_most("rows", MOST_ROWS)?, target)
                .map_err(Failure::Failed)?,
        };
        let shape = Shape {
            batch: arguments.count("batch")?,
            features: rows.features,
            width: arguments.count("width")?,
            layers: arguments.at_most("layers", MOST_LAYERS)?,
            classes: rows.classes,
        };
        check_shape(&shape)?;
        workload::prepare(
            case,
            Table {
                accuracy: number(case, "accuracy", 0.0)?,
                plan,
                shape,
                rows,
            },
        )
    }
}

/// Fails unless a network can fit into memory, whatever its table, and one that is made, too.
fn ensure_fits(case: &CaseSpec, plan: &Plan) -> Result<(), Failure> {
    let arguments = Arguments(case);
    let [batch, width] = [arguments.count("batch")?, arguments.count("width")?];
    let layers = arguments.at_most("layers", MOST_LAYERS)?;
    let rows = match given(case, "table")? {
        Some(_) => 0,
        None => arguments.at_most("rows", MOST_ROWS)?,
    };
    room::ensure_turns(case, plan, layers)?;
    let least = Least {
        trained: product(&[layers - 1, width, width]),
        activations: product(&[batch, width, layers]),
        data: product(&[rows, BYTES_OF_ROW]),
        ..Least::default()
    };
    room::ensure(plan, &least)
}

fn check_shape(shape: &Shape) -> Result<(), Failure> {
    let widest = shape.width.max(shape.features).max(shape.classes);
    size_product("`batch` and `width`", &[shape.batch, widest, 8])?;
    size_product(
        "`layers` and `width`",
        &[shape.layers + 2, widest, widest, 64],
    )?;
    Ok(())
}

struct Table {
    plan: Plan,
    shape: Shape,
    rows: Rows,
    /// Share of right answers that it has to come to.
    accuracy: f64,
}

impl Subject for Table {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn begin(&self) -> Result<Begin<'_>, Failure> {
        Ok(begin(&self.plan, self.shape, &self.rows.train))
    }

    fn inputs(&self) -> Vec<(&'static str, Digest)> {
        vec![("table", self.rows.digest)]
    }

    fn judge(&mut self, training: &Training) -> Result<Judged, Failure> {
        let judged = judge(
            training,
            &self.shape,
            &self.rows.held_out,
            &self.plan.device,
        )?;
        Ok(judged.at_least("accuracy", self.accuracy))
    }

    fn describe(&self, _: &Training) -> Description {
        let (shape, rows) = (&self.shape, &self.rows);
        let items = shape.batch * self.plan.recipe.accumulation;
        let flops = 6 * shape.weights() - 2 * shape.features * shape.width;
        let leaked = format!("{:.4} of held-out rows are trained on", rows.leaked);
        let keys = rows.keys.iter().map(|name| format!("`{name}`"));
        let keys = keys.collect::<Vec<_>>().join(", ");
        let told = [
            ("columns.left_out", keys, "nearly all of its values differ"),
            ("columns.labels", rows.mixed.join("; "), "taken for labels"),
        ];
        let told = told.into_iter().filter(|(_, words, _)| !words.is_empty());
        let told = told.map(|(name, words, why)| (name, format!("{words}: {why}")));
        let unknown = (rows.unknown > 0).then(|| {
            let unknown = rows.unknown;
            format!("{unknown} held-out rows have a label that no row to learn from has, and are left out")
        });
        let told = told
            .chain(unknown.map(|words| ("rows.unknown", words)))
            .chain(leaks::warning(rows.leaked, "rows").map(|words| ("rows.warning", words)));
        Description {
            items,
            formula: "items = rows = batch accumulation, flops = (6 N - 2 F W) rows; N weights of products, F = features, W = width",
            flops: vec![("mfu", flops * items)],
            metrics: vec![metric("accuracy", "1", Direction::Higher, MetricKind::Case)],
            facts: [
                ("rows.train", rows.train.labels.len().to_string()),
                ("rows.held_out", rows.held_out.labels.len().to_string()),
                ("rows.unanswered", rows.unanswered.to_string()),
                ("rows.leaked", leaked),
                ("rows.question", rows.question.clone()),
                ("features", rows.features.to_string()),
            ]
            .into_iter()
            .chain(told)
            .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LEAST_FEATURES;
    use crate::synthetic::table::census;
    use crate::training::rows::Rows;

    /// What is counted before any row is made is not more than there will be, and not much less.
    #[test]
    fn rows_have_no_fewer_features_than_are_counted() {
        let columns = census::rows(1, 0, 1).columns;
        let of_target = |target: &str| Rows::of_census(1, 2000, target).map(|rows| rows.features);
        let features: Vec<_> = columns
            .iter()
            .filter_map(|c| of_target(&c.name).ok())
            .collect();
        let (least, most) = (
            features.iter().min().unwrap(),
            features.iter().max().unwrap(),
        );
        assert!(features.len() > 5, "{features:?}");
        assert!(
            LEAST_FEATURES <= *least && *most < 2 * LEAST_FEATURES,
            "{features:?}"
        );
    }
}

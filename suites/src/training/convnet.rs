//! A convolutional network that tells what a picture shows.
//!
//! A first convolution of 3 by 3; then stages of residual blocks, `x + conv(gelu(conv(norm x) + b))`, each stage on pictures of half the side
//! (by means of squares of 2 by 2) and with twice the channels (by a convolution) of the one before; then normalisation, the mean over
//! all pixels, and logits. The norm is over the channels of a pixel, as in Z. Liu et al., "A `ConvNet` for the 2020s", CVPR 2022, section 2.6. Branches
//! are left out by [stochastic depth](Depth), the last ones most often.
//!
//! Filters begin uniform with deviation `sqrt(2 / window)`, those of a block's second convolution with a tenth of that.

pub mod reference;
pub mod workload;

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml::activation::Form;
use assay_kernels::ml::bias_gelu::BiasGelu;
use assay_kernels::ml::depth::Depth;
use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::pool::MeanPool;
use assay_kernels::ops::conv2d::{Convolution, Sizes};
use assay_protocol::Failure;

use super::layers::{self, Linear, Norm};
use super::model::{Model, Start, Tensor};

/// Side of the windows of convolutions.
const KERNEL: usize = 3;
/// Stream of the words that say which branches are left out; the number of the branch is added.
const DEPTH_STREAM: u64 = 1 << 44;
/// What the second convolution of a block begins with, beside others.
const OF_LAST: f32 = 0.1;

/// The shape of a network.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Pictures of a turn.
    pub batch: usize,
    /// Side of a picture, a multiple of `2^(stages - 1)`.
    pub side: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// Channels of the first stage.
    pub width: usize,
    /// Stages, at least one.
    pub stages: usize,
    /// Blocks of a stage.
    pub blocks: usize,
    /// Different labels.
    pub classes: usize,
    /// Probability that the last branch is left out, in units of 2^-32; the `l`-th of `L` is with `l / L` of it.
    pub drop: u32,
}

impl Shape {
    /// Side of the pictures, and channels, of a stage.
    pub fn stage(&self, stage: usize) -> [usize; 2] {
        [self.side >> stage, self.width << stage]
    }

    fn branches(&self) -> usize {
        self.stages * self.blocks
    }

    /// Stochastic depth of a branch.
    pub fn depth(&self, branch: usize, seed: u64) -> Depth {
        let share = u64::from(self.drop) * (branch as u64 + 1) / self.branches() as u64;
        Depth {
            threshold: share as u32,
            batch: self.batch,
            seed,
            stream: DEPTH_STREAM + branch as u64,
        }
    }
}

/// A convolution with its filters.
#[derive(Clone, Debug)]
struct Conv {
    brick: Convolution,
    filters: Tensor,
}

impl Conv {
    fn new(
        model: &mut Model,
        name: &str,
        [batch, side]: [usize; 2],
        channels: [usize; 2],
        times: f32,
    ) -> Result<Self, Failure> {
        let brick = Convolution::new(Sizes {
            batch,
            channels,
            side,
            kernel: KERNEL,
            stride: 1,
            padding: KERNEL / 2,
        })?;
        let deviation = times * (2.0 / brick.window() as f32).sqrt();
        let shape = [brick.window(), channels[1]];
        let filters = model.parameter(name, shape, Start::Uniform(deviation));
        Ok(Self { brick, filters })
    }

    fn forward(&self, model: &mut Model, x: usize, y: usize) {
        let filters = model.buffer(self.filters);
        model.program.belongs_to("convolution");
        self.brick.forward(&mut model.program, x, filters, y);
    }

    fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: Option<usize>) {
        let (filters, gradient) = (model.buffer(self.filters), model.gradient(self.filters));
        model.program.belongs_to("convolution");
        let program = &mut model.program;
        if let Some(df) = gradient {
            self.brick.backward_filters(program, x, dy, df, Store::Set);
        }
        if let Some(dx) = dx {
            self.brick.backward_input(program, dy, filters, dx);
        }
    }

    /// Numbers of its output.
    fn len(&self) -> usize {
        self.brick.lens()[2]
    }
}

/// A residual block.
#[derive(Clone, Debug)]
struct Block {
    name: String,
    norm: Norm,
    convs: [Conv; 2],
    bias: Tensor,
    activation: BiasGelu,
    depth: Depth,
}

impl Block {
    fn new(
        model: &mut Model,
        name: String,
        shape: &Shape,
        stage: usize,
        depth: Depth,
    ) -> Result<Self, Failure> {
        let [side, width] = shape.stage(stage);
        let pixels = shape.batch * side * side;
        let norm = Norm::new(model, &format!("{name}.norm"), Kind::Layer, [pixels, width]);
        let conv = |model: &mut Model, part: &str, times| {
            let (name, sides) = (format!("{name}.{part}"), [shape.batch, side]);
            Conv::new(model, &name, sides, [width, width], times)
        };
        let first = conv(model, "conv1", 1.0)?;
        let bias = model.parameter(&format!("{name}.bias"), [1, width], Start::Constant(0.0));
        let second = conv(model, "conv2", OF_LAST)?;
        let activation = BiasGelu {
            rows: pixels,
            cols: width,
            form: Form::Tanh,
            dtype: DType::F32,
        };
        Ok(Self {
            name,
            norm,
            convs: [first, second],
            bias,
            activation,
            depth,
        })
    }

    /// After the norm, after the first convolution, and after the activation.
    fn kept(&self, model: &mut Model) -> [usize; 3] {
        let len = self.convs[0].len();
        ["normal", "product", "activation"]
            .map(|part| model.kept(&format!("{}.{part}", self.name), len))
    }

    fn out(&self, model: &mut Model) -> usize {
        model.kept(&format!("{}.out", self.name), self.convs[1].len())
    }

    fn forward(&self, model: &mut Model, x: usize, turn: Option<usize>) -> usize {
        model.enter(&self.name);
        let ([normal, product, between], out) = (self.kept(model), self.out(model));
        let branch = model.take(self.convs[1].len());
        let kept = model.take(self.convs[1].len());
        self.norm.forward(model, x, normal);
        self.convs[0].forward(model, normal, product);
        let bias = model.buffer(self.bias);
        model.program.belongs_to("activation");
        self.activation
            .forward(&mut model.program, product, bias, between);
        self.convs[1].forward(model, between, branch);
        let added = if let Some(turn) = turn {
            model.program.belongs_to("depth");
            self.depth.forward(&mut model.program, turn, branch, kept);
            kept
        } else {
            branch
        };
        layers::add(model, self.convs[1].len(), [x, added], out);
        model.give(branch);
        model.give(kept);
        model.leave();
        out
    }

    /// Turns the gradient of the output, in `d`, into that of `x`.
    fn backward(&self, model: &mut Model, x: usize, d: usize, turn: usize) {
        if model.enter(&self.name) {
            self.forward(model, x, Some(turn));
            model.enter(&self.name);
        }
        let [normal, product, between] = self.kept(model);
        let len = self.convs[0].len();
        let [branch, of_between] = [(); 2].map(|()| model.take(len));
        model.program.belongs_to("depth");
        self.depth.forward(&mut model.program, turn, d, branch);
        self.convs[1].backward(model, [between, branch], Some(of_between));
        let gradient = model.gradient(self.bias);
        let gradient = gradient.unwrap_or_else(|| model.take(self.activation.cols));
        let bias = model.buffer(self.bias);
        model.program.belongs_to("activation");
        let given = [product, bias, of_between];
        self.activation
            .backward(&mut model.program, given, branch, gradient);
        self.convs[0].backward(model, [normal, branch], Some(of_between));
        self.norm.backward(model, [x, of_between], branch);
        model.program.belongs_to("residual");
        layers::accumulate(model, len, branch, d);
        model.give(branch);
        model.give(of_between);
        model.leave();
    }
}

/// What is between two stages: means of squares, and a convolution to twice the channels.
#[derive(Clone, Debug)]
struct Narrowing {
    name: String,
    pool: MeanPool,
    conv: Conv,
}

impl Narrowing {
    fn new(model: &mut Model, shape: &Shape, stage: usize) -> Result<Self, Failure> {
        let [side, channels] = shape.stage(stage);
        let name = format!("stages.{}.narrow", stage + 1);
        let sides = [shape.batch, side / 2];
        let conv = Conv::new(model, &name, sides, [channels, 2 * channels], 1.0)?;
        let pool = MeanPool {
            batch: shape.batch,
            side,
            window: 2,
            channels,
        };
        Ok(Self { name, pool, conv })
    }

    fn kept(&self, model: &mut Model) -> [usize; 2] {
        let lens = [("means", self.pool.len()), ("out", self.conv.len())];
        lens.map(|(part, len)| model.kept(&format!("{}.{part}", self.name), len))
    }

    fn forward(&self, model: &mut Model, x: usize) -> usize {
        let [means, out] = self.kept(model);
        model.program.belongs_to("pooling");
        self.pool.forward(&mut model.program, x, means);
        self.conv.forward(model, means, out);
        out
    }

    /// Takes the gradient of the output; gives that of the input, in a buffer of its own.
    fn backward(&self, model: &mut Model, d: usize) -> usize {
        let [means, _] = self.kept(model);
        let d_means = model.take(self.pool.len());
        let dx = model.take(self.pool.inputs());
        self.conv.backward(model, [means, d], Some(d_means));
        model.program.belongs_to("pooling");
        self.pool.backward(&mut model.program, d_means, dx);
        model.give(d_means);
        dx
    }
}

/// What stands behind the stem: a block, or what is between stages.
#[derive(Clone, Debug)]
enum Part {
    Block(Box<Block>),
    Narrowing(Box<Narrowing>),
}

/// A network with its parameters.
#[derive(Clone, Debug)]
pub struct Convnet {
    shape: Shape,
    stem: Conv,
    parts: Vec<Part>,
    norm: Norm,
    pool: MeanPool,
    head: Linear,
}

impl Convnet {
    /// Adds its parameters to a model. `seed` is that of the branches which are left out.
    ///
    /// # Errors
    /// If sizes cannot be counted.
    pub fn new(model: &mut Model, shape: Shape, seed: u64) -> Result<Self, Failure> {
        let Shape { batch, classes, .. } = shape;
        let channels = [shape.channels, shape.width];
        let stem = Conv::new(model, "stem", [batch, shape.side], channels, 1.0)?;
        let mut parts = vec![];
        for stage in 0..shape.stages {
            if stage > 0 {
                let narrowing = Narrowing::new(model, &shape, stage - 1)?;
                parts.push(Part::Narrowing(Box::new(narrowing)));
            }
            for number in 0..shape.blocks {
                let name = format!("stages.{stage}.blocks.{number}");
                let depth = shape.depth(stage * shape.blocks + number, seed);
                let block = Block::new(model, name, &shape, stage, depth)?;
                parts.push(Part::Block(Box::new(block)));
            }
        }
        let [side, channels] = shape.stage(shape.stages - 1);
        let norm = Norm::new(model, "norm", Kind::Layer, [batch * side * side, channels]);
        let pool = MeanPool {
            batch,
            side,
            window: side,
            channels,
        };
        let deviation = 1.0 / (channels as f32).sqrt();
        let head = Linear::new(model, "head", [batch, channels, classes], true, deviation);
        Ok(Self {
            shape,
            stem,
            parts,
            norm,
            pool,
            head,
        })
    }

    /// Normalised pixels of the last stage, their means, and the logits.
    fn kept(&self, model: &mut Model) -> [usize; 3] {
        let Shape { batch, classes, .. } = self.shape;
        let pixels = self.pool.side.pow(2) * batch * self.pool.channels;
        let lens = [
            ("normal", pixels),
            ("means", self.pool.len()),
            ("logits", batch * classes),
        ];
        lens.map(|(name, len)| model.kept(name, len))
    }

    /// Computes the logits of pictures; of a turn, some branches are left out.
    pub fn forward(&self, model: &mut Model, x: usize, turn: Option<usize>) -> usize {
        let [normal, means, logits] = self.kept(model);
        let mut h = model.kept("stem.out", self.stem.len());
        self.stem.forward(model, x, h);
        for part in &self.parts {
            h = match part {
                Part::Block(block) => block.forward(model, h, turn),
                Part::Narrowing(narrowing) => narrowing.forward(model, h),
            };
        }
        self.norm.forward(model, h, normal);
        model.program.belongs_to("pooling");
        self.pool.forward(&mut model.program, normal, means);
        self.head.forward(model, means, logits);
        logits
    }

    /// Computes the gradients of all parameters, given that of the logits of a turn.
    pub fn backward(&self, model: &mut Model, x: usize, turn: usize, d_logits: usize) {
        let [normal, means, _] = self.kept(model);
        let d_means = model.take(self.pool.len());
        let len = model.program.buffers[normal].len;
        let [d_normal, mut d] = [(); 2].map(|()| model.take(len));
        self.head
            .backward(model, [means, d_logits], d_means, Store::Set);
        model.program.belongs_to("pooling");
        self.pool.backward(&mut model.program, d_means, d_normal);
        let mut inputs = vec![model.kept("stem.out", self.stem.len())];
        for part in &self.parts {
            inputs.push(match part {
                Part::Block(block) => block.out(model),
                Part::Narrowing(narrowing) => narrowing.kept(model)[1],
            });
        }
        let last = inputs[self.parts.len()];
        self.norm.backward(model, [last, d_normal], d);
        model.give(d_normal);
        model.give(d_means);
        for (part, x) in self.parts.iter().zip(&inputs).rev() {
            match part {
                Part::Block(block) => block.backward(model, *x, d, turn),
                Part::Narrowing(narrowing) => {
                    let dx = narrowing.backward(model, d);
                    model.give(d);
                    d = dx;
                }
            }
        }
        self.stem.backward(model, [x, d], None);
        model.give(d);
    }

    /// Flops of a picture: those of products, forward and, but for the gradient of the picture itself, backward.
    pub fn flops(&self) -> usize {
        let of_conv = |conv: &Conv| 2 * conv.len() * conv.brick.window() / self.shape.batch;
        let of_part = |part: &Part| match part {
            Part::Block(block) => block.convs.iter().map(of_conv).sum(),
            Part::Narrowing(narrowing) => of_conv(&narrowing.conv),
        };
        let parts: usize = self.parts.iter().map(of_part).sum();
        let head = 2 * self.pool.channels * self.shape.classes;
        3 * (parts + head) + 2 * of_conv(&self.stem)
    }
}

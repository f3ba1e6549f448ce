//! Layers of models: bricks with their parameters.

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml;
use assay_kernels::ml::activation::{Form, Gelu, SwiGlu};
use assay_kernels::ml::add::Add;
use assay_kernels::ml::bias_gelu::BiasGelu;
use assay_kernels::ml::cast::Cast;
use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::product::{self, Product};

use super::model::{Model, Start, Tensor, Weights};

/// `out = a + b`.
pub fn add(model: &mut Model, elements: usize, [a, b]: [usize; 2], out: usize) {
    model.program.belongs_to("residual");
    let dtype = DType::F32;
    Add { elements, dtype }.forward(&mut model.program, [a, b], out);
}

/// `sum += x`.
pub fn accumulate(model: &mut Model, elements: usize, x: usize, sum: usize) {
    let dtype = DType::F32;
    Add { elements, dtype }.accumulate(&mut model.program, x, sum);
}

/// Appends the rounding of all numbers of `from` to the type of `to`.
fn cast(model: &mut Model, from: usize, to: usize) {
    let spec = &model.program.buffers[to];
    let (elements, to_type) = (spec.len, spec.dtype);
    model.program.belongs_to("cast");
    let brick = Cast {
        elements,
        to: to_type,
    };
    brick.forward(&mut model.program, from, to);
}

/// Appends the rounding of numbers to where they are multiplied, unless they are multiplied where they are.
pub fn store(model: &mut Model, from: usize, to: usize) {
    if from != to {
        cast(model, from, to);
    }
}

/// A gradient as it is multiplied: rounded, where a model [stores](Model::stored) such in 16 bits, and it is not of that type already.
pub fn stored_gradient(model: &mut Model, dy: usize) -> usize {
    let (dtype, spec) = (model.stored, &model.program.buffers[dy]);
    if spec.dtype == dtype {
        return dy;
    }
    // One for all layers: it is used at once.
    let len = spec.len;
    let stored = model.kept_as(&format!("stored-gradient.{len}"), dtype, len);
    cast(model, dy, stored);
    stored
}

/// A linear layer: `y = x W + b`, and `x A B` of an adapter.
///
/// Where a model [stores](Model::stored) in 16 bits what is multiplied, `x`, `W` and the gradient of `y` are rounded first, unless they are of that type;
/// sums are of `f32`, and so are the gradients of `W` and adapters. `y` and the gradient of `x` are `f32` or of that type, as their buffers are.
/// Weights that are codes of 8 bits are not rounded once more.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    brick: ml::linear::Linear,
    weight: Tensor,
    bias: Option<Tensor>,
    adapter: Option<Adapter>,
}

impl Linear {
    /// Adds its parameters to a model: weights of `inputs` by `outputs` with this deviation, and biases of 0, if it has any.
    pub fn new(
        model: &mut Model,
        name: &str,
        [rows, inputs, outputs]: [usize; 3],
        has_bias: bool,
        deviation: f32,
    ) -> Self {
        let start = Start::Uniform(deviation);
        let weight = model.weight(&format!("{name}.weight"), [inputs, outputs], start);
        let bias = has_bias
            .then(|| model.parameter(&format!("{name}.bias"), [1, outputs], Start::Constant(0.0)));
        Self {
            name: name.to_owned(),
            brick: ml::linear::Linear::new(rows, inputs, outputs),
            weight,
            bias,
            adapter: None,
        }
    }

    /// Adds an adapter of a rank to it, which is trained where the layer itself is not.
    pub fn adapt(&mut self, model: &mut Model, name: &str, rank: usize) {
        let ml::linear::Linear {
            rows,
            inputs,
            outputs,
            ..
        } = self.brick;
        self.adapter = Some(Adapter::new(model, name, [rows, inputs, outputs], rank));
    }

    /// Computes `y`.
    pub fn forward(&self, model: &mut Model, x: usize, y: usize) {
        let bias = self.bias.map(|bias| model.buffer(bias));
        let of_x = self.stored_input(model, x);
        let weights = self.stored_weights(model);
        store(model, x, of_x);
        if let Weights::Numbers(stored) = weights {
            store(model, model.buffer(self.weight), stored);
        }
        model.program.belongs_to("linear");
        let (brick, program) = (&self.brick, &mut model.program);
        match weights {
            Weights::Numbers(weights) => brick.forward(program, of_x, weights, bias, y),
            Weights::Codes(weights) => brick.forward_codes(program, of_x, weights, bias, y),
        }
        if let Some(adapter) = &self.adapter {
            adapter.forward(model, x, y);
        }
    }

    /// As [`Self::forward`], without the bias.
    fn multiply(&self, model: &mut Model, x: usize, y: usize) {
        let without = Self {
            bias: None,
            ..self.clone()
        };
        without.forward(model, x, y);
    }

    /// Where `x` is, as it is multiplied.
    fn stored_input(&self, model: &mut Model, x: usize) -> usize {
        let (dtype, brick) = (model.stored, self.brick);
        if model.program.buffers[x].dtype == dtype {
            return x;
        }
        let name = format!("{}.stored-x", self.name);
        model.kept_as(&name, dtype, brick.rows * brick.inputs)
    }

    /// Where the weights are, as they are multiplied.
    fn stored_weights(&self, model: &mut Model) -> Weights {
        let (dtype, brick) = (model.stored, self.brick);
        let weights = model.weights(self.weight);
        if dtype == DType::F32 || matches!(weights, Weights::Codes(_)) {
            return weights;
        }
        let name = format!("{}.stored-w", self.name);
        Weights::Numbers(model.kept_as(&name, dtype, brick.inputs * brick.outputs))
    }

    /// Computes the gradients of the parameters and, as `store` says, of `x`.
    pub fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize, store: Store) {
        let stored = stored_gradient(model, dy);
        self.backward_weight(model, x, stored);
        if let Some(gradient) = self.bias.and_then(|bias| model.gradient(bias)) {
            model.program.belongs_to("linear");
            self.brick
                .backward_bias(&mut model.program, dy, gradient, Store::Set);
        }
        self.backward_input(model, stored, dx, store);
        if let Some(adapter) = &self.adapter {
            adapter.backward(model, [x, dy], dx);
        }
    }

    fn backward_weight(&self, model: &mut Model, x: usize, dy: usize) {
        if let Some(gradient) = model.gradient(self.weight) {
            let x = self.stored_input(model, x);
            model.program.belongs_to("linear");
            self.brick
                .backward_weights(&mut model.program, x, dy, gradient, Store::Set);
        }
    }

    fn backward_input(&self, model: &mut Model, dy: usize, dx: usize, store: Store) {
        // There since the forward pass.
        let weights = self.stored_weights(model);
        model.program.belongs_to("linear");
        let (brick, program) = (&self.brick, &mut model.program);
        match weights {
            Weights::Numbers(weights) => brick.backward_input(program, dy, weights, dx, store),
            Weights::Codes(weights) => brick.backward_input_codes(program, dy, weights, dx, store),
        }
    }
}

/// A low-rank adapter of a linear layer: `y += x A B`, with `A` of `inputs` by `rank` and `B` of `rank` by `outputs`.
///
/// `A` begins at random and `B` at 0, so that at first nothing is added. Source: E. Hu et al., "`LoRA`: low-rank adaptation of large
/// language models", ICLR 2022, section 4.1, with its `alpha` equal to the rank.
#[derive(Clone, Debug)]
struct Adapter {
    name: String,
    down: ml::linear::Linear,
    up: ml::linear::Linear,
    a: Tensor,
    b: Tensor,
}

impl Adapter {
    fn new(
        model: &mut Model,
        name: &str,
        [rows, inputs, outputs]: [usize; 3],
        rank: usize,
    ) -> Self {
        let deviation = 1.0 / (inputs as f32).sqrt();
        let start = Start::Uniform(deviation);
        Self {
            name: name.to_owned(),
            down: ml::linear::Linear::new(rows, inputs, rank),
            up: ml::linear::Linear::new(rows, rank, outputs),
            a: model.parameter(&format!("{name}.lora-a"), [inputs, rank], start),
            b: model.parameter(
                &format!("{name}.lora-b"),
                [rank, outputs],
                Start::Constant(0.0),
            ),
        }
    }

    fn between(&self, model: &mut Model) -> usize {
        let len = self.down.rows * self.down.outputs;
        model.kept(&format!("{}.lora", self.name), len)
    }

    /// Adds its part to `y`.
    fn forward(&self, model: &mut Model, x: usize, y: usize) {
        let (a, b) = (model.buffer(self.a), model.buffer(self.b));
        let between = self.between(model);
        model.program.belongs_to("adapter");
        self.down.forward(&mut model.program, x, a, None, between);
        let ml::linear::Linear {
            rows,
            inputs,
            outputs,
            engine,
        } = self.up;
        let product = Product {
            form: product::Form::Plain,
            m: rows,
            n: outputs,
            k: inputs,
            store: Store::Add,
            engine,
        };
        product.append(&mut model.program, between, b, None, y);
    }

    /// Computes the gradients of A and B, and adds that of `x`.
    fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize) {
        let (a, b) = (model.buffer(self.a), model.buffer(self.b));
        let between = self.between(model);
        let d_between = model.take(self.down.rows * self.down.outputs);
        let (of_a, of_b) = (model.gradient(self.a), model.gradient(self.b));
        model.program.belongs_to("adapter");
        let program = &mut model.program;
        self.up
            .backward_input(program, dy, b, d_between, Store::Set);
        if let Some(of_b) = of_b {
            self.up
                .backward_weights(program, between, dy, of_b, Store::Set);
        }
        if let Some(of_a) = of_a {
            self.down
                .backward_weights(program, x, d_between, of_a, Store::Set);
        }
        self.down
            .backward_input(program, d_between, a, dx, Store::Add);
        model.give(d_between);
    }
}

/// Normalisation of rows, with its gains and shifts.
#[derive(Clone, Debug)]
pub struct Norm {
    brick: ml::norm::Norm,
    parameters: Tensor,
    name: String,
}

impl Norm {
    /// Adds its parameters to a model: gains of 1, and shifts of 0 where it has any.
    pub fn new(model: &mut Model, name: &str, kind: Kind, [rows, cols]: [usize; 2]) -> Self {
        let brick = ml::norm::Norm {
            kind,
            rows,
            cols,
            dtype: DType::F32,
        };
        let shape = [1, brick.parameters()];
        Self {
            brick,
            parameters: model.parameter(name, shape, Start::OnesThenZeros(cols)),
            name: name.to_owned(),
        }
    }

    fn statistics(&self, model: &mut Model) -> usize {
        model.kept(
            &format!("{}.statistics", self.name),
            self.brick.statistics(),
        )
    }

    /// Computes `out`.
    pub fn forward(&self, model: &mut Model, x: usize, out: usize) {
        let (parameters, statistics) = (model.buffer(self.parameters), self.statistics(model));
        model.program.belongs_to("norm");
        self.brick
            .forward(&mut model.program, x, parameters, out, statistics);
    }

    /// Computes the gradients of the parameters and of `x`.
    pub fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize) {
        let (parameters, statistics) = (model.buffer(self.parameters), self.statistics(model));
        let gradient = model.gradient(self.parameters);
        let gradient = gradient.unwrap_or_else(|| model.take(self.brick.parameters()));
        model.program.belongs_to("norm");
        self.brick.backward(
            &mut model.program,
            [x, parameters, statistics, dy],
            dx,
            gradient,
        );
    }
}

/// What is between the two products of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `gelu(x W + b)`, in the form with the hyperbolic tangent.
    Gelu,
    /// `silu(x G + g) (x W + b)`.
    SwiGlu,
}

impl Activation {
    /// Width between the two products, for a model of this width: four times as much, or two thirds of that where
    /// there are three products, up to a multiple of 8.
    pub fn hidden(self, width: usize) -> usize {
        match self {
            Self::Gelu => 4 * width,
            Self::SwiGlu => (8 * width).div_ceil(3).next_multiple_of(8),
        }
    }
}

/// The feed-forward layer of a transformer.
#[derive(Clone, Debug)]
pub struct FeedForward {
    name: String,
    elements: usize,
    /// Of the gate, where there is one.
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
}

impl FeedForward {
    /// Adds its parameters to a model. The last product has a deviation of its own.
    pub fn new(
        model: &mut Model,
        name: &str,
        [rows, width]: [usize; 2],
        activation: Activation,
        has_bias: bool,
        [deviation, of_last]: [f32; 2],
    ) -> Self {
        let hidden = activation.hidden(width);
        let mut layer = |part: &str, inputs, outputs, deviation| {
            let shape = [rows, inputs, outputs];
            Linear::new(model, &format!("{name}.{part}"), shape, has_bias, deviation)
        };
        Self {
            name: name.to_owned(),
            elements: rows * hidden,
            gate: (activation == Activation::SwiGlu)
                .then(|| layer("gate", width, hidden, deviation)),
            up: layer("up", width, hidden, deviation),
            down: layer("down", hidden, width, of_last),
        }
    }

    /// Activations that are kept: before the activation, after it, and the gate.
    fn kept(&self, model: &mut Model) -> [usize; 3] {
        let mut kept = |part: &str| model.kept(&format!("{}.{part}", self.name), self.elements);
        let [up, between] = [kept("up"), kept("activation")];
        [up, between, self.gate.as_ref().map_or(up, |_| kept("gate"))]
    }

    /// Computes `out`.
    pub fn forward(&self, model: &mut Model, x: usize, out: usize) {
        let [up, between, gate] = self.kept(model);
        let elements = self.elements;
        match (&self.gate, self.fused(model)) {
            (Some(layer), _) => {
                layer.forward(model, x, gate);
                self.up.forward(model, x, up);
                model.program.belongs_to("activation");
                let dtype = DType::F32;
                SwiGlu { elements, dtype }.forward(&mut model.program, gate, up, between);
            }
            (None, Some((brick, bias))) => {
                self.up.multiply(model, x, up);
                let bias = model.buffer(bias);
                model.program.belongs_to("activation");
                brick.forward(&mut model.program, up, bias, between);
            }
            (None, None) => {
                self.up.forward(model, x, up);
                model.program.belongs_to("activation");
                gelu(elements).forward(&mut model.program, up, between);
            }
        }
        self.down.forward(model, between, out);
    }

    /// Computes the gradients of the parameters and of `x`.
    pub fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize) {
        let [up, between, gate] = self.kept(model);
        let elements = self.elements;
        let d_between = model.take(elements);
        let d_up = model.take(elements);
        self.down
            .backward(model, [between, dy], d_between, Store::Set);
        match (&self.gate, self.fused(model)) {
            (Some(layer), _) => {
                let d_gate = model.take(elements);
                model.program.belongs_to("activation");
                let dtype = DType::F32;
                let given = [gate, up, d_between];
                SwiGlu { elements, dtype }.backward(&mut model.program, given, d_gate, d_up);
                layer.backward(model, [x, d_gate], dx, Store::Set);
                self.up.backward(model, [x, d_up], dx, Store::Add);
                model.give(d_gate);
            }
            (None, Some((brick, bias))) => {
                let gradient = model.gradient(bias);
                let gradient = gradient.unwrap_or_else(|| model.take(brick.cols));
                let bias = model.buffer(bias);
                model.program.belongs_to("activation");
                brick.backward(&mut model.program, [up, bias, d_between], d_up, gradient);
                let stored = stored_gradient(model, d_up);
                self.up.backward_weight(model, x, stored);
                self.up.backward_input(model, stored, dx, Store::Set);
            }
            (None, None) => {
                model.program.belongs_to("activation");
                gelu(elements).backward(&mut model.program, up, d_between, d_up);
                self.up.backward(model, [x, d_up], dx, Store::Set);
            }
        }
        model.give(d_between);
        model.give(d_up);
    }

    /// Gelu with the bias of the first product, where it has one: in one pass.
    fn fused(&self, model: &Model) -> Option<(BiasGelu, Tensor)> {
        let bias = self.up.bias.filter(|_| self.gate.is_none())?;
        let cols = model.parameter_of(bias).len();
        let brick = BiasGelu {
            rows: self.elements / cols.max(1),
            cols,
            form: Form::Tanh,
            dtype: DType::F32,
        };
        Some((brick, bias))
    }
}

fn gelu(elements: usize) -> Gelu {
    Gelu {
        elements,
        form: Form::Tanh,
        dtype: DType::F32,
    }
}

/// A hidden layer: `gelu(x W + b)`, with bias and gelu in one pass.
#[derive(Clone, Debug)]
pub struct Hidden {
    name: String,
    /// Without the bias.
    linear: Linear,
    bias: Tensor,
}

impl Hidden {
    /// Adds its parameters to a model: weights of `inputs` by `outputs` with deviation `sqrt(2 / inputs)`, and biases of 0 (K. He
    /// et al., "Delving deep into rectifiers", ICCV 2015, equation 10).
    pub fn new(model: &mut Model, name: &str, sides: [usize; 3]) -> Self {
        let deviation = (2.0 / sides[1] as f32).sqrt();
        let linear = Linear::new(model, name, sides, false, deviation);
        let shape = [1, sides[2]];
        Self {
            name: name.to_owned(),
            linear,
            bias: model.parameter(&format!("{name}.bias"), shape, Start::Constant(0.0)),
        }
    }

    /// Numbers of its output.
    pub fn len(&self) -> usize {
        self.linear.brick.rows * self.linear.brick.outputs
    }

    /// Whether it has no output.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn brick(&self) -> BiasGelu {
        BiasGelu {
            rows: self.linear.brick.rows,
            cols: self.linear.brick.outputs,
            form: Form::Tanh,
            dtype: DType::F32,
        }
    }

    fn product(&self, model: &mut Model) -> usize {
        model.kept(&format!("{}.product", self.name), self.len())
    }

    /// Computes the output, which it keeps.
    pub fn forward(&self, model: &mut Model, x: usize) -> usize {
        model.enter(&self.name);
        let (product, out) = (self.product(model), self.out(model));
        self.linear.forward(model, x, product);
        let bias = model.buffer(self.bias);
        model.program.belongs_to("activation");
        self.brick().forward(&mut model.program, product, bias, out);
        model.leave();
        out
    }

    /// The output, as the forward pass left it.
    pub fn out(&self, model: &mut Model) -> usize {
        model.kept(&format!("{}.out", self.name), self.len())
    }

    /// Computes the gradients of the parameters and, where somebody wants it, of `x`.
    pub fn backward(&self, model: &mut Model, [x, d_out]: [usize; 2], dx: Option<usize>) {
        if model.enter(&self.name) {
            self.forward(model, x);
            model.enter(&self.name);
        }
        let (brick, product) = (self.brick(), self.product(model));
        let d_product = model.take(self.len());
        let gradient = model.gradient(self.bias);
        let gradient = gradient.unwrap_or_else(|| model.take(brick.cols));
        let bias = model.buffer(self.bias);
        model.program.belongs_to("activation");
        let given = [product, bias, d_out];
        brick.backward(&mut model.program, given, d_product, gradient);
        let stored = stored_gradient(model, d_product);
        self.linear.backward_weight(model, x, stored);
        if let Some(dx) = dx {
            self.linear.backward_input(model, stored, dx, Store::Set);
        }
        model.give(d_product);
        model.leave();
    }
}

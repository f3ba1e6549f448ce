//! A dense decoder: a language model of the shape of GPT-2, with the choices that came after it.
//!
//! `x = E[token] + P[place]`; each layer adds `attention(norm(x))` and then `feed-forward(norm(x))`; logits are `norm(x) E^T`, with the
//! table of the tokens again. Places are learned (`P`), or told to attention (`RoPE`, `ALiBi`). Linear layers have biases where the
//! normalisation has shifts. Sources: A. Radford et al., "Language models are unsupervised multitask learners", 2019, section 2.3;
//! H. Touvron et al., "`LLaMA`", 2023, section 2.2, for RMS norm, `SwiGLU` and `RoPE`.
//!
//! Parameters begin uniform with a deviation of 0.02, those of the last product of each branch with `0.02 / sqrt(2 layers)`, as in
//! GPT-2 (there normal).

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml::attention::{Attention, Given, Position, Variant};
use assay_kernels::ml::column_sum::Order;
use assay_kernels::ml::cross_entropy::CrossEntropy;
use assay_kernels::ml::embedding::Embedding;
use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::product::{Engine, Form, Product};
use assay_kernels::program::{Fill, Role};

use super::layers::{self, Activation, FeedForward, Linear, Norm};
use super::mixture::{MixtureLayer, Routing};
use super::model::{Model, Start, Tensor, Units};

const DEVIATION: f32 = 0.02;

/// How a model learns where a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// From a table that is learned.
    Learned,
    /// Attention rotates queries and keys.
    Rope,
    /// Attention has linear biases.
    Alibi,
}

/// The shape of a decoder.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sequences of a step.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Different tokens.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Columns of a token.
    pub width: usize,
    /// Heads of each layer's attention, of which the width is a multiple.
    pub heads: usize,
    /// How it learns where a token is.
    pub places: Places,
    /// Which normalisation.
    pub norm: Kind,
    /// What is in the feed-forward layers.
    pub activation: Activation,
    /// How tokens go to experts, where feed-forward layers are mixtures of such.
    pub routing: Option<Routing>,
    /// Rank of adapters of queries and values; of none, all parameters are trained, and else those of adapters alone.
    pub rank: usize,
    /// What the weights of linear layers below adapters are kept as: `f32`, or `i8`, codes with a scale for each row. Tables, biases
    /// and norms are `f32`.
    pub base: DType,
}

impl Shape {
    /// Tokens of a step.
    pub fn tokens(&self) -> usize {
        self.batch * self.length
    }

    /// Numbers of the activations of a layer.
    fn len(&self) -> usize {
        self.tokens() * self.width
    }

    /// Whether linear layers have biases.
    pub fn has_bias(&self) -> bool {
        self.norm == Kind::Layer
    }

    fn attention(&self) -> Attention {
        Attention {
            batch: self.batch,
            length: self.length,
            heads: self.heads,
            width: self.width,
            is_causal: true,
            position: match self.places {
                Places::Learned => Position::None,
                Places::Rope => Position::Rope,
                Places::Alibi => Position::Alibi,
            },
            variant: Variant::Fused,
        }
    }

    fn embedding(&self, rows: usize) -> Embedding {
        Embedding {
            tokens: self.tokens(),
            vocabulary: rows,
            width: self.width,
            dtype: DType::F32,
        }
    }

    fn cross_entropy(&self) -> CrossEntropy {
        CrossEntropy {
            tokens: self.tokens(),
            classes: self.vocabulary,
            dtype: DType::F32,
        }
    }

    /// The product of some form with the table of tokens, with sides `m`, `n` and `k`.
    fn head(form: Form, [m, n, k]: [usize; 3], store: Store) -> Product {
        Product {
            form,
            m,
            n,
            k,
            store,
            engine: Engine::Ours,
        }
    }
}

/// Queries, keys and values of attention, and what comes after it.
#[derive(Clone, Debug)]
struct SelfAttention {
    name: String,
    brick: Attention,
    /// The table of angles or slopes.
    table: Option<usize>,
    inputs: [Linear; 3],
    output: Linear,
    /// Whether adapters add to queries and values, which are `f32` then.
    has_adapters: bool,
}

impl SelfAttention {
    fn new(
        model: &mut Model,
        name: &str,
        shape: &Shape,
        table: Option<usize>,
        of_last: f32,
        adapters_train: bool,
    ) -> Self {
        let sides = [shape.tokens(), shape.width, shape.width];
        let mut layer = |part: &str, deviation| {
            let name = format!("{name}.{part}");
            Linear::new(model, &name, sides, shape.has_bias(), deviation)
        };
        let [mut q, k, mut v] = ["q", "k", "v"].map(|part| layer(part, DEVIATION));
        let output = layer("out", of_last);
        if shape.rank > 0 {
            // The layers themselves are not trained; adapters are, where anything is.
            let trains = std::mem::replace(&mut model.trains, adapters_train);
            q.adapt(model, &format!("{name}.q"), shape.rank);
            v.adapt(model, &format!("{name}.v"), shape.rank);
            model.trains = trains;
        }
        Self {
            name: name.to_owned(),
            brick: shape.attention(),
            table,
            inputs: [q, k, v],
            output,
            has_adapters: shape.rank > 0,
        }
    }

    /// The type of queries, keys, values and what comes of them.
    fn dtype(&self, model: &Model) -> DType {
        if self.has_adapters {
            DType::F32
        } else {
            model.stored
        }
    }

    /// Queries, keys, values and their output, and what the backward pass needs besides.
    fn given(&self, model: &mut Model) -> Given {
        let (len, dtype) = (self.brick.len(), self.dtype(model));
        let mut kept =
            |part: &str, dtype, len| model.kept_as(&format!("{}.{part}", self.name), dtype, len);
        Given {
            q: kept("queries", dtype, len),
            k: kept("keys", dtype, len),
            v: kept("values", dtype, len),
            table: self.table,
            out: kept("mixed", dtype, len),
            kept: kept("logsums", DType::F32, self.brick.kept_len()),
        }
    }

    fn forward(&self, model: &mut Model, x: usize, out: usize) {
        let given = self.given(model);
        for (layer, y) in self.inputs.iter().zip([given.q, given.k, given.v]) {
            layer.forward(model, x, y);
        }
        model.program.belongs_to("attention");
        self.brick.forward(&mut model.program, &given);
        self.output.forward(model, given.out, out);
    }

    fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize) {
        let given = self.given(model);
        let (len, dtype) = (self.brick.len(), self.dtype(model));
        let d_out = model.take_as(dtype, len);
        let gradients = [(); 3].map(|()| model.take_as(dtype, len));
        self.output
            .backward(model, [given.out, dy], d_out, Store::Set);
        model.program.belongs_to("attention");
        self.brick
            .backward(&mut model.program, &given, d_out, gradients);
        let stores = [Store::Set, Store::Add, Store::Add];
        for ((layer, d), store) in self.inputs.iter().zip(gradients).zip(stores) {
            layer.backward(model, [x, d], dx, store);
        }
        gradients
            .into_iter()
            .chain([d_out])
            .for_each(|d| model.give(d));
    }
}

/// The second branch of a layer.
#[derive(Clone, Debug)]
enum Second {
    Dense(Box<FeedForward>),
    Mixture(Box<MixtureLayer>),
}

impl Second {
    fn new(model: &mut Model, name: &str, shape: &Shape, deviations: [f32; 2]) -> Self {
        let sides = [shape.tokens(), shape.width];
        let Some(routing) = &shape.routing else {
            let (activation, has_bias) = (shape.activation, shape.has_bias());
            let layer = FeedForward::new(model, name, sides, activation, has_bias, deviations);
            return Self::Dense(Box::new(layer));
        };
        Self::Mixture(Box::new(MixtureLayer::new(
            model, name, sides, routing, deviations,
        )))
    }

    fn forward(&self, model: &mut Model, x: usize, out: usize) {
        match self {
            Self::Dense(layer) => layer.forward(model, x, out),
            Self::Mixture(layer) => layer.forward(model, x, out),
        }
    }

    fn backward(&self, model: &mut Model, given: [usize; 2], dx: usize) {
        match self {
            Self::Dense(layer) => layer.backward(model, given, dx),
            Self::Mixture(layer) => layer.backward(model, given, dx),
        }
    }
}

#[derive(Clone, Debug)]
struct Layer {
    name: String,
    norms: [Norm; 2],
    attention: SelfAttention,
    second: Second,
}

impl Layer {
    fn new(
        model: &mut Model,
        name: &str,
        shape: &Shape,
        table: Option<usize>,
        adapters_train: bool,
    ) -> Self {
        let sides = [shape.tokens(), shape.width];
        let of_last = DEVIATION / (2.0 * shape.layers as f32).sqrt();
        let norm = |model: &mut Model, part: &str| {
            Norm::new(model, &format!("{name}.{part}"), shape.norm, sides)
        };
        let first = norm(model, "norm1");
        let attention = SelfAttention::new(
            model,
            &format!("{name}.attention"),
            shape,
            table,
            of_last,
            adapters_train,
        );
        let second = norm(model, "norm2");
        let name_of_second = format!("{name}.feed-forward");
        let third = Second::new(model, &name_of_second, shape, [DEVIATION, of_last]);
        Self {
            name: name.to_owned(),
            norms: [first, second],
            attention,
            second: third,
        }
    }

    /// After the first norm, between the two branches, and after the second norm.
    fn kept(&self, model: &mut Model, len: usize) -> [usize; 3] {
        ["normal1", "between", "normal2"]
            .map(|part| model.kept(&format!("{}.{part}", self.name), len))
    }

    fn out(&self, model: &mut Model, len: usize) -> usize {
        model.kept(&format!("{}.out", self.name), len)
    }

    fn forward(&self, model: &mut Model, x: usize) -> usize {
        let len = model.program.buffers[x].len;
        let [first, between, second] = self.kept(model, len);
        let out = self.out(model, len);
        let branch = model.take(len);
        self.norms[0].forward(model, x, first);
        self.attention.forward(model, first, branch);
        layers::add(model, len, [x, branch], between);
        self.norms[1].forward(model, between, second);
        self.second.forward(model, second, branch);
        layers::add(model, len, [between, branch], out);
        model.give(branch);
        out
    }

    /// Turns the gradient of the output, in `d`, into that of `x`.
    fn backward(&self, model: &mut Model, x: usize, d: usize) {
        let len = model.program.buffers[x].len;
        let [first, between, second] = self.kept(model, len);
        let (of_branch, of_norm) = (model.take(len), model.take(len));
        self.second.backward(model, [second, d], of_branch);
        self.norms[1].backward(model, [between, of_branch], of_norm);
        model.program.belongs_to("residual");
        layers::accumulate(model, len, of_norm, d);
        self.attention.backward(model, [first, d], of_branch);
        self.norms[0].backward(model, [x, of_branch], of_norm);
        model.program.belongs_to("residual");
        layers::accumulate(model, len, of_norm, d);
        model.give(of_branch);
        model.give(of_norm);
    }
}

/// A decoder with its parameters.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Its shape.
    pub shape: Shape,
    table: Tensor,
    /// The table of places, and the place of each token.
    places: Option<(Tensor, usize)>,
    layers: Vec<Layer>,
    norm: Norm,
}

impl Decoder {
    /// Adds its parameters to a model.
    pub fn new(model: &mut Model, shape: Shape) -> Self {
        let Shape { width, length, .. } = shape;
        let trains = model.trains;
        model.trains &= shape.rank == 0;
        model.quantises = shape.base == DType::I8;
        let start = Start::Uniform(DEVIATION);
        let rows = [shape.vocabulary, width];
        let table = model.parameter_of_units("tokens", rows, Units::Rows, start);
        let places = (shape.places == Places::Learned).then(|| {
            let rows = [length, width];
            let table = model.parameter_of_units("places", rows, Units::Rows, start);
            let fill = Fill::Host(Box::new(move |buffer, _| {
                let places = buffer.get_mut::<u32>().iter_mut();
                places
                    .enumerate()
                    .for_each(|(i, place)| *place = (i % length) as u32);
            }));
            let tokens = shape.tokens();
            let ids = model
                .program
                .add("place-of-token", DType::U32, tokens, Role::Input, fill);
            (table, ids)
        });
        let of_attention = shape.attention().table(&mut model.program);
        let layer = |index| {
            let name = format!("layers.{index}");
            Layer::new(model, &name, &shape, of_attention, trains)
        };
        let layers = (0..shape.layers).map(layer).collect();
        let norm = Norm::new(model, "norm", shape.norm, [shape.tokens(), width]);
        model.trains = trains;
        model.quantises = false;
        Self {
            shape,
            table,
            places,
            layers,
            norm,
        }
    }

    /// How many parameters multiply a token: all but the learned places, which are only added, and of experts those of the few
    /// that it goes to.
    pub fn multiplying(&self, model: &Model) -> usize {
        let of_places = |(table, _): (Tensor, usize)| model.parameter_of(table).len();
        let idle = |layer: &Layer| match (&layer.second, self.shape.routing) {
            (
                Second::Mixture(mixture),
                Some(Routing {
                    experts, chosen, ..
                }),
            ) => mixture.of_experts() / experts * (experts - chosen),
            _ => 0,
        };
        let idle: usize = self.layers.iter().map(idle).sum();
        model.size() - self.places.map_or(0, of_places) - idle
    }

    /// The slots that choices of each mixture found.
    pub fn slots(&self, model: &mut Model) -> Vec<usize> {
        let of_layer = |layer: &Layer| match &layer.second {
            Second::Mixture(mixture) => Some(mixture.slots(model)),
            Second::Dense(_) => None,
        };
        self.layers.iter().filter_map(of_layer).collect()
    }

    /// Computes the loss of each token, given all tokens and their labels; gives the logits.
    pub fn forward(&self, model: &mut Model, [ids, labels]: [usize; 2], losses: usize) -> usize {
        let shape = self.shape;
        let Shape {
            vocabulary, width, ..
        } = shape;
        let (tokens, len) = (shape.tokens(), shape.len());
        let mut x = self.embed(model, ids);
        for layer in &self.layers {
            model.enter(&layer.name);
            x = layer.forward(model, x);
            model.leave();
        }
        let normal = model.kept("normal", len);
        self.norm.forward(model, x, normal);
        let logits = model.kept("logits", tokens * vocabulary);
        let product = Shape::head(Form::RightTurned, [tokens, vocabulary, width], Store::Set);
        let table = model.buffer(self.table);
        model.program.belongs_to("head");
        product.append(&mut model.program, normal, table, None, logits);
        let logsums = model.kept("logsums", tokens);
        model.program.belongs_to("cross-entropy");
        shape
            .cross_entropy()
            .forward(&mut model.program, [logits, labels], losses, logsums);
        logits
    }

    fn embed(&self, model: &mut Model, ids: usize) -> usize {
        let len = self.shape.len();
        let x = model.kept("embedded", len);
        let rows = self.shape.embedding(self.shape.vocabulary);
        let table = model.buffer(self.table);
        let Some((of_places, places)) = self.places else {
            model.program.belongs_to("embedding");
            rows.forward(&mut model.program, table, ids, x);
            return x;
        };
        let (of_tokens, of_place) = (model.take(len), model.take(len));
        let of_places = model.buffer(of_places);
        model.program.belongs_to("embedding");
        rows.forward(&mut model.program, table, ids, of_tokens);
        self.shape.embedding(self.shape.length).forward(
            &mut model.program,
            of_places,
            places,
            of_place,
        );
        layers::add(model, len, [of_tokens, of_place], x);
        model.give(of_tokens);
        model.give(of_place);
        x
    }

    /// Computes the gradients of all parameters, where that of each token's loss is `scale`.
    pub fn backward(&self, model: &mut Model, [ids, labels]: [usize; 2], scale: f32) {
        let shape = self.shape;
        let Shape {
            vocabulary, width, ..
        } = shape;
        let (tokens, len) = (shape.tokens(), shape.len());
        let [logits, logsums] = [("logits", tokens * vocabulary), ("logsums", tokens)]
            .map(|(name, len)| model.kept(name, len));
        let normal = model.kept("normal", len);
        let (d_logits, d_normal, d) = (
            model.take(tokens * vocabulary),
            model.take(len),
            model.take(len),
        );
        model.program.belongs_to("cross-entropy");
        shape.cross_entropy().backward(
            &mut model.program,
            [logits, labels, logsums],
            scale,
            d_logits,
        );
        model.scale_loss(d_logits);
        let table = model.buffer(self.table);
        model.program.belongs_to("head");
        Shape::head(Form::Plain, [tokens, width, vocabulary], Store::Set).append(
            &mut model.program,
            d_logits,
            table,
            None,
            d_normal,
        );
        let mut inputs = vec![model.kept("embedded", len)];
        for layer in &self.layers {
            inputs.push(layer.out(model, len));
        }
        self.norm
            .backward(model, [inputs[self.layers.len()], d_normal], d);
        for (layer, x) in self.layers.iter().zip(&inputs).rev() {
            if model.enter(&layer.name) {
                layer.forward(model, *x);
            }
            layer.backward(model, *x, d);
            model.leave();
        }
        if let Some((of_places, places)) = self.places
            && let Some(gradient) = model.gradient(of_places)
        {
            model.program.belongs_to("embedding");
            shape.embedding(shape.length).backward(
                &mut model.program,
                Order::Fixed,
                places,
                d,
                gradient,
            );
        }
        if let Some(gradient) = model.gradient(self.table) {
            model.program.belongs_to("embedding");
            shape.embedding(vocabulary).backward(
                &mut model.program,
                Order::Fixed,
                ids,
                d,
                gradient,
            );
            // The table is that of the logits, too.
            model.program.belongs_to("head");
            Shape::head(Form::LeftTurned, [vocabulary, width, tokens], Store::Add).append(
                &mut model.program,
                d_logits,
                normal,
                None,
                gradient,
            );
        }
        for buffer in [d_logits, d_normal, d] {
            model.give(buffer);
        }
    }
}

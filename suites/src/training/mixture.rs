//! The feed-forward layer of a mixture: a gate sends each token to a few of many experts, each with `SwiGLU`.
//!
//! `out = sum over the experts chosen of weight (silu(x W1) (x W3)) W2`, see [`assay_kernels::ml::moe`]. A choice for which its expert
//! has no slot left adds nothing. The gradient is that of the loss of tokens and of load balancing together. Where a model
//! [stores](Model::stored) in 16 bits what is multiplied, rows and weights of experts are rounded first.

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml::moe::Mixture;
use assay_kernels::ml::moe::experts::{ExpertGradients, Experts};
use assay_kernels::ml::moe::gate::Gate;
use assay_kernels::ml::moe::routing::Places;

use super::layers::{self, Activation, Linear};
use super::model::{Model, Start, Tensor, Units};

/// How tokens go to experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    /// Experts of a layer.
    pub experts: usize,
    /// Experts of a token.
    pub chosen: usize,
    /// Slots of an expert, as a multiple of what it has if all are equally busy.
    pub capacity: f64,
    /// Factor of the loss of load balancing.
    pub balance: f32,
}

impl Routing {
    /// The mixture of so many tokens of a width.
    pub fn mixture(&self, [tokens, width]: [usize; 2]) -> Mixture {
        Mixture {
            tokens,
            width,
            hidden: Activation::SwiGlu.hidden(width),
            experts: self.experts,
            chosen: self.chosen,
            capacity: 0,
            is_renormalized: true,
            balance: self.balance,
        }
        .with_capacity_factor(self.capacity)
    }
}

/// A layer of experts, with its gate.
#[derive(Clone, Debug)]
pub struct MixtureLayer {
    name: String,
    brick: Mixture,
    gate: Linear,
    /// W1, W3 and W2 of all experts.
    weights: [Tensor; 3],
}

impl MixtureLayer {
    /// Adds its parameters to a model. The last product has a deviation of its own.
    pub fn new(
        model: &mut Model,
        name: &str,
        sides: [usize; 2],
        routing: &Routing,
        [deviation, of_last]: [f32; 2],
    ) -> Self {
        let brick = routing.mixture(sides);
        let Mixture {
            tokens,
            width,
            hidden,
            experts,
            ..
        } = brick;
        let shape = [tokens, width, experts];
        let gate = Linear::new(model, &format!("{name}.gate"), shape, false, deviation);
        let mut weights = |part: &str, rows, cols, deviation| {
            let name = format!("{name}.{part}.weight");
            let (shape, units) = ([experts * rows, cols], Units::Columns(rows));
            model.parameter_of_units(&name, shape, units, Start::Uniform(deviation))
        };
        Self {
            name: name.to_owned(),
            brick,
            gate,
            weights: [
                weights("w1", width, hidden, deviation),
                weights("w3", width, hidden, deviation),
                weights("w2", hidden, width, of_last),
            ],
        }
    }

    /// Parameters of experts, which each token meets but a few of.
    pub fn of_experts(&self) -> usize {
        3 * self.brick.experts * self.brick.width * self.brick.hidden
    }

    fn kept(&self, model: &mut Model, part: &str, dtype: DType, len: usize) -> usize {
        model.kept_as(&format!("{}.{part}", self.name), dtype, len)
    }

    fn gate_of(&self, model: &mut Model) -> Gate {
        let (brick, real) = (self.brick, DType::F32);
        Gate {
            p: self.kept(model, "probabilities", real, brick.tokens * brick.experts),
            choices: self.kept(model, "choices", DType::U32, brick.choices()),
            weights: self.kept(model, "weights", real, brick.choices()),
            counts: self.kept(model, "counts", DType::U32, brick.experts),
        }
    }

    fn places_of(&self, model: &mut Model) -> Places {
        let brick = self.brick;
        Places {
            slots: self.kept(model, "slots", DType::U32, brick.choices()),
            sources: self.kept(model, "sources", DType::U32, brick.slots()),
            kept: self.kept(model, "taken", DType::U32, brick.experts),
        }
    }

    /// Rows of slots, as they are dispatched.
    fn rows(&self, model: &mut Model) -> usize {
        let len = self.brick.slots() * self.brick.width;
        self.kept(model, "rows", DType::F32, len)
    }

    /// Rows and weights as they are multiplied, and what comes of them.
    fn experts_of(&self, model: &mut Model) -> Experts {
        let (brick, real) = (self.brick, DType::F32);
        let [w1, w3, w2] = [("w1", 0), ("w3", 1), ("w2", 2)].map(|(part, index)| {
            let parameter = model.parameter_of(self.weights[index]);
            let (len, buffer) = (parameter.len(), parameter.buffer);
            self.stored(model, part, len, buffer)
        });
        let rows = self.rows(model);
        Experts {
            rows: self.stored(model, "rows", brick.slots() * brick.width, rows),
            kept: self.places_of(model).kept,
            w1,
            w3,
            w2,
            gate: self.kept(model, "gate-product", real, brick.slots() * brick.hidden),
            up: self.kept(model, "up-product", real, brick.slots() * brick.hidden),
        }
    }

    /// Where numbers of `f32` are as they are multiplied.
    fn stored(&self, model: &mut Model, part: &str, len: usize, buffer: usize) -> usize {
        match model.stored {
            DType::F32 => buffer,
            dtype => self.kept(model, &format!("stored-{part}"), dtype, len),
        }
    }

    fn results(&self, model: &mut Model) -> usize {
        let len = self.brick.slots() * self.brick.width;
        self.kept(model, "results", DType::F32, len)
    }

    /// The slot of each choice, to know how many found none.
    pub fn slots(&self, model: &mut Model) -> usize {
        self.places_of(model).slots
    }

    /// Computes `out`.
    pub fn forward(&self, model: &mut Model, x: usize, out: usize) {
        let brick = self.brick;
        let logits = self.kept(model, "logits", DType::F32, brick.tokens * brick.experts);
        let balance = self.kept(model, "balance", DType::F32, 1);
        let (gate, places) = (self.gate_of(model), self.places_of(model));
        let (experts, results) = (self.experts_of(model), self.results(model));
        self.gate.forward(model, x, logits);
        model.program.belongs_to("routing");
        brick.gate(&mut model.program, logits, &gate, balance);
        let rows = self.rows(model);
        brick.dispatch(&mut model.program, gate.choices, &places, x, rows);
        let [w1, w3, w2] = self.weights.map(|tensor| model.buffer(tensor));
        for (from, to) in [
            (rows, experts.rows),
            (w1, experts.w1),
            (w3, experts.w3),
            (w2, experts.w2),
        ] {
            layers::store(model, from, to);
        }
        model.program.belongs_to("experts");
        brick.experts(&mut model.program, &experts, results);
        model.program.belongs_to("routing");
        brick.combine(&mut model.program, &places, results, gate.weights, out);
    }

    /// Computes the gradients of the parameters and of `x`.
    pub fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: usize) {
        let brick = self.brick;
        let (gate, places) = (self.gate_of(model), self.places_of(model));
        let (experts, results) = (self.experts_of(model), self.results(model));
        let d_results = model.take(brick.slots() * brick.width);
        let d_rows = model.take(brick.slots() * brick.width);
        let d_weights = model.take(brick.choices());
        let d_logits = model.take(brick.tokens * brick.experts);
        let gradients = self.weights.map(|tensor| {
            let len = model.parameter_of(tensor).len();
            model.gradient(tensor).unwrap_or_else(|| model.take(len))
        });
        model.program.belongs_to("routing");
        let given = [dy, results, gate.weights];
        brick.combine_backward(&mut model.program, &places, given, [d_results, d_weights]);
        let stored = layers::stored_gradient(model, d_results);
        model.program.belongs_to("experts");
        let [w1, w3, w2] = gradients;
        let rows = d_rows;
        let d = ExpertGradients { rows, w1, w3, w2 };
        brick.experts_backward(&mut model.program, &experts, stored, &d);
        model.program.belongs_to("routing");
        brick.dispatch_backward(&mut model.program, &places, d_rows, dx);
        let scale = model.loss_scale;
        brick.gate_backward(&mut model.program, &gate, [d_weights, d_logits], scale);
        self.gate.backward(model, [x, d_logits], dx, Store::Add);
        for buffer in [d_results, d_rows, d_weights, d_logits] {
            model.give(buffer);
        }
    }
}

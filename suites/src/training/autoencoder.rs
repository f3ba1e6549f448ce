//! A beta-VAE: rows are encoded as a few numbers with noise, and put together again from these.
//!
//! The encoder is hidden layers, and a linear one that gives mean and logarithm of the variance of each number of the code; the decoder is as
//! many hidden layers, and a linear one. Loss: see [`Squares`]. Source: I. Higgins et al., "beta-VAE: learning basic
//! visual concepts with a constrained variational framework", ICLR 2017, equation 4.

pub mod workload;

use assay_kernels::matrix::Store;
use assay_kernels::ml::latent::{Coded, Codes};
use assay_kernels::ml::squares::{Compared, Squares};

use super::layers::{Hidden, Linear};
use super::model::Model;
use super::reference::{Reader, gelu, linear};

/// Stream of the noise that codes get.
const NOISE_STREAM: u64 = 1 << 46;

/// The shape of an autoencoder.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of a turn.
    pub batch: usize,
    /// Numbers of a row.
    pub points: usize,
    /// Columns of a hidden layer.
    pub width: usize,
    /// Hidden layers of either half, at least one.
    pub layers: usize,
    /// Numbers of a code.
    pub code: usize,
    /// Weight of the divergence.
    pub beta: f32,
}

impl Shape {
    /// Weights of all products.
    pub fn weights(&self) -> usize {
        let Self {
            points,
            width,
            layers,
            code,
            ..
        } = *self;
        let inner = (layers - 1) * width * width;
        points * width + inner + 2 * width * code + code * width + inner + width * points
    }

    fn squares(&self) -> Squares {
        Squares {
            rows: self.batch,
            cols: self.points,
            beta: self.beta,
        }
    }
}

/// Hidden layers, and a linear one.
#[derive(Clone, Debug)]
struct Half {
    hidden: Vec<Hidden>,
    last: Linear,
}

impl Half {
    fn new(model: &mut Model, name: &str, shape: &Shape, [inputs, outputs]: [usize; 2]) -> Self {
        let Shape { batch, width, .. } = *shape;
        let layer = |index: usize| {
            let inputs = if index == 0 { inputs } else { width };
            let name = format!("{name}.{index}");
            Hidden::new(model, &name, [batch, inputs, width])
        };
        let hidden = (0..shape.layers).map(layer).collect();
        let sides = [batch, width, outputs];
        let deviation = 1.0 / (width as f32).sqrt();
        let last = Linear::new(model, &format!("{name}.last"), sides, true, deviation);
        Self { hidden, last }
    }

    fn forward(&self, model: &mut Model, x: usize, y: usize) {
        let mut h = x;
        for layer in &self.hidden {
            h = layer.forward(model, h);
        }
        self.last.forward(model, h, y);
    }

    /// Computes the gradients of the parameters and, where somebody wants it, of `x`.
    fn backward(&self, model: &mut Model, [x, dy]: [usize; 2], dx: Option<usize>) {
        let mut inputs = vec![x];
        inputs.extend(self.hidden.iter().map(|layer| layer.out(model)));
        let len = self.hidden[0].len();
        let mut d = model.take(len);
        let last = inputs[self.hidden.len()];
        self.last.backward(model, [last, dy], d, Store::Set);
        for (layer, x) in self.hidden.iter().zip(&inputs).skip(1).rev() {
            let d_before = model.take(len);
            layer.backward(model, [*x, d], Some(d_before));
            model.give(d);
            d = d_before;
        }
        self.hidden[0].backward(model, [x, d], dx);
        model.give(d);
    }
}

/// An autoencoder with its parameters.
#[derive(Clone, Debug)]
pub struct Autoencoder {
    shape: Shape,
    codes: Codes,
    encoder: Half,
    decoder: Half,
}

impl Autoencoder {
    /// Adds its parameters to a model. `seed` is that of the noise.
    pub fn new(model: &mut Model, shape: Shape, seed: u64) -> Self {
        let Shape {
            batch,
            points,
            code,
            ..
        } = shape;
        Self {
            shape,
            codes: Codes {
                batch,
                code,
                seed,
                stream: NOISE_STREAM,
            },
            encoder: Half::new(model, "encoder", &shape, [points, 2 * code]),
            decoder: Half::new(model, "decoder", &shape, [code, points]),
        }
    }

    fn coded(&self, model: &mut Model) -> Coded {
        let Shape { batch, code, .. } = self.shape;
        Coded {
            heads: model.kept("heads", batch * 2 * code),
            noise: model.kept("noise", batch * code),
            z: model.kept("codes", batch * code),
            divergences: model.kept("divergences", batch),
        }
    }

    fn compared(&self, model: &mut Model, [x, w]: [usize; 2]) -> Compared {
        let y = model.kept("y", self.shape.batch * self.shape.points);
        Compared { x, w, y }
    }

    /// Computes the loss of each row of a turn, given its numbers and their weights.
    pub fn forward(&self, model: &mut Model, turn: usize, given: [usize; 2], losses: usize) {
        let (coded, compared) = (self.coded(model), self.compared(model, given));
        self.encoder.forward(model, given[0], coded.heads);
        model.program.belongs_to("latent");
        self.codes.forward(&mut model.program, turn, coded);
        self.decoder.forward(model, coded.z, compared.y);
        let squares = self.shape.squares();
        model.program.belongs_to("squares");
        squares.forward(&mut model.program, compared, coded.divergences, losses);
    }

    /// Computes the gradients of all parameters, where that of each loss is `scale`.
    pub fn backward(&self, model: &mut Model, given: [usize; 2], scale: f32) {
        let Shape {
            batch,
            points,
            code,
            beta,
            ..
        } = self.shape;
        let (coded, compared) = (self.coded(model), self.compared(model, given));
        let lens = [batch * points, batch * code, batch * 2 * code];
        let [dy, dz, d_heads] = lens.map(|len| model.take(len));
        let squares = self.shape.squares();
        model.program.belongs_to("squares");
        squares.backward(&mut model.program, compared, scale, dy);
        self.decoder.backward(model, [coded.z, dy], Some(dz));
        let of_divergence = scale * beta / points as f32;
        model.program.belongs_to("latent");
        self.codes
            .backward(&mut model.program, coded, dz, of_divergence, d_heads);
        self.encoder.backward(model, [given[0], d_heads], None);
        for buffer in [dy, dz, d_heads] {
            model.give(buffer);
        }
    }

    /// The noise of a row of a turn.
    pub fn noise(&self, turn: u64, b: usize) -> Vec<f32> {
        self.codes.noise(turn, b)
    }
}

/// The loss of a row in `f64`, given parameters in their order, and the noise of its code.
#[allow(clippy::many_single_char_names)] // those of the formula
pub fn reference(
    shape: &Shape,
    parameters: &[Vec<f64>],
    [x, w]: [&[f64]; 2],
    noise: &[f64],
) -> f64 {
    let mut reader = Reader::new(parameters);
    let mut half = |x: Vec<f64>| {
        let mut h = x;
        for _ in 0..shape.layers {
            h = linear(&mut reader, &h, true);
            for x in &mut h {
                *x = gelu(*x);
            }
        }
        linear(&mut reader, &h, true)
    };
    let heads = half(x.to_vec());
    let (mu, v) = heads.split_at(shape.code);
    let each = || mu.iter().zip(v);
    let z = each().zip(noise);
    let z = z.map(|((mu, v), eps)| mu + (v / 2.0).exp() * eps).collect();
    let divergence: f64 = each()
        .map(|(mu, v)| (mu * mu + v.exp() - 1.0 - v) / 2.0)
        .sum();
    let y = half(z);
    let terms = x.iter().zip(&y).zip(w);
    let squares: f64 = terms.map(|((x, y), w)| w * (y - x).powi(2) / 2.0).sum();
    (squares + f64::from(shape.beta) * divergence) / shape.points as f64
}

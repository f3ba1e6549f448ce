//! Forward passes of products of matrices, and of mixtures of experts.

use super::{Differentiable, Given};

/// What a choice has for which there is no slot.
const NOWHERE: usize = u32::MAX as usize;

/// `a b`, of `[rows, cols, depth]`.
fn product([rows, cols, depth]: [usize; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; rows * cols];
    for row in 0..rows {
        let to = &mut out[row * cols..][..cols];
        for k in 0..depth {
            let factor = a[row * depth + k];
            let line = b[k * cols..][..cols].iter();
            to.iter_mut()
                .zip(line)
                .for_each(|(sum, b)| *sum += factor * b);
        }
    }
    out
}

/// `y = x w + b`. Of what is not differentiated by, the buffer is there; the rest is linear, and the same anywhere.
pub fn linear(given: &Given) -> Differentiable {
    let [rows, inputs, outputs] = ["rows", "inputs", "outputs"].map(|name| given.size(name));
    let weights = given.numbers("dy");
    if given.is("pass", "backward-input") {
        let w = if given.case.workload == "linear-i8" {
            let scales = given.numbers("scales");
            let codes = given.numbers("codes").into_iter().enumerate();
            codes.map(|(i, code)| code * scales[i / outputs]).collect()
        } else {
            given.numbers("w")
        };
        return Differentiable {
            operands: vec![("dx", vec![0.0; rows * inputs])],
            forward: Box::new(move |x| product([rows, outputs, inputs], &x[0], &w)),
            weights,
            kept: vec![],
            roundings: 1,
            terms: outputs,
        };
    }
    let x = given.numbers("x");
    let mut operands = vec![("dw", vec![0.0; inputs * outputs])];
    if given.is("bias", "yes") {
        operands.push(("db", vec![0.0; outputs]));
    }
    Differentiable {
        operands,
        forward: Box::new(move |of| {
            let mut y = product([rows, outputs, inputs], &x, &of[0]);
            if let Some(bias) = of.get(1) {
                y.iter_mut()
                    .zip(bias.iter().cycle())
                    .for_each(|(y, b)| *y += b);
            }
            y
        }),
        weights,
        kept: vec![],
        roundings: 1,
        terms: rows,
    }
}

/// Sizes of a convolution, as its op has them.
struct Convolution {
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Height and width of images, and of outputs.
    image: [usize; 2],
    out: [usize; 2],
    batch: usize,
}

impl Convolution {
    fn of(given: &Given) -> Self {
        let size = |name| given.size(name);
        let (kernel, stride, padding) = (size("kernel"), size("stride"), size("padding"));
        let image = [size("height"), size("width")];
        Self {
            channels: size("channels"),
            filters: size("filters"),
            kernel,
            stride,
            padding,
            image,
            out: image.map(|side| (side + 2 * padding - kernel) / stride + 1),
            batch: size("batch"),
        }
    }

    fn forward(&self, x: &[f64], filters: &[f64]) -> Vec<f64> {
        let [height, width] = self.image;
        let inside = |at: usize, by: usize, side: usize| {
            let at = (at * self.stride + by).checked_sub(self.padding);
            at.filter(|at| *at < side)
        };
        let mut out = vec![];
        for pixel in 0..self.batch * self.out[0] * self.out[1] {
            let (column, line) = (pixel % self.out[1], pixel / self.out[1]);
            let (line, image) = (line % self.out[0], line / self.out[0]);
            let mut sums = vec![0.0; self.filters];
            for place in 0..self.kernel * self.kernel {
                let at = inside(line, place / self.kernel, height).zip(inside(
                    column,
                    place % self.kernel,
                    width,
                ));
                let Some((h, w)) = at else { continue };
                for c in 0..self.channels {
                    let x = x[((image * height + h) * width + w) * self.channels + c];
                    let row = (place * self.channels + c) * self.filters;
                    let row = filters[row..][..self.filters].iter();
                    sums.iter_mut().zip(row).for_each(|(sum, f)| *sum += x * f);
                }
            }
            out.extend(sums);
        }
        out
    }
}

pub fn convolution(given: &Given) -> Differentiable {
    let shape = Convolution::of(given);
    let places = shape.kernel * shape.kernel;
    let weights = given.numbers("dy");
    let linear = |name, len, terms, forward| Differentiable {
        operands: vec![(name, vec![0.0; len])],
        forward,
        weights,
        kept: vec![],
        roundings: 0,
        terms,
    };
    if given.is("pass", "input") {
        let filters = given.numbers("f");
        let len = shape.batch * shape.image[0] * shape.image[1] * shape.channels;
        let terms = places * shape.filters;
        let forward = move |x: &[Vec<f64>]| shape.forward(&x[0], &filters);
        return linear("dx", len, terms, Box::new(forward));
    }
    let x = given.numbers("x");
    let len = places * shape.channels * shape.filters;
    let terms = shape.batch * shape.out[0] * shape.out[1];
    let forward = move |filters: &[Vec<f64>]| shape.forward(&x, &filters[0]);
    linear("df", len, terms, Box::new(forward))
}

/// Weights of what was chosen and, behind them, the loss of load balancing. What is chosen, and how often, are constants.
pub fn gate(given: &Given) -> Differentiable {
    /// Factor of that loss.
    const BALANCE: f64 = 0.01;
    let [tokens, experts, chosen] = ["tokens", "experts", "chosen"].map(|name| given.size(name));
    let is_renormalized = given.is("weights", "renormalized");
    let logits = given.random(tokens * experts, 2.0);
    let probabilities = move |logits: &[f64]| -> Vec<f64> {
        let rows = logits.chunks_exact(experts);
        rows.flat_map(|row| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(move |x| x.exp() / sum)
        })
        .collect()
    };
    let p = probabilities(&logits);
    let choices: Vec<usize> = p
        .chunks_exact(experts)
        .flat_map(|p| {
            let mut order: Vec<_> = (0..experts).collect();
            order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
            order.truncate(chosen);
            order
        })
        .collect();
    let count = |expert: usize| choices.iter().filter(|choice| **choice == expert).count() as f64;
    let counts: Vec<f64> = (0..experts).map(count).collect();
    let forward = {
        let (choices, counts) = (choices.clone(), counts.clone());
        move |logits: &[f64]| {
            let p = probabilities(logits);
            let mut out: Vec<f64> = vec![];
            for (p, choices) in p.chunks_exact(experts).zip(choices.chunks_exact(chosen)) {
                let of_choices: f64 = choices.iter().map(|choice| p[*choice]).sum();
                let sum = if is_renormalized { of_choices } else { 1.0 };
                out.extend(choices.iter().map(|choice| p[*choice] / sum));
            }
            let parts = p.iter().zip(counts.iter().cycle()).map(|(p, count)| {
                let of_choices = count / (tokens * chosen) as f64;
                of_choices * p / tokens as f64
            });
            out.push(BALANCE * experts as f64 * parts.sum::<f64>());
            out
        }
    };
    let mut weights_chosen = forward(&logits);
    weights_chosen.pop();
    Differentiable {
        kept: vec![
            ("p", p),
            (
                "choices",
                choices.iter().map(|choice| *choice as f64).collect(),
            ),
            ("counts", counts),
            ("weights", weights_chosen),
        ],
        operands: vec![("dlogits", logits)],
        forward: Box::new(move |logits| forward(&logits[0])),
        weights: [given.numbers("dweights"), vec![1.0]].concat(),
        roundings: 0,
        terms: experts,
    }
}

/// Rows of the slots of tokens.
pub fn dispatch(given: &Given) -> Differentiable {
    let [width, chosen] = ["width", "chosen"].map(|name| given.size(name));
    let sources = given.integers("sources");
    Differentiable {
        operands: vec![("dx", vec![0.0; given.size("tokens") * width])],
        forward: Box::new(move |x| {
            let row = |source: &usize| match *source {
                NOWHERE => vec![0.0; width],
                source => x[0][source / chosen * width..][..width].to_vec(),
            };
            sources.iter().flat_map(row).collect()
        }),
        weights: given.numbers("drouted"),
        kept: vec![],
        roundings: 0,
        terms: chosen,
    }
}

/// Weighted sums of the slots of tokens.
pub fn combine(given: &Given) -> Differentiable {
    let [width, chosen] = ["width", "chosen"].map(|name| given.size(name));
    let slots = given.integers("slots");
    Differentiable {
        operands: vec![
            ("drows", given.numbers("rows")),
            ("dweights", given.numbers("weights")),
        ],
        forward: Box::new(move |of| {
            let mut y = vec![0.0; slots.len() / chosen * width];
            for (choice, slot) in slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| **slot != NOWHERE)
            {
                let sums = y[choice / chosen * width..][..width].iter_mut();
                let row = &of[0][slot * width..][..width];
                sums.zip(row).for_each(|(sum, x)| *sum += of[1][choice] * x);
            }
            y
        }),
        weights: given.numbers("dy"),
        kept: vec![],
        roundings: 0,
        terms: width,
    }
}

/// `(silu(rows W1) * (rows W3)) W2` of the slots that each expert has.
pub fn experts(given: &Given) -> Differentiable {
    let [width, hidden, capacity] = ["width", "hidden", "capacity"].map(|name| given.size(name));
    let taken = given.integers("kept");
    let names = [
        ("drows", "rows"),
        ("dw1", "w1"),
        ("dw3", "w3"),
        ("dw2", "w2"),
    ];
    Differentiable {
        operands: names
            .map(|(gradient, name)| (gradient, given.numbers(name)))
            .into(),
        forward: Box::new(move |of| {
            let mut out = vec![];
            for (expert, taken) in taken.iter().enumerate() {
                let rows = &of[0][expert * capacity * width..];
                let [w1, w3, w2] = [1, 2, 3].map(|i| &of[i][expert * width * hidden..]);
                let to_hidden = |w: &[f64]| product([*taken, hidden, width], rows, w);
                let pairs = to_hidden(w1).into_iter().zip(to_hidden(w3));
                let h: Vec<_> = pairs
                    .map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
                    .collect();
                out.extend(product([*taken, width, hidden], &h, w2));
                out.resize((expert + 1) * capacity * width, 0.0);
            }
            out
        }),
        weights: given.numbers("dout"),
        kept: vec![],
        // What is multiplied of the activation and its gradients.
        roundings: 3,
        terms: width + hidden + capacity,
    }
}

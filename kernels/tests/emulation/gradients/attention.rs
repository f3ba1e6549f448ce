//! Forward passes of attention, and of rotations.

use super::{Differentiable, Given};

/// Rows of `heads` heads in `width` columns, whose pairs are rotated by their places in a sequence.
fn rotated(x: &[f64], [length, heads, width]: [usize; 3]) -> Vec<f64> {
    let pairs = width / heads / 2;
    let mut out = vec![0.0; x.len()];
    for pair in 0..x.len() / 2 {
        let (row, of_head) = (2 * pair / width, pair % (width / 2) % pairs);
        let angle = (row % length) as f64 * 10_000_f64.powf(-(of_head as f64) / pairs as f64);
        let (sine, cosine) = angle.sin_cos();
        let [a, b] = [x[2 * pair], x[2 * pair + 1]];
        out[2 * pair] = a * cosine - b * sine;
        out[2 * pair + 1] = a * sine + b * cosine;
    }
    out
}

pub fn rope(given: &Given) -> Differentiable {
    let [length, heads, width] = ["length", "heads", "width"].map(|name| given.size(name));
    Differentiable {
        operands: vec![("dx", vec![0.0; given.size("batch") * length * width])],
        forward: Box::new(move |x| rotated(&x[0], [length, heads, width])),
        weights: given.numbers("dout"),
        kept: vec![],
        roundings: 0,
        terms: 2,
    }
}

/// How a head's scores are made.
struct Scores {
    length: usize,
    heads: usize,
    width: usize,
    is_causal: bool,
    is_rotated: bool,
    has_biases: bool,
}

impl Scores {
    /// The rows of a head of a sequence.
    fn rows<'a>(&self, x: &'a [f64], sequence: usize, head: usize) -> Vec<&'a [f64]> {
        let own = self.width / self.heads;
        let at = |row: usize| (sequence * self.length + row) * self.width + head * own;
        (0..self.length).map(|row| &x[at(row)..][..own]).collect()
    }

    fn forward(&self, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
        let shape = [self.length, self.heads, self.width];
        let turned = |x: &[f64]| {
            if self.is_rotated {
                rotated(x, shape)
            } else {
                x.to_vec()
            }
        };
        let (q, k) = (turned(q), turned(k));
        let own = self.width / self.heads;
        let mut out = vec![0.0; v.len()];
        for number in 0..v.len() / own / self.length {
            let (sequence, head) = (number / self.heads, number % self.heads);
            let [q, k, v] = [&q[..], &k[..], v].map(|x| self.rows(x, sequence, head));
            // Slopes of heads of which there is a power of two.
            let slope = (-8.0 * (head + 1) as f64 / self.heads as f64).exp2();
            for (query, row_of_q) in q.iter().enumerate() {
                let seen = if self.is_causal {
                    query + 1
                } else {
                    self.length
                };
                let weight = |key: usize| -> f64 {
                    let score: f64 = row_of_q.iter().zip(k[key]).map(|(a, b)| a * b).sum();
                    let bias = if self.has_biases {
                        slope * query.abs_diff(key) as f64
                    } else {
                        0.0
                    };
                    (score / (own as f64).sqrt() - bias).exp()
                };
                let weights: Vec<f64> = (0..seen).map(weight).collect();
                let sum: f64 = weights.iter().sum();
                let row = (sequence * self.length + query) * self.width + head * own;
                for (weight, v) in weights.iter().zip(&v) {
                    let to = out[row..][..own].iter_mut();
                    to.zip(*v).for_each(|(out, v)| *out += weight / sum * v);
                }
            }
        }
        out
    }
}

/// What the forward pass leaves, the host's has computed.
pub fn attention(given: &Given) -> Differentiable {
    let [length, heads, width] = ["length", "heads", "width"].map(|name| given.size(name));
    assert!(heads.is_power_of_two());
    let scores = Scores {
        length,
        heads,
        width,
        is_causal: given.is("mask", "causal"),
        is_rotated: given.is("position", "rope"),
        has_biases: given.is("position", "alibi"),
    };
    // Of outputs, probabilities, gradients of scores and results; and of queries and keys that were rotated.
    let roundings = if scores.is_rotated { 8 } else { 4 };
    let names = [("dq", "q"), ("dk", "k"), ("dv", "v")];
    Differentiable {
        operands: names
            .map(|(gradient, name)| (gradient, given.numbers(name)))
            .into(),
        forward: Box::new(move |of| scores.forward(&of[0], &of[1], &of[2])),
        weights: given.numbers("dout"),
        kept: vec![],
        roundings,
        terms: length + width / heads,
    }
}

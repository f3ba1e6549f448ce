//! The decoder once more, plainly, in `f64`: what the losses of its program are compared with; and what other models' references share.
//!
//! One sequence, token after token. It is causal, so that its first tokens can be had alone.

use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::position::slopes;

use super::decoder::{Places, Shape};
use super::layers::Activation;
use super::mixture::Routing;

/// Added to variances, as the bricks do.
const EPSILON: f64 = 1e-5;

/// Parameters of a model, one after the other, as it added them.
pub struct Reader<'a> {
    parameters: &'a [Vec<f64>],
    next: usize,
}

impl<'a> Reader<'a> {
    /// From the first one on.
    pub fn new(parameters: &'a [Vec<f64>]) -> Self {
        Self {
            parameters,
            next: 0,
        }
    }

    /// The next one.
    pub fn take(&mut self) -> &'a [f64] {
        self.next += 1;
        &self.parameters[self.next - 1]
    }
}

/// Rows of numbers.
pub type Rows = Vec<Vec<f64>>;

struct Linear<'a> {
    weight: &'a [f64],
    bias: Option<&'a [f64]>,
}

impl<'a> Linear<'a> {
    fn read(reader: &mut Reader<'a>, has_bias: bool) -> Self {
        let weight = reader.take();
        Self {
            weight,
            bias: has_bias.then(|| reader.take()),
        }
    }

    fn of(&self, rows: &Rows) -> Rows {
        let outputs = self.weight.len() / rows[0].len();
        let of_row = |row: &Vec<f64>| {
            let mut out = self
                .bias
                .map_or_else(|| vec![0.0; outputs], <[f64]>::to_vec);
            for (x, weights) in row.iter().zip(self.weight.chunks_exact(outputs)) {
                out.iter_mut()
                    .zip(weights)
                    .for_each(|(out, w)| *out += x * w);
            }
            out
        };
        rows.iter().map(of_row).collect()
    }
}

/// A linear layer of one row.
pub fn linear(reader: &mut Reader, row: &[f64], has_bias: bool) -> Vec<f64> {
    let layer = Linear::read(reader, has_bias);
    layer.of(&vec![row.to_vec()]).remove(0)
}

/// The logarithm of the sum of exponentials, none of which overflows.
pub fn log_sum_exp(logits: &[f64]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logits.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// The shares that logits stand for.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum = log_sum_exp(logits);
    logits.iter().map(|x| (x - sum).exp()).collect()
}

/// Cross-entropy of logits with a label.
pub fn softmax_loss(logits: &[f64], label: usize) -> f64 {
    log_sum_exp(logits) - logits[label]
}

/// Normalisation of rows.
pub fn norm(kind: Kind, parameters: &[f64], rows: &Rows) -> Rows {
    let of_row = |row: &Vec<f64>| {
        let cols = row.len() as f64;
        let mean = match kind {
            Kind::Layer => row.iter().sum::<f64>() / cols,
            Kind::Rms => 0.0,
        };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cols;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        let (gains, shifts) = parameters.split_at(row.len());
        let shift = |i: usize| shifts.get(i).copied().unwrap_or(0.0);
        let place = |(i, x): (usize, &f64)| (x - mean) * scale * gains[i] + shift(i);
        row.iter().enumerate().map(place).collect()
    };
    rows.iter().map(of_row).collect()
}

/// Rotates the pairs of a head's row at a place.
fn rotated(row: &[f64], place: usize) -> Vec<f64> {
    let pairs = row.len() / 2;
    let turn = |(pair, x): (usize, &[f64])| {
        let (sine, cosine) = (place as f64 * 1e4_f64.powf(-(pair as f64) / pairs as f64)).sin_cos();
        [x[0] * cosine - x[1] * sine, x[0] * sine + x[1] * cosine]
    };
    row.chunks_exact(2).enumerate().flat_map(turn).collect()
}

/// Attention of one head, given rows of queries, keys and values.
fn head(places: Places, slope: f64, [q, k, v]: [&Rows; 3]) -> Rows {
    let scale = 1.0 / (q[0].len() as f64).sqrt();
    let turned = |rows: &Rows| -> Rows {
        if places != Places::Rope {
            return rows.clone();
        }
        rows.iter()
            .enumerate()
            .map(|(place, row)| rotated(row, place))
            .collect()
    };
    let (q, k) = (turned(q), turned(k));
    let of_query = |i: usize| {
        let score = |j: usize| {
            let product: f64 = q[i].iter().zip(&k[j]).map(|(a, b)| a * b).sum();
            product * scale - slope * (i - j) as f64
        };
        let weights = softmax(&(0..=i).map(score).collect::<Vec<_>>());
        let mix = |col: usize| weights.iter().zip(v).map(|(w, v)| w * v[col]).sum::<f64>();
        (0..v[0].len()).map(mix).collect()
    };
    (0..q.len()).map(of_query).collect()
}

fn attention(shape: &Shape, reader: &mut Reader, rows: &Rows) -> Rows {
    let layers = [(); 4].map(|()| Linear::read(reader, shape.has_bias()));
    let mut given = [0, 1, 2].map(|i| layers[i].of(rows));
    if shape.rank > 0 {
        for number in [0, 2] {
            let [a, b] = [(); 2].map(|()| Linear::read(reader, false));
            add(&mut given[number], &b.of(&a.of(rows)));
        }
    }
    let width = shape.width / shape.heads;
    let slopes = slopes(shape.heads);
    let mut mixed: Rows = rows.iter().map(|_| vec![]).collect();
    for (number, slope) in slopes.iter().enumerate() {
        let slope = if shape.places == Places::Alibi {
            *slope
        } else {
            0.0
        };
        let part = |rows: &Rows| -> Rows {
            rows.iter()
                .map(|row| row[number * width..][..width].to_vec())
                .collect()
        };
        let parts = given.each_ref().map(part);
        let out = head(shape.places, slope, parts.each_ref());
        mixed
            .iter_mut()
            .zip(out)
            .for_each(|(row, more)| row.extend(more));
    }
    layers[3].of(&mixed)
}

/// Gelu, in its form with the hyperbolic tangent.
pub fn gelu(x: f64) -> f64 {
    let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    0.5 * x * (1.0 + z.tanh())
}

/// A mixture of experts, of tokens that come first in their batch; and its loss of load balancing, as if they were all.
fn mixture(shape: &Shape, routing: &Routing, reader: &mut Reader, rows: &Rows) -> (Rows, f64) {
    let gate = Linear::read(reader, false).of(rows);
    let Routing {
        experts, chosen, ..
    } = *routing;
    let capacity = routing.mixture([shape.tokens(), shape.width]).capacity;
    let all = [(); 3].map(|()| reader.take());
    let of_expert = |part: &'_ [f64], expert: usize| {
        let len = part.len() / experts;
        part[expert * len..][..len].to_vec()
    };
    let (mut taken, mut counts, mut means) =
        (vec![0; experts], vec![0.0; experts], vec![0.0; experts]);
    let mut out = vec![];
    for (row, logits) in rows.iter().zip(&gate) {
        let p = softmax(logits);
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
        order.truncate(chosen);
        let together: f64 = order.iter().map(|expert| p[*expert]).sum();
        means
            .iter_mut()
            .zip(&p)
            .for_each(|(mean, p)| *mean += p / rows.len() as f64);
        let mut sums = vec![0.0; row.len()];
        for expert in order {
            counts[expert] += 1.0 / (rows.len() * chosen) as f64;
            taken[expert] += 1;
            if taken[expert] > capacity {
                continue;
            }
            let [w1, w3, w2] = all.map(|part| of_expert(part, expert));
            let of = |weight: &[f64], row: &Rows| Linear { weight, bias: None }.of(row);
            let row = vec![row.clone()];
            let (gate, mut up) = (of(&w1, &row), of(&w3, &row));
            up[0]
                .iter_mut()
                .zip(&gate[0])
                .for_each(|(up, gate)| *up *= gate / (1.0 + (-gate).exp()));
            let result = of(&w2, &up);
            sums.iter_mut()
                .zip(&result[0])
                .for_each(|(sum, x)| *sum += p[expert] / together * x);
        }
        out.push(sums);
    }
    let products: f64 = counts
        .iter()
        .zip(&means)
        .map(|(count, mean)| count * mean)
        .sum();
    (out, f64::from(routing.balance) * experts as f64 * products)
}

fn feed_forward(shape: &Shape, reader: &mut Reader, rows: &Rows) -> Rows {
    let mut next = || Linear::read(reader, shape.has_bias());
    let mut between = match shape.activation {
        Activation::Gelu => {
            let mut up = next().of(rows);
            up.iter_mut().flatten().for_each(|x| *x = gelu(*x));
            up
        }
        Activation::SwiGlu => {
            let (gate, mut up) = (next().of(rows), next().of(rows));
            let pairs = up.iter_mut().flatten().zip(gate.iter().flatten());
            pairs.for_each(|(up, gate)| *up *= gate / (1.0 + (-gate).exp()));
            up
        }
    };
    between = next().of(&between);
    between
}

fn add(rows: &mut Rows, more: &Rows) {
    let pairs = rows.iter_mut().flatten().zip(more.iter().flatten());
    pairs.for_each(|(x, y)| *x += y);
}

/// The losses of the tokens of a sequence, given parameters in their order, and the loss of load balancing of all mixtures.
pub fn losses(
    shape: &Shape,
    parameters: &[Vec<f64>],
    ids: &[u32],
    labels: &[u32],
) -> (Vec<f64>, f64) {
    let (logits, balance) = logits(shape, parameters, ids);
    let of_token = |(logits, label): (&Vec<f64>, &u32)| softmax_loss(logits, *label as usize);
    (logits.iter().zip(labels).map(of_token).collect(), balance)
}

/// The logits of what comes after each token of a sequence, and the loss of load balancing of all mixtures.
pub fn logits(shape: &Shape, parameters: &[Vec<f64>], ids: &[u32]) -> (Vec<Vec<f64>>, f64) {
    let mut reader = Reader::new(parameters);
    let table: Vec<&[f64]> = reader.take().chunks_exact(shape.width).collect();
    let mut rows: Rows = ids.iter().map(|id| table[*id as usize].to_vec()).collect();
    if shape.places == Places::Learned {
        let places: Rows = reader
            .take()
            .chunks_exact(shape.width)
            .map(<[f64]>::to_vec)
            .collect();
        add(&mut rows, &places);
    }
    let mut balance = 0.0;
    for _ in 0..shape.layers {
        let normal = norm(shape.norm, reader.take(), &rows);
        add(&mut rows, &attention(shape, &mut reader, &normal));
        let normal = norm(shape.norm, reader.take(), &rows);
        let branch = match &shape.routing {
            None => feed_forward(shape, &mut reader, &normal),
            Some(routing) => {
                let (rows, loss) = mixture(shape, routing, &mut reader, &normal);
                balance += loss;
                rows
            }
        };
        add(&mut rows, &branch);
    }
    let rows = norm(shape.norm, reader.take(), &rows);
    let of_token = |row: &Vec<f64>| {
        let logit = |of: &&[f64]| row.iter().zip(*of).map(|(a, b)| a * b).sum::<f64>();
        table.iter().map(logit).collect()
    };
    (rows.iter().map(of_token).collect(), balance)
}

#[cfg(test)]
mod tests {
    use super::{Rows, head, softmax_loss};
    use crate::training::decoder::Places;

    /// A training that went astray has logits whose exponentials no number holds.
    #[test]
    fn large_numbers_have_losses() {
        assert!((softmax_loss(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
        assert!(softmax_loss(&[1000.0, 0.0], 0).abs() < 1e-9);
        assert!((softmax_loss(&[-1000.0, -1000.0], 0) - 2_f64.ln()).abs() < 1e-12);
        assert!(softmax_loss(&[f64::NAN, 0.0], 1).is_nan());
        let rows: Rows = vec![vec![0.0], vec![1e3]];
        let values: Rows = vec![vec![1.0], vec![2.0]];
        let out = head(Places::Learned, 0.0, [&rows, &rows, &values]);
        assert_eq!(out, [[1.0], [2.0]]);
    }
}

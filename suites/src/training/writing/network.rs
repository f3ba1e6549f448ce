//! A decoder token by token: what it says after a token is computed from what it kept of those before.
//!
//! Plain `f32`, every sum in an order of its own length, and no function of the system's mathematical library: the same bits on
//! every machine, and for any sequences beside each other. The model itself is described in [`decoder`](super::super::decoder).

use std::vec::IntoIter;

use assay_kernels::ml::norm::Kind;
use assay_kernels::ml::position::slopes;

use super::super::decoder::{Places, Shape};
use super::super::layers::Activation;

/// Added to variances, as the bricks do.
const EPSILON: f32 = 1e-5;
/// Sums that a product of rows is taken in.
const LANES: usize = 8;

/// `y = x W + b` of rows.
struct Linear {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Linear {
    fn read(parameters: &mut IntoIter<Vec<f32>>, has_bias: bool) -> Option<Self> {
        Some(Self {
            weight: parameters.next()?,
            bias: if has_bias {
                Some(parameters.next()?)
            } else {
                None
            },
        })
    }

    /// Of `rows` rows; each weight is read once for all of them.
    fn of(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let inputs = x.len() / rows;
        let outputs = self.weight.len() / inputs;
        let mut out = match &self.bias {
            Some(bias) => bias.repeat(rows),
            None => vec![0.0; rows * outputs],
        };
        for (input, weights) in self.weight.chunks_exact(outputs).enumerate() {
            for (out, x) in out.chunks_exact_mut(outputs).zip(x.chunks_exact(inputs)) {
                add_scaled(out, x[input], weights);
            }
        }
        out
    }
}

/// An adapter: `x A B`.
struct Adapter([Linear; 2]);

/// What comes between the linear layers of a token.
enum Second {
    Dense {
        gate: Option<Linear>,
        up: Linear,
        down: Linear,
    },
    /// The gate, and W1, W3 and W2 of each expert.
    Mixture {
        gate: Linear,
        experts: Vec<[Linear; 3]>,
        chosen: usize,
    },
}

struct Layer {
    norms: [Vec<f32>; 2],
    /// Of queries, keys, values, and of what comes out.
    attention: [Linear; 4],
    /// Of queries and values.
    adapters: Option<[Adapter; 2]>,
    second: Second,
}

/// A decoder with its parameters.
pub struct Network {
    shape: Shape,
    /// Rows of tokens.
    table: Vec<f32>,
    /// The same, turned: rows of columns.
    turned: Linear,
    places: Option<Vec<f32>>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// Cosine and sine of each pair of a head, place after place.
    angles: Vec<[f32; 2]>,
    slopes: Vec<f32>,
}

/// Keys and values of a sequence, of each layer, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Past {
    kept: Vec<[Vec<f32>; 2]>,
    /// Tokens that it has seen.
    pub len: usize,
}

impl Network {
    /// Of parameters in the order in which a model adds them; `None` where they are too few.
    pub fn new(shape: Shape, parameters: Vec<Vec<f32>>) -> Option<Self> {
        let parameters = &mut parameters.into_iter();
        let table = parameters.next()?;
        let places = match shape.places {
            Places::Learned => Some(parameters.next()?),
            Places::Rope | Places::Alibi => None,
        };
        let layers = (0..shape.layers).map(|_| Layer::read(&shape, parameters));
        let layers = layers.collect::<Option<Vec<_>>>()?;
        let norm = parameters.next()?;
        let slope = |slope: &f64| match shape.places {
            Places::Alibi => *slope as f32,
            _ => 0.0,
        };
        Some(Self {
            turned: Linear {
                weight: turned(&table, shape.width),
                bias: None,
            },
            slopes: slopes(shape.heads).iter().map(slope).collect(),
            angles: angles(&shape),
            shape,
            table,
            places,
            layers,
            norm,
        })
    }

    /// What it was made of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Logits of what comes after a token, one of each sequence, row by row.
    ///
    /// # Panics
    /// If a sequence has no room for one more, or there are not as many tokens.
    pub fn step(&self, pasts: &mut [&mut Past], tokens: &[u32]) -> Vec<f32> {
        let (rows, width) = (tokens.len(), self.shape.width);
        assert_eq!(pasts.len(), rows, "a token of each sequence");
        let mut x = Vec::with_capacity(rows * width);
        for (token, past) in tokens.iter().zip(pasts.iter_mut()) {
            past.kept.resize_with(self.layers.len(), Default::default);
            x.extend_from_slice(&self.table[*token as usize * width..][..width]);
            if let Some(places) = &self.places {
                let place = &places[past.len * width..][..width];
                let from = x.len() - width;
                add_scaled(&mut x[from..], 1.0, place);
            }
        }
        for (number, layer) in self.layers.iter().enumerate() {
            let normal = norm(self.shape.norm, &layer.norms[0], &x, width);
            let mixed = self.attention(number, layer, &normal, pasts);
            add_scaled(&mut x, 1.0, &mixed);
            let normal = norm(self.shape.norm, &layer.norms[1], &x, width);
            let branch = layer.second.of(&normal, rows);
            add_scaled(&mut x, 1.0, &branch);
        }
        for past in pasts.iter_mut() {
            past.len += 1;
        }
        let normal = norm(self.shape.norm, &self.norm, &x, width);
        self.turned.of(&normal, rows)
    }

    fn attention(
        &self,
        number: usize,
        layer: &Layer,
        x: &[f32],
        pasts: &mut [&mut Past],
    ) -> Vec<f32> {
        let (rows, width) = (pasts.len(), self.shape.width);
        let [q, k, v, output] = &layer.attention;
        let [mut q, mut k, mut v] = [q, k, v].map(|of| of.of(x, rows));
        if let Some([of_q, of_v]) = &layer.adapters {
            add_scaled(&mut q, 1.0, &of_q.of(x, rows));
            add_scaled(&mut v, 1.0, &of_v.of(x, rows));
        }
        let mut mixed = vec![0.0; rows * width];
        let heads_of = mixed.chunks_exact_mut(width).zip(q.chunks_exact_mut(width));
        let given = k.chunks_exact_mut(width).zip(v.chunks_exact(width));
        for (((mixed, q), (k, v)), past) in heads_of.zip(given).zip(pasts) {
            self.rotate(q, past.len);
            self.rotate(k, past.len);
            let [keys, values] = &mut past.kept[number];
            keys.extend_from_slice(k);
            values.extend_from_slice(v);
            let each = width / self.shape.heads;
            for (head, slope) in self.slopes.iter().enumerate() {
                let part = head * each..(head + 1) * each;
                let scores = keys.chunks_exact(width).enumerate().map(|(place, key)| {
                    let distance = (past.len - place) as f32;
                    let product = dot(&q[part.clone()], &key[part.clone()]);
                    product / (each as f32).sqrt() - slope * distance
                });
                let weights = softmax(&scores.collect::<Vec<_>>());
                for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                    add_scaled(&mut mixed[part.clone()], *weight, &value[part.clone()]);
                }
            }
        }
        output.of(&mixed, rows)
    }

    /// Turns the pairs of each head, where places are told so.
    fn rotate(&self, row: &mut [f32], place: usize) {
        let pairs = self.shape.width / self.shape.heads / 2;
        if self.angles.is_empty() {
            return;
        }
        let angles = &self.angles[place * pairs..][..pairs];
        for head in row.chunks_exact_mut(2 * pairs) {
            for (pair, [cosine, sine]) in head.chunks_exact_mut(2).zip(angles) {
                let [a, b] = [pair[0], pair[1]];
                pair[0] = a * cosine - b * sine;
                pair[1] = a * sine + b * cosine;
            }
        }
    }
}

impl Layer {
    fn read(shape: &Shape, parameters: &mut IntoIter<Vec<f32>>) -> Option<Self> {
        let has_bias = shape.has_bias();
        let first = parameters.next()?;
        let mut linear = |has_bias| Linear::read(parameters, has_bias);
        let attention = [
            linear(has_bias)?,
            linear(has_bias)?,
            linear(has_bias)?,
            linear(has_bias)?,
        ];
        let mut adapter = || Some(Adapter([linear(false)?, linear(false)?]));
        let adapters = match shape.rank {
            0 => None,
            _ => Some([adapter()?, adapter()?]),
        };
        Some(Self {
            attention,
            adapters,
            norms: [first, parameters.next()?],
            second: Second::read(shape, parameters)?,
        })
    }
}

impl Adapter {
    fn of(&self, x: &[f32], rows: usize) -> Vec<f32> {
        self.0[1].of(&self.0[0].of(x, rows), rows)
    }
}

impl Second {
    fn read(shape: &Shape, parameters: &mut IntoIter<Vec<f32>>) -> Option<Self> {
        let Some(routing) = &shape.routing else {
            let mut linear = || Linear::read(parameters, shape.has_bias());
            let gate = match shape.activation {
                Activation::Gelu => None,
                Activation::SwiGlu => Some(linear()?),
            };
            let (up, down) = (linear()?, linear()?);
            return Some(Self::Dense { gate, up, down });
        };
        let gate = Linear::read(parameters, false)?;
        let all = [parameters.next()?, parameters.next()?, parameters.next()?];
        let of_expert = |expert: usize| {
            all.each_ref().map(|part| {
                let len = part.len() / routing.experts;
                Linear {
                    weight: part[expert * len..][..len].to_vec(),
                    bias: None,
                }
            })
        };
        Some(Self::Mixture {
            gate,
            experts: (0..routing.experts).map(of_expert).collect(),
            chosen: routing.chosen,
        })
    }

    fn of(&self, x: &[f32], rows: usize) -> Vec<f32> {
        match self {
            Self::Dense {
                gate: None,
                up,
                down,
            } => {
                let mut between = up.of(x, rows);
                for x in &mut between {
                    *x = gelu(*x);
                }
                down.of(&between, rows)
            }
            Self::Dense {
                gate: Some(gate),
                up,
                down,
            } => swiglu([gate, up, down], x, rows),
            Self::Mixture {
                gate,
                experts,
                chosen,
            } => {
                let logits = gate.of(x, rows);
                let width = x.len() / rows;
                let each = logits
                    .chunks_exact(experts.len())
                    .zip(x.chunks_exact(width));
                each.flat_map(|(logits, x)| mixture(experts, *chosen, logits, x))
                    .collect()
            }
        }
    }
}

/// What the experts that a token goes to make of it. Every choice finds its expert: capacity is a matter of training.
fn mixture(experts: &[[Linear; 3]], chosen: usize, logits: &[f32], x: &[f32]) -> Vec<f32> {
    let p = softmax(logits);
    let mut order: Vec<usize> = (0..experts.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    order.truncate(chosen);
    let together: f32 = order.iter().map(|expert| p[*expert]).sum();
    let mut out = vec![0.0; x.len()];
    for expert in order {
        let [w1, w3, w2] = &experts[expert];
        add_scaled(&mut out, p[expert] / together, &swiglu([w1, w3, w2], x, 1));
    }
    out
}

fn swiglu([gate, up, down]: [&Linear; 3], x: &[f32], rows: usize) -> Vec<f32> {
    let gate = gate.of(x, rows);
    let mut between = up.of(x, rows);
    let pairs = between.iter_mut().zip(&gate);
    pairs.for_each(|(up, gate)| *up *= gate / (1.0 + libm::expf(-gate)));
    down.of(&between, rows)
}

/// In the form with the hyperbolic tangent.
fn gelu(x: f32) -> f32 {
    let z = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + libm::tanhf(z))
}

fn norm(kind: Kind, parameters: &[f32], x: &[f32], width: usize) -> Vec<f32> {
    let (gains, shifts) = parameters.split_at(width);
    let of_row = |row: &[f32]| {
        let cols = width as f32;
        let mean = match kind {
            Kind::Layer => row.iter().sum::<f32>() / cols,
            Kind::Rms => 0.0,
        };
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / cols;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        let mut out: Vec<f32> = row.iter().map(|x| (x - mean) * scale).collect();
        out.iter_mut()
            .zip(gains)
            .for_each(|(out, gain)| *out *= gain);
        out.iter_mut()
            .zip(shifts)
            .for_each(|(out, shift)| *out += shift);
        out
    };
    x.chunks_exact(width).flat_map(of_row).collect()
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weights: Vec<f32> = scores.iter().map(|x| libm::expf(x - largest)).collect();
    let sum: f32 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out += scale * x);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks(LANES), b.chunks(LANES));
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// A matrix whose rows are the columns of another one.
fn turned(table: &[f32], width: usize) -> Vec<f32> {
    let column = |col: usize| table.iter().skip(col).step_by(width).copied();
    (0..width).flat_map(column).collect()
}

/// Cosines and sines of `RoPE`, if places are told so.
fn angles(shape: &Shape) -> Vec<[f32; 2]> {
    if shape.places != Places::Rope {
        return vec![];
    }
    let pairs = shape.width / shape.heads / 2;
    let angle = |place: usize, pair: usize| {
        let angle = place as f64 * libm::pow(1e4, -(pair as f64) / pairs as f64);
        [libm::cos(angle) as f32, libm::sin(angle) as f32]
    };
    (0..shape.length)
        .flat_map(|place| (0..pairs).map(move |pair| angle(place, pair)))
        .collect()
}

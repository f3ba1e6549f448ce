//! Forward passes of what is done element by element or row by row.

use std::f64::consts::{PI, SQRT_2};

use assay_protocol::Philox;

use super::{Differentiable, Given};

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// What the ops of losses take for the gradient of each.
const OF_LOSSES: f64 = 0.25;

fn logsum(row: &[f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
    largest + sum.ln()
}

/// Rows of a matrix that is made of another, row by row.
fn each_row(x: &[f64], width: usize, of: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    x.chunks_exact(width.max(1)).flat_map(of).collect()
}

/// What adds no sum but those of a few.
fn elementwise() -> Differentiable {
    Differentiable {
        operands: vec![],
        forward: Box::new(|_| vec![]),
        weights: vec![],
        kept: vec![],
        roundings: 1,
        terms: 0,
    }
}

pub fn softmax(given: &Given) -> Differentiable {
    let (rows, cols) = (given.size("rows"), given.size("cols"));
    let logits = given.random(rows * cols, 2.0);
    let probabilities = move |x: &[f64]| {
        each_row(x, cols, |row| {
            let logsum = logsum(row);
            row.iter().map(|x| (x - logsum).exp()).collect()
        })
    };
    Differentiable {
        kept: vec![("y", probabilities(&logits))],
        operands: vec![("dx", logits)],
        forward: Box::new(move |x| probabilities(&x[0])),
        weights: given.numbers("dy"),
        // Of what is kept, and of the result.
        roundings: 3,
        terms: cols,
    }
}

/// Mean and reciprocal deviation of a row, or of a row whose mean is taken for 0.
fn statistics(row: &[f64], has_mean: bool) -> [f64; 2] {
    let count = row.len() as f64;
    let mean = if has_mean {
        row.iter().sum::<f64>() / count
    } else {
        0.0
    };
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    [mean, 1.0 / (variance + EPSILON).sqrt()]
}

pub fn layer_norm(given: &Given) -> Differentiable {
    norm(given, true)
}

pub fn rms_norm(given: &Given) -> Differentiable {
    norm(given, false)
}

fn norm(given: &Given, has_mean: bool) -> Differentiable {
    let (rows, cols) = (given.size("rows"), given.size("cols"));
    let x = given.numbers("x");
    let of_rows = x.chunks_exact(cols).flat_map(|row| {
        let [mean, scale] = statistics(row, has_mean);
        if has_mean {
            vec![mean, scale]
        } else {
            vec![scale]
        }
    });
    Differentiable {
        kept: vec![("statistics", of_rows.collect())],
        operands: vec![
            ("dx", x.clone()),
            ("dparameters", given.numbers("parameters")),
        ],
        forward: Box::new(move |of| {
            let (gains, shifts) = of[1].split_at(cols);
            each_row(&of[0], cols, |row| {
                let [mean, scale] = statistics(row, has_mean);
                let shift = |c: usize| shifts.get(c).copied().unwrap_or(0.0);
                let columns = row.iter().zip(gains).enumerate();
                let columns = columns.map(|(c, (x, gain))| (x - mean) * scale * gain + shift(c));
                columns.collect()
            })
        }),
        weights: given.numbers("dy"),
        terms: rows.max(cols),
        ..elementwise()
    }
}

fn gelu_erf(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / SQRT_2)
}

fn gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}

pub fn gelu(given: &Given) -> Differentiable {
    let of = if given.is("form", "erf") {
        gelu_erf
    } else {
        gelu_tanh
    };
    Differentiable {
        operands: vec![("dx", given.numbers("x"))],
        forward: Box::new(move |x| x[0].iter().map(|x| of(*x)).collect()),
        weights: given.numbers("dy"),
        ..elementwise()
    }
}

pub fn swiglu(given: &Given) -> Differentiable {
    Differentiable {
        operands: vec![
            ("dgate", given.numbers("gate")),
            ("dup", given.numbers("up")),
        ],
        forward: Box::new(|of| {
            let pairs = of[0].iter().zip(&of[1]);
            pairs
                .map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
                .collect()
        }),
        weights: given.numbers("dout"),
        ..elementwise()
    }
}

pub fn bias_gelu(given: &Given) -> Differentiable {
    let (rows, cols) = (given.size("rows"), given.size("cols"));
    Differentiable {
        operands: vec![("dx", given.numbers("x")), ("dbias", given.numbers("bias"))],
        forward: Box::new(move |of| {
            let biased = of[0].iter().zip(of[1].iter().cycle());
            biased.map(|(x, bias)| gelu_tanh(x + bias)).collect()
        }),
        weights: given.numbers("dy"),
        terms: rows.max(cols),
        ..elementwise()
    }
}

pub fn cross_entropy(given: &Given) -> Differentiable {
    let classes = given.size("classes");
    let logits = given.numbers("logits");
    let labels = given.integers("labels");
    Differentiable {
        kept: vec![(
            "logsums",
            each_row(&logits, classes, |row| vec![logsum(row)]),
        )],
        operands: vec![("dlogits", logits)],
        weights: vec![1.0; labels.len()],
        forward: Box::new(move |x| {
            let rows = x[0].chunks_exact(classes).zip(&labels);
            rows.map(|(row, label)| logsum(row) - row[*label]).collect()
        }),
        terms: classes,
        ..elementwise()
    }
}

pub fn soft_cross_entropy(given: &Given) -> Differentiable {
    let (rows, classes) = (given.size("rows"), given.size("classes"));
    // Labels add up to 1.
    let targets = each_row(&given.numbers("targets"), classes, |row| {
        let sum: f64 = row.iter().sum();
        row.iter().map(|x| x / sum).collect()
    });
    Differentiable {
        kept: vec![("targets", targets.clone())],
        operands: vec![("dlogits", given.numbers("logits"))],
        weights: vec![OF_LOSSES; rows],
        forward: Box::new(move |x| {
            let rows = x[0]
                .chunks_exact(classes)
                .zip(targets.chunks_exact(classes));
            let loss = |(x, t): (&[f64], &[f64])| -> f64 {
                let logsum = logsum(x);
                x.iter().zip(t).map(|(x, t)| t * (logsum - x)).sum()
            };
            rows.map(loss).collect()
        }),
        terms: classes,
        ..elementwise()
    }
}

pub fn squares(given: &Given) -> Differentiable {
    let (rows, cols) = (given.size("rows"), given.size("cols"));
    let (x, w) = (given.numbers("x"), given.numbers("w"));
    Differentiable {
        operands: vec![("dy", given.numbers("y"))],
        weights: vec![OF_LOSSES; rows],
        forward: Box::new(move |y| {
            let terms = y[0].iter().zip(&x).zip(&w);
            let terms: Vec<_> = terms.map(|((y, x), w)| 0.5 * w * (y - x).powi(2)).collect();
            each_row(&terms, cols, |row| {
                vec![row.iter().sum::<f64>() / cols as f64]
            })
        }),
        ..elementwise()
    }
}

/// Codes and, behind them, divergences.
pub fn codes(given: &Given) -> Differentiable {
    let (batch, code) = (given.size("batch"), given.size("code"));
    let noise = given.numbers("noise");
    Differentiable {
        operands: vec![("d_heads", given.numbers("heads"))],
        weights: [given.numbers("dz"), vec![OF_LOSSES; batch]].concat(),
        forward: Box::new(move |heads| {
            let (mut z, mut divergences) = (vec![], vec![]);
            for (head, noise) in heads[0]
                .chunks_exact(2 * code)
                .zip(noise.chunks_exact(code))
            {
                let (mu, v) = head.split_at(code);
                z.extend((0..code).map(|i| mu[i] + (0.5 * v[i]).exp() * noise[i]));
                let terms = mu.iter().zip(v);
                let terms = terms.map(|(mu, v)| 0.5 * (mu * mu + v.exp() - 1.0 - v));
                divergences.push(terms.sum::<f64>());
            }
            [z, divergences].concat()
        }),
        ..elementwise()
    }
}

pub fn embedding(given: &Given) -> Differentiable {
    let (vocabulary, width) = (given.size("vocabulary"), given.size("width"));
    let ids = given.integers("ids");
    Differentiable {
        // Gradients of what is linear are the same anywhere.
        operands: vec![("dtable", vec![0.0; vocabulary * width])],
        weights: given.numbers("dout"),
        terms: ids.len(),
        forward: Box::new(move |table| {
            let rows = ids.iter().map(|id| &table[0][id * width..][..width]);
            rows.flatten().copied().collect()
        }),
        ..elementwise()
    }
}

/// The op is its own gradient: of the masked product with what it is given.
pub fn dropout(given: &Given) -> Differentiable {
    let percent = given.size("percent") as u64;
    let threshold = (percent << 32) / 100;
    let factor = 1.0 / (1.0 - threshold as f64 / 2_f64.powi(32));
    let random = Philox::new(given.seed(), given.count("counter").wrapping_add(1));
    let elements = given.size("elements");
    let of = move |i: usize| {
        if u64::from(random.word(i as u64)) < threshold {
            0.0
        } else {
            factor
        }
    };
    Differentiable {
        operands: vec![("out", vec![0.0; elements])],
        forward: Box::new(move |x| {
            let numbers = x[0].iter().enumerate();
            numbers.map(|(i, x)| of(i) * x).collect()
        }),
        weights: given.numbers("x"),
        ..elementwise()
    }
}

/// As [`dropout`], picture by picture.
pub fn depth(given: &Given) -> Differentiable {
    let (batch, image) = (given.size("batch"), given.size("elements"));
    let random = Philox::new(given.seed(), 1);
    let first = given.count("turn").wrapping_mul(batch as u64);
    let of = move |b: usize| {
        let word = random.word(first.wrapping_add(b as u64));
        if word < 1 << 31 { 0.0 } else { 2.0 }
    };
    Differentiable {
        operands: vec![("out", vec![0.0; batch * image])],
        forward: Box::new(move |x| {
            let numbers = x[0].iter().enumerate();
            numbers.map(|(i, x)| of(i / image) * x).collect()
        }),
        weights: given.numbers("x"),
        ..elementwise()
    }
}

pub fn mean_pool(given: &Given) -> Differentiable {
    let (batch, squares) = (given.size("batch"), given.size("squares"));
    let (window, channels) = (given.size("window"), given.size("channels"));
    let side = squares * window;
    let inputs = batch * side * side * channels;
    Differentiable {
        operands: vec![("out", vec![0.0; inputs])],
        forward: Box::new(move |x| {
            let mut means = vec![0.0; batch * squares * squares * channels];
            for (i, x) in x[0].iter().enumerate() {
                let (channel, pixel) = (i % channels, i / channels);
                let (column, line) = (pixel % side / window, pixel / side % side / window);
                let square = (pixel / side / side * squares + line) * squares + column;
                means[square * channels + channel] += x / (window * window) as f64;
            }
            means
        }),
        weights: given.numbers("given"),
        ..elementwise()
    }
}

/// Sums over columns are the gradient of what is added to each row.
pub fn bias(given: &Given) -> Differentiable {
    let (rows, cols) = (given.size("rows"), given.size("cols"));
    Differentiable {
        operands: vec![("sums", vec![0.0; cols])],
        forward: Box::new(move |bias| bias[0].repeat(rows)),
        weights: given.numbers("x"),
        terms: rows,
        ..elementwise()
    }
}

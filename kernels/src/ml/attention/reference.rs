//! One head of attention in `f64`, forward and backward, with the magnitudes that its errors are relative to.

use crate::bound::gamma;
use crate::element::Real as _;

/// A head, and what is done to its scores.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Tokens, and columns of the head.
    pub length: usize,
    pub width: usize,
    /// Row by row.
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    pub is_causal: bool,
    /// Slope of the linear biases; 0 without.
    pub slope: f64,
    /// Cosine and sine of each place and pair, where queries and keys are rotated.
    pub angles: Option<Vec<f64>>,
    /// Rounds what was rotated to the type that tensor cores multiply, where they do.
    pub round: Option<fn(f64) -> f64>,
}

/// A result, and beside each element the sum of the magnitudes of its terms.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub value: Vec<f64>,
    pub magnitude: Vec<f64>,
    /// Of gradients, the sum of the magnitudes of those of their terms that are rounded to the type before they are added up, or that come
    /// of what was: each is a sum already, of which much may have cancelled.
    pub terms: Vec<f64>,
    /// What an element may be off by beside that, because something that it is made of is so near to halfway between two numbers of
    /// 16 bits that nobody can say to which it is rounded.
    pub slack: Vec<f64>,
}

impl Measured {
    fn zeros(len: usize) -> Self {
        Self {
            value: vec![0.0; len],
            magnitude: vec![0.0; len],
            terms: vec![0.0; len],
            slack: vec![0.0; len],
        }
    }

    /// As it is rounded, when it is off by a sum of two products in `f32`.
    fn rounded(self, round: fn(f64) -> f64) -> Self {
        let of_sum = gamma(3, f32::UNIT_ROUNDOFF);
        let slack = self
            .value
            .iter()
            .zip(&self.magnitude)
            .map(|(x, magnitude)| {
                let off = of_sum * magnitude;
                let [least, most] = [x - off, x + off].map(|at| (round(at) - round(*x)).abs());
                least.max(most)
            });
        let slack: Vec<_> = slack.collect();
        let value: Vec<_> = self.value.iter().map(|x| round(*x)).collect();
        let most = value.iter().zip(&slack).map(|(x, slack)| x.abs() + slack);
        Self {
            magnitude: most.collect(),
            value,
            slack,
            ..self
        }
    }

    /// Adds to what the elements of row `row` may be off by.
    fn loosen(&mut self, row: usize, width: usize, slack: impl Fn(usize) -> f64) {
        let slacks = self.slack[row * width..][..width].iter_mut();
        slacks
            .enumerate()
            .for_each(|(column, sum)| *sum += slack(column));
    }

    /// Adds `weight` times the magnitudes of a row to the terms of row `row`.
    fn add_terms(&mut self, row: usize, weight: f64, values: &[f64]) {
        let terms = self.terms[row * values.len()..][..values.len()].iter_mut();
        let terms = terms.zip(values);
        terms.for_each(|(sum, x)| *sum += weight * x.abs());
    }

    /// Adds `factor` times a row to row `row`, and `weight` times another to its magnitudes.
    fn add(
        &mut self,
        row: usize,
        (factor, weight): (f64, f64),
        (values, magnitudes): (&[f64], &[f64]),
    ) {
        let at = row * values.len()..(row + 1) * values.len();
        let sums = self.value[at.clone()].iter_mut().zip(values);
        sums.for_each(|(sum, x)| *sum += factor * x);
        let sums = self.magnitude[at].iter_mut().zip(magnitudes);
        sums.for_each(|(sum, x)| *sum += weight * x);
    }
}

/// What attention computes of a head.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    pub out: Measured,
    /// Probabilities, query by query.
    pub probabilities: Vec<f64>,
    /// Logarithm of the sum of the exponentials of the scores of each query.
    pub log_sums: Vec<f64>,
    /// What each of those may be off by, as elements may by their [slack](Measured::slack).
    pub log_slack: Vec<f64>,
    /// Largest sum of magnitudes of a score, and largest difference of two of one query.
    pub condition: f64,
    pub range: f64,
}

/// Gradients of queries, keys and values.
#[derive(Clone, Debug, Default)]
pub struct Backward {
    pub dq: Measured,
    pub dk: Measured,
    pub dv: Measured,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn magnitudes(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.abs()).collect()
}

impl Head {
    fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }

    /// Rows with rotated pairs, `turn` 1 or -1 times, and the magnitudes of what they are sums of.
    fn rotated(&self, x: &[f64], sizes: &[f64], turn: f64) -> Measured {
        let Some(angles) = &self.angles else {
            return Measured {
                value: x.to_vec(),
                magnitude: sizes.to_vec(),
                ..Measured::zeros(x.len())
            };
        };
        let mut out = Measured::zeros(x.len());
        for pair in 0..x.len() / 2 {
            let (cosine, sine) = (angles[2 * pair], turn * angles[2 * pair + 1]);
            let [a, b] = [2 * pair, 2 * pair + 1];
            out.value[a] = x[a] * cosine - x[b] * sine;
            out.value[b] = x[a] * sine + x[b] * cosine;
            out.magnitude[a] = sizes[a] * cosine.abs() + sizes[b] * sine.abs();
            out.magnitude[b] = sizes[a] * sine.abs() + sizes[b] * cosine.abs();
        }
        out
    }

    fn row<'a>(&self, matrix: &'a [f64], row: usize) -> &'a [f64] {
        &matrix[row * self.width..][..self.width]
    }

    /// How many keys a query sees.
    fn seen(&self, query: usize) -> usize {
        if self.is_causal {
            query + 1
        } else {
            self.length
        }
    }

    /// Queries and keys as they are multiplied.
    fn turned_inputs(&self) -> [Measured; 2] {
        [&self.q, &self.k].map(|x| {
            let turned = self.rotated(x, &magnitudes(x), 1.0);
            // What is not rotated is of the type already.
            match self.round.filter(|_| self.angles.is_some()) {
                Some(round) => turned.rounded(round),
                None => turned,
            }
        })
    }

    /// What a score may be off by, because its query or key may have been rounded to another number.
    fn slack_of_score(&self, [q, k]: [&Measured; 2], query: usize, key: usize) -> f64 {
        let columns = 0..self.width;
        let of = |column: usize| {
            let [i, j] = [query, key].map(|row| row * self.width + column);
            let (of_q, of_k) = (q.slack[i], k.slack[j]);
            of_q * k.value[j].abs() + q.value[i].abs() * of_k + of_q * of_k
        };
        self.scale() * columns.map(of).sum::<f64>()
    }

    /// Of each row, whether an element may be off.
    fn rows_off(&self, x: &Measured) -> Vec<bool> {
        let rows = x.slack.chunks_exact(self.width.max(1));
        rows.map(|row| row.iter().any(|slack| *slack > 0.0))
            .collect()
    }

    /// The slack of the scores of a query with the first `seen` keys; none where all are as they should be.
    fn slack_of_scores(
        &self,
        inputs: [&Measured; 2],
        [queries_off, keys_off]: [&[bool]; 2],
        (query, seen): (usize, usize),
    ) -> Vec<f64> {
        let of = |key: usize| {
            if queries_off[query] || keys_off[key] {
                self.slack_of_score(inputs, query, key)
            } else {
                0.0
            }
        };
        (0..seen).map(of).collect()
    }

    /// The output: for each query the mean of values, weighted by the softmax of its scores.
    pub fn forward(&self) -> Forward {
        let length = self.length;
        let [q, k] = self.turned_inputs();
        let off = [&q, &k].map(|x| self.rows_off(x));
        let sizes = magnitudes(&self.v);
        let mut found = Forward {
            out: Measured::zeros(self.v.len()),
            probabilities: vec![0.0; length * length],
            log_sums: vec![0.0; length],
            log_slack: vec![0.0; length],
            ..Forward::default()
        };
        for query in 0..length {
            let seen = self.seen(query);
            let row = &mut found.probabilities[query * length..][..seen];
            for (key, score) in row.iter_mut().enumerate() {
                let bias = self.slope * query.abs_diff(key) as f64;
                let of =
                    |q: &[f64], k: &[f64]| self.scale() * dot(self.row(q, query), self.row(k, key));
                *score = of(&q.value, &k.value) - bias;
                found.condition = found.condition.max(of(&q.magnitude, &k.magnitude) + bias);
            }
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let least = row.iter().copied().fold(f64::INFINITY, f64::min);
            found.range = found.range.max(largest - least);
            let sum: f64 = row.iter().map(|score| (score - largest).exp()).sum();
            found.log_sums[query] = largest + sum.ln();
            for (key, score) in row.iter_mut().enumerate() {
                *score = (*score - largest).exp() / sum;
                let rows = (self.row(&self.v, key), self.row(&sizes, key));
                found.out.add(query, (*score, *score), rows);
            }
            let p = &found.probabilities[query * length..][..seen];
            let slack = self.slack_of_scores([&q, &k], [&off[0], &off[1]], (query, seen));
            if slack.iter().all(|slack| *slack == 0.0) {
                continue;
            }
            // Scores that are higher make the sum larger by this factor at most; those that are lower make it as much smaller.
            let grown: f64 = p.iter().zip(&slack).map(|(p, slack)| p * slack.exp()).sum();
            found.log_slack[query] = grown.ln();
            for (key, (p, slack)) in p.iter().zip(&slack).enumerate() {
                let part = p * (slack + grown.ln()).exp_m1();
                let sizes = self.row(&sizes, key);
                found
                    .out
                    .loosen(query, self.width, |column| part * sizes[column]);
            }
        }
        found
    }

    /// The gradients, given that of the output. With `p` the probabilities, `dp = dout v^T` and `d = sum p dp = dout out^T` of each
    /// query, the scores have the gradient `p (dp - d)`. Probabilities come of the logarithms of sums that a forward pass kept, and
    /// `d` of its output: `given` is that pass, which need not have rounded what it rotated as this one does.
    pub fn backward(&self, forward: &Forward, given: &Forward, d_out: &[f64]) -> Backward {
        let length = self.length;
        let [q, k] = self.turned_inputs();
        let off = [&q, &k].map(|x| self.rows_off(x));
        let (sizes, d_sizes) = (magnitudes(&self.v), magnitudes(d_out));
        let zeros = || Measured::zeros(self.q.len());
        let (mut dq, mut dk, mut dv) = (zeros(), zeros(), zeros());
        for query in 0..length {
            let other = (forward.log_sums[query] - given.log_sums[query]).exp();
            let p = &forward.probabilities[query * length..][..self.seen(query)];
            let p: Vec<f64> = p.iter().map(|p| p * other).collect();
            let slack = self.slack_of_scores([&q, &k], [&off[0], &off[1]], (query, p.len()));
            let of = |d: &[f64], v: &[f64]| -> Vec<f64> {
                let at = |key| dot(self.row(d, query), self.row(v, key));
                (0..p.len()).map(at).collect()
            };
            let (dp, size_of_dp) = (of(d_out, &self.v), of(&d_sizes, &sizes));
            let of_output = |d: &[f64], out: &[f64]| dot(self.row(d, query), self.row(out, query));
            let sum = of_output(d_out, &given.out.value);
            let sum_size = of_output(&d_sizes, &given.out.magnitude);
            // What the sum is off by where the output is rounded.
            let of_rounded = of_output(&d_sizes, &magnitudes(&given.out.value));
            for (key, p) in p.iter().enumerate() {
                let ds = self.scale() * p * (dp[key] - sum);
                let size = self.scale() * p * (size_of_dp[key] + sum_size);
                let rows = |x: &'_ Measured, row| {
                    (
                        self.row(&x.value, row).to_vec(),
                        self.row(&x.magnitude, row).to_vec(),
                    )
                };
                let (value, magnitude) = rows(&k, key);
                dq.add(query, (ds, size), (&value, &magnitude));
                let (value, magnitude) = rows(&q, query);
                dk.add(key, (ds, size), (&value, &magnitude));
                let term = ds.abs() + self.scale() * p * of_rounded;
                dq.add_terms(query, term, self.row(&k.value, key));
                dk.add_terms(key, term, &value);
                let rows = (self.row(d_out, query), self.row(&d_sizes, query));
                dv.add(key, (*p, *p), rows);
                dv.add_terms(key, *p, rows.0);
                // What a probability may be off by, relatively, and what the rows that its gradient is multiplied by may.
                let grown = slack[key].exp_m1();
                let loosen = |x: &Measured, row: usize, column: usize| {
                    let at = row * self.width + column;
                    size * (grown * x.magnitude[at] + x.slack[at])
                };
                if off[0][query] || off[1][key] {
                    dq.loosen(query, self.width, |column| loosen(&k, key, column));
                    dk.loosen(key, self.width, |column| loosen(&q, query, column));
                    dv.loosen(key, self.width, |column| p * grown * rows.1[column]);
                }
            }
        }
        let turned_back = |x: &Measured| Measured {
            slack: self.rotated(&x.slack, &x.slack, -1.0).magnitude,
            terms: self.rotated(&x.terms, &x.terms, -1.0).magnitude,
            ..self.rotated(&x.value, &x.magnitude, -1.0)
        };
        Backward {
            dq: turned_back(&dq),
            dk: turned_back(&dk),
            dv,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Head;
    use crate::gradient::{assert_gradient, numbers};

    /// Every mask and kind of place.
    fn heads() -> Vec<Head> {
        let (length, width) = (5, 4);
        let angles: Vec<f64> = (0..length * width / 2)
            .flat_map(|i| [(i as f64).cos(), (i as f64).sin()])
            .collect();
        let plain = Head {
            length,
            width,
            q: numbers(0, length * width),
            k: numbers(1, length * width),
            v: numbers(2, length * width),
            ..Head::default()
        };
        let mut heads = vec![];
        for is_causal in [false, true] {
            for (slope, angles) in [(0.0, None), (0.3, None), (0.0, Some(angles.clone()))] {
                heads.push(Head {
                    is_causal,
                    slope,
                    angles,
                    ..plain.clone()
                });
            }
        }
        heads
    }

    #[test]
    fn gradients_are_those_of_the_forward_pass() {
        for head in heads() {
            let d_out = numbers(3, head.v.len());
            let loss = |head: &Head| -> f64 {
                let out = head.forward().out.value;
                out.iter().zip(&d_out).map(|(a, b)| a * b).sum()
            };
            let forward = head.forward();
            let found = head.backward(&forward, &forward, &d_out);
            let with_q = |x: &[f64]| {
                loss(&Head {
                    q: x.to_vec(),
                    ..head.clone()
                })
            };
            let with_k = |x: &[f64]| {
                loss(&Head {
                    k: x.to_vec(),
                    ..head.clone()
                })
            };
            let with_v = |x: &[f64]| {
                loss(&Head {
                    v: x.to_vec(),
                    ..head.clone()
                })
            };
            assert_gradient("dq", &found.dq.value, with_q, &head.q);
            assert_gradient("dk", &found.dk.value, with_k, &head.k);
            assert_gradient("dv", &found.dv.value, with_v, &head.v);
        }
    }

    #[test]
    fn a_query_sees_no_later_key() {
        let mut head = heads().remove(3);
        let before = head.forward();
        let last = head.k.len() - 1;
        head.k[last] += 1.0;
        head.v[last] += 1.0;
        let after = head.forward();
        let seen = head.width * (head.length - 1);
        assert_eq!(before.out.value[..seen], after.out.value[..seen]);
        assert_ne!(before.out.value[seen..], after.out.value[seen..]);
        assert!(before.probabilities[1] == 0.0 && (before.probabilities[0] - 1.0).abs() < 1e-15);
    }
}

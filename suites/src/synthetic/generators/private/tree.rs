//! A distribution over trees of columns: noisy marginals made to agree, and rows drawn from them.

use serde::{Deserialize, Serialize};

use super::Measured;
use crate::synthetic::generators::marginal::{cumulative, normalised};
use crate::synthetic::random::{Bits as _, Draws};

/// Rounds of proportional fitting, and the change that ends them.
const FITTING_ROUNDS: usize = 500;
const FITTING_DONE: f64 = 1e-10;

/// One column after the other, each given at most one before it: those that are given none are roots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// In the order of drawing.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    column: usize,
    /// The column that it is drawn given.
    given: Option<usize>,
    /// For each level of that one (or once) the probabilities of its own levels, summed up.
    bounds: Vec<Vec<f64>>,
}

impl Tree {
    /// Of columns measured alone, and in pairs along the edges of one tree or of several.
    pub fn new(
        edges: &[(usize, usize)],
        sizes: &[usize],
        singles: &[Measured],
        pairs: &[Measured],
    ) -> Self {
        let singles = agreed(edges, sizes, singles, pairs);
        let joints: Vec<Vec<f64>> = edges
            .iter()
            .zip(pairs)
            .map(|((a, b), pair)| fitted(&pair.counts, &singles[*a], &singles[*b]))
            .collect();
        let mut nodes: Vec<Node> = Vec::new();
        let mut reached = 0;
        for root in 0..sizes.len() {
            if nodes.iter().any(|node| node.column == root) {
                continue;
            }
            nodes.push(Node {
                column: root,
                given: None,
                bounds: vec![cumulative(&singles[root])],
            });
            // Nodes are added behind those that reach them.
            while reached < nodes.len() {
                let from = nodes[reached].column;
                for (edge, joint) in edges.iter().zip(&joints) {
                    let to = match from {
                        from if from == edge.0 => edge.1,
                        from if from == edge.1 => edge.0,
                        _ => continue,
                    };
                    if nodes.iter().any(|node| node.column == to) {
                        continue;
                    }
                    let of_edge = conditional(joint, sizes, (from, to), from == edge.0);
                    let bounds = of_edge.into_iter().map(|row| {
                        // A level that never occurs: as if nothing were given.
                        row.map_or_else(|| cumulative(&singles[to]), |row| cumulative(&row))
                    });
                    nodes.push(Node {
                        column: to,
                        given: Some(from),
                        bounds: bounds.collect(),
                    });
                }
                reached += 1;
            }
        }
        Self { nodes }
    }

    /// Whether each of some columns, of so many levels, is drawn once, after what it is drawn given.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, sizes: &[usize]) -> Result<(), String> {
        let mut drawn = vec![false; sizes.len()];
        for Node {
            column,
            given,
            bounds,
        } in &self.nodes
        {
            let of_given = match given {
                None => 1,
                Some(given) if drawn.get(*given) == Some(&true) => sizes[*given],
                Some(given) => {
                    return Err(format!("column {column} is given {given}, not drawn yet"));
                }
            };
            if drawn.get(*column) != Some(&false) {
                return Err(format!("column {column} is drawn twice, or is none"));
            }
            drawn[*column] = true;
            let is_whole = |row: &Vec<f64>| row.len() == sizes[*column];
            if bounds.len() != of_given || !bounds.iter().all(is_whole) {
                return Err(format!(
                    "column {column} has other levels than its probabilities"
                ));
            }
        }
        match drawn.iter().position(|drawn| !drawn) {
            Some(column) => Err(format!("column {column} is never drawn")),
            None => Ok(()),
        }
    }

    /// A level for each column, with a number on (0, 1) that says where in it.
    pub fn draw(&self, draws: &mut Draws) -> Vec<(u32, f64)> {
        let mut row = vec![(0, 0.0); self.nodes.len()];
        for node in &self.nodes {
            let bounds = &node.bounds[node.given.map_or(0, |column| row[column].0 as usize)];
            let u = draws.unit();
            let level = bounds
                .partition_point(|bound| *bound <= u)
                .min(bounds.len() - 1);
            row[node.column] = (level as u32, draws.unit());
        }
        row
    }
}

/// For each level of one column the probabilities of another's, by their joint distribution, which is row-major by levels of `from` or
/// of `to`; `None` of a level that never occurs.
fn conditional(
    joint: &[f64],
    sizes: &[usize],
    (from, to): (usize, usize),
    is_by_from: bool,
) -> Vec<Option<Vec<f64>>> {
    let (of_from, of_to) = (sizes[from], sizes[to]);
    let row = |level: usize| -> Option<Vec<f64>> {
        let cell = |other: usize| {
            if is_by_from {
                joint[level * of_to + other]
            } else {
                joint[other * of_from + level]
            }
        };
        let row: Vec<f64> = (0..of_to).map(cell).collect();
        (row.iter().sum::<f64>() > 0.0).then(|| normalised(&row))
    };
    (0..of_from).map(row).collect()
}

/// The shares of each column's levels: everything that was measured of them, weighted by its variance.
fn agreed(
    edges: &[(usize, usize)],
    sizes: &[usize],
    singles: &[Measured],
    pairs: &[Measured],
) -> Vec<Vec<f64>> {
    let of_column = |column: usize| {
        let single = &singles[column];
        let mut sum: Vec<f64> = single.counts.iter().map(|c| c / single.variance).collect();
        let mut weight = 1.0 / single.variance;
        for ((a, b), pair) in edges.iter().zip(pairs) {
            if *a != column && *b != column {
                continue;
            }
            // A row of a pair's counts is as many noisy numbers as the other column has levels.
            let others = sizes[if *a == column { *b } else { *a }];
            let variance = pair.variance * others as f64;
            for (place, count) in pair.counts.iter().enumerate() {
                let level = if *a == column {
                    place / sizes[*b]
                } else {
                    place % sizes[*b]
                };
                sum[level] += count / variance;
            }
            weight += 1.0 / variance;
        }
        let counts: Vec<f64> = sum.iter().map(|s| s / weight).collect();
        normalised(&simplex(&counts, counts.iter().sum::<f64>().max(1.0)))
    };
    (0..sizes.len()).map(of_column).collect()
}

/// The nearest numbers that are not negative and have a sum: J. Duchi and others, "Efficient Projections onto the l1-Ball for
/// Learning in High Dimensions", ICML 2008, figure 1.
fn simplex(values: &[f64], total: f64) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (rank, value) in (1..).zip(&sorted) {
        sum += value;
        let candidate = (sum - total) / f64::from(rank);
        if *value > candidate {
            shift = candidate;
        }
    }
    values
        .iter()
        .map(|value| (value - shift).max(0.0))
        .collect()
}

/// A joint distribution near noisy counts whose marginals are these: iterative proportional fitting (W. Deming, F. Stephan, 1940).
fn fitted(counts: &[f64], rows: &[f64], columns: &[f64]) -> Vec<f64> {
    let total = counts.iter().sum::<f64>().max(1.0);
    let near = simplex(counts, total);
    // So little that it matters only where nothing else is: a row that noise left empty.
    let least = 1e-9;
    let mut joint: Vec<f64> = near
        .iter()
        .enumerate()
        .map(|(place, count)| {
            count / total + least * rows[place / columns.len()] * columns[place % columns.len()]
        })
        .collect();
    for _ in 0..FITTING_ROUNDS {
        for (row, wanted) in joint.chunks_exact_mut(columns.len()).zip(rows) {
            scale(row.iter_mut(), *wanted);
        }
        let mut change = 0.0_f64;
        for (column, wanted) in columns.iter().enumerate() {
            let of_column = joint.iter_mut().skip(column).step_by(columns.len());
            change = change.max((scale(of_column, *wanted) - 1.0).abs());
        }
        if change < FITTING_DONE {
            break;
        }
    }
    joint
}

/// Scales some numbers to a sum, and says by how much.
fn scale<'a>(values: impl Iterator<Item = &'a mut f64>, wanted: f64) -> f64 {
    let values: Vec<&mut f64> = values.collect();
    let sum: f64 = values.iter().map(|value| **value).sum();
    if sum <= 0.0 {
        return 1.0;
    }
    let factor = wanted / sum;
    for value in values {
        *value *= factor;
    }
    if wanted > 0.0 { factor } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::{fitted, simplex};

    #[test]
    fn projections_have_the_sum_and_are_nearest() {
        let projected = simplex(&[3.0, -1.0, 1.0], 3.0);
        assert_eq!(projected, [2.5, 0.0, 0.5]);
        assert_eq!(simplex(&[1.0, 2.0], 3.0), [1.0, 2.0]);
    }

    #[test]
    fn fitted_joints_have_both_marginals() {
        let joint = fitted(
            &[30.0, 5.0, -2.0, 20.0, 1.0, 40.0],
            &[0.3, 0.7],
            &[0.5, 0.1, 0.4],
        );
        for (row, wanted) in joint.chunks(3).zip([0.3, 0.7]) {
            assert!((row.iter().sum::<f64>() - wanted).abs() < 1e-9);
        }
        for (column, wanted) in [0.5, 0.1, 0.4].into_iter().enumerate() {
            assert!((joint[column] + joint[column + 3] - wanted).abs() < 1e-9);
        }
    }
}

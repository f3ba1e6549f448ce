//! Which pairs are measured: a tree, its edges chosen one by one by the exponential mechanism.

use rayon::prelude::*;

use crate::synthetic::generators::FitError;
use crate::synthetic::generators::private::Measured;
use crate::synthetic::privacy::accountant::{Accountant, Cost};
use crate::synthetic::privacy::discrete::Sampler;
use crate::synthetic::privacy::zcdp;
use crate::synthetic::progress::Progress;
use crate::synthetic::table::{TableError, ensure_pairs_fit};

/// Columns as they are measured.
pub struct Levels<'a> {
    /// For each column the level of each row.
    pub of_rows: &'a [Vec<u32>],
    /// For each column how many levels it has.
    pub sizes: &'a [usize],
    /// For each column its noisy counts.
    pub singles: &'a [Measured],
}

impl Levels<'_> {
    /// The score of a pair.
    fn score(&self, a: usize, b: usize) -> i64 {
        let joint = joint(
            &self.of_rows[a],
            &self.of_rows[b],
            self.sizes[a],
            self.sizes[b],
        );
        distance(&joint, &expected(&self.singles[a], &self.singles[b]))
    }
}

/// Pairs of columns that no edges join yet, with their scores.
struct Open {
    pairs: Vec<(u32, u32)>,
    scores: Vec<i64>,
}

impl Open {
    /// Takes out the pairs of columns that are in one part.
    fn keep_apart(&mut self, part: &[u32]) {
        let mut kept = 0;
        for place in 0..self.pairs.len() {
            let (a, b) = self.pairs[place];
            if part[a as usize] != part[b as usize] {
                self.pairs[kept] = (a, b);
                self.scores[kept] = self.scores[place];
                kept += 1;
            }
        }
        self.pairs.truncate(kept);
        self.scores.truncate(kept);
    }
}

/// The edges of a tree over all columns. The score of a pair is the distance in the 1-norm between its counts and what its
/// columns, if independent, would give: one row more or less changes it by at most one (`McKenna` and others, algorithm
/// 3). What independent columns would give is rounded to integers, so that a score is a sum of integers, and that holds to the bit.
pub fn tree(
    levels: &Levels,
    rho: f64,
    accountant: &mut Accountant,
    sampler: &mut impl Sampler,
    progress: &Progress,
) -> Result<Vec<(usize, usize)>, FitError> {
    let columns = levels.sizes.len();
    let share = rho / (columns - 1) as f64;
    let epsilon = zcdp::exponential_for(share);
    let mut open = scored(levels, progress);
    let mut part: Vec<u32> = (0..columns as u32).collect();
    let mut edges = Vec::new();
    progress.begin("edges of the tree", columns - 1);
    while edges.len() + 1 < columns {
        let what = format!("edge {} of {}", edges.len() + 1, columns - 1);
        let mechanism = format!(
            "exponential mechanism, epsilon {epsilon:.6}, among {} pairs",
            open.pairs.len()
        );
        let cost = Cost::Concentrated {
            rho: zcdp::of_exponential(epsilon),
        };
        accountant.spend(what, mechanism, cost)?;
        let (a, b) = open.pairs[sampler.choose(&open.scores, epsilon)];
        let (kept, joined) = (part[a as usize], part[b as usize]);
        part.iter_mut()
            .filter(|p| **p == joined)
            .for_each(|p| *p = kept);
        open.keep_apart(&part);
        edges.push((a as usize, b as usize));
        progress.step();
    }
    Ok(edges)
}

/// That memory holds the pairs of so many columns, and their scores.
///
/// # Errors
/// If it does not: how many bytes are lacking.
pub fn ensure_fits(columns: usize) -> Result<(), TableError> {
    /// Of a pair, its score, and of both once more while they are put together.
    const PAIR_BYTES: u64 = 32;
    ensure_pairs_fit(columns, PAIR_BYTES * pairs_of(columns) as u64)
}

fn pairs_of(columns: usize) -> usize {
    columns * columns.saturating_sub(1) / 2
}

/// All pairs with their scores.
fn scored(levels: &Levels, progress: &Progress) -> Open {
    let columns = levels.sizes.len();
    let count = pairs_of(columns);
    progress.begin("scores of pairs", count);
    let pairs: Vec<(u32, u32)> = (0..columns as u32)
        .flat_map(|b| (0..b).map(move |a| (a, b)))
        .collect();
    let scores = pairs.par_iter().map(|(a, b)| {
        progress.step();
        levels.score(*a as usize, *b as usize)
    });
    let scores = scores.collect();
    Open { pairs, scores }
}

/// How many rows have each pair of levels, row-major.
pub fn joint(a: &[u32], b: &[u32], of_a: usize, of_b: usize) -> Vec<u64> {
    let mut counts = vec![0; of_a * of_b];
    for (a, b) in a.iter().zip(b) {
        counts[*a as usize * of_b + *b as usize] += 1;
    }
    counts
}

/// What independent columns would give, by what was measured of each: nothing of the table itself.
fn expected(a: &Measured, b: &Measured) -> Vec<u64> {
    let total = |m: &Measured| m.counts.iter().map(|c| c.max(0.0)).sum::<f64>().max(1.0);
    let both = f64::midpoint(total(a), total(b));
    let of_pair = |x: f64, y: f64| (x.max(0.0) * y.max(0.0) / both).round() as u64;
    let rows = a.counts.iter();
    rows.flat_map(|x| b.counts.iter().map(move |y| of_pair(*x, *y)))
        .collect()
}

/// In the 1-norm.
fn distance(joint: &[u64], expected: &[u64]) -> i64 {
    let differences = joint.iter().zip(expected).map(|(x, y)| x.abs_diff(*y));
    i64::try_from(differences.fold(0_u64, u64::saturating_add)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Accountant, Levels, Measured, Progress, distance, expected, tree};
    use crate::synthetic::generators::audits::{CONFIDENCE, Fault, Faulty, proved, three};
    use crate::synthetic::generators::private::Coarse;
    use crate::synthetic::privacy::Budget;
    use crate::synthetic::privacy::audit::rho_at_least;

    proptest! {
        #[test]
        fn a_row_more_changes_a_score_by_one_at_most(
            joint in prop::collection::vec(0_u64..30, 9),
            noisy in prop::collection::vec(-3.0_f64..60.0, 6),
            cell in 0_usize..9,
        ) {
            let single = |counts: &[f64]| Measured { counts: counts.to_vec(), variance: 1.0 };
            let expected = expected(&single(&noisy[..3]), &single(&noisy[3..]));
            let mut more = joint.clone();
            more[cell] += 1;
            let change = distance(&more, &expected) - distance(&joint, &expected);
            prop_assert!(change.abs() <= 1, "{}", change);
        }
    }

    #[test]
    fn sums_in_floating_point_would_change_by_two() {
        // A table found by search: its distance in f64 goes from 24 to 22.999999999999996.
        let single = |counts: [f64; 3]| Measured {
            counts: counts.to_vec(),
            variance: 1.0,
        };
        let expected = expected(&single([19.0, 6.0, 13.0]), &single([14.0, 20.0, 6.0]));
        let before = [11, 5, 2, 2, 6, 3, 1, 11, 1];
        let after = [11, 6, 2, 2, 6, 3, 1, 11, 1];
        let change = distance(&after, &expected) - distance(&before, &expected);
        assert!(change.abs() <= 1, "{change}");
    }
    /// What the choice of edges is proved to cost, beside its claim: of two tables, given the same counts of single columns.
    fn proved_of_edges(fault: Fault) -> [f64; 2] {
        let tables = [three(0, None), three(0, Some("a"))];
        let coarse = tables
            .each_ref()
            .map(|table| Coarse::of(table, &[]).unwrap());
        let (levels, sizes) = (coarse.each_ref().map(Coarse::levels), coarse[0].sizes());
        let single = |counts: Vec<u64>| Measured {
            counts: counts.into_iter().map(|count| count as f64).collect(),
            variance: 1.0,
        };
        let singles: Vec<_> = coarse[0].histograms().into_iter().map(single).collect();
        let accountant = Accountant::new(Budget::new(5.0, 1e-6).unwrap());
        let bound = |here, there| rho_at_least(here, there, CONFIDENCE);
        let proved = proved(3000, bound, |is_more, trial| {
            let columns = Levels {
                of_rows: &levels[usize::from(is_more)],
                sizes: &sizes,
                singles: &singles,
            };
            let mut noise = Faulty::new(fault, trial, is_more);
            let (rho, mut own) = (accountant.rho(), accountant.clone());
            let edges = tree(&columns, rho, &mut own, &mut noise, &Progress::default()).unwrap();
            // The first edge, and which one is left out.
            let mut features = vec![0.0; 6];
            features[edges[0].0 + edges[0].1 - 1] = 1.0;
            features[3 + edges.iter().map(|(a, b)| a + b - 1).sum::<usize>() - 1] = 1.0;
            features
        });
        [proved, accountant.rho()]
    }

    #[test]
    fn edges_cost_what_is_claimed_and_scores_taken_for_less_sensitive_more() {
        let [proved, claimed] = proved_of_edges(Fault::Nothing);
        assert!(
            proved <= claimed && proved > 0.3 * claimed,
            "{proved} of {claimed}"
        );
        let [proved, claimed] = proved_of_edges(Fault::Scores(2.0));
        assert!(proved > claimed, "{proved} of {claimed}");
    }
}

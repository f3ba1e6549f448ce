//! p-values that assume no distribution, and how small they can be at all with few values.
//!
//! They are exact for few values and therefore coarse: three rounds against three cannot go below 0.10, whatever the
//! effect ([`least_p`]). Verdicts use Student's t on logarithms, whose assumption buys a continuous p-value; these are here to check
//! it, and for readers who do not grant the assumption.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::sample::all_finite;

/// Up to this many differences all sign patterns are counted: a million.
const MOST_FLIPPED: usize = 20;

/// Up to this many pairs of values the Mann-Whitney distribution is counted out.
const MOST_COUNTED: usize = 1_000;

/// Two-sided p-value of "these differences are symmetric around 0", by flipping their signs: the share of all 2ⁿ sign patterns whose sum
/// is at least as far from 0. Beyond 20 values the normal approximation of that distribution. `None` for none, or any not finite.
///
/// Source: Fisher 1935, The Design of Experiments, section 21.
pub fn sign_flip_p(differences: &[f64]) -> Option<f64> {
    if !all_finite(differences) {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    if differences.len() > MOST_FLIPPED {
        let spread = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
        let z = if spread == 0.0 {
            0.0
        } else {
            observed / spread
        };
        return Some((2.0 * Normal::standard().sf(z)).min(1.0));
    }
    let patterns = 1_u32 << differences.len();
    // Rounding must not make the observed pattern fall short of itself.
    let reach = observed * (1.0 - 1e-12);
    let signed = |pattern: u32| -> f64 {
        differences
            .iter()
            .enumerate()
            .map(|(bit, d)| if pattern >> bit & 1 == 1 { -d } else { *d })
            .sum()
    };
    let extreme = (0..patterns).filter(|&pattern| signed(pattern).abs() >= reach);
    Some(extreme.count() as f64 / f64::from(patterns))
}

/// Two-sided p-value of the Mann-Whitney test; exact without ties for few values, else normal with corrections for ties and
/// continuity. `None` if a side is empty or any value is not finite.
///
/// Source: Mann and Whitney 1947, Annals of Mathematical Statistics 18(1), 50-60; ties: Lehmann 1975, Nonparametrics, section 1.4.
pub fn mann_whitney_p(a: &[f64], b: &[f64]) -> Option<f64> {
    if !all_finite(a) || !all_finite(b) {
        return None;
    }
    let ranks = Ranks::of(a, b);
    let (first, second) = (a.len() as f64, b.len() as f64);
    let (count, pairs) = (first + second, first * second);
    let wins = ranks.of_first - first * (first + 1.0) / 2.0;
    let fewer = wins.min(pairs - wins);
    if ranks.ties == 0.0 && a.len() * b.len() <= MOST_COUNTED {
        return Some(exact_mann_whitney(fewer as usize, a.len(), b.len()));
    }
    let variance = pairs / 12.0 * (count + 1.0 - ranks.ties / (count * (count - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    let z = ((pairs / 2.0 - fewer - 0.5) / variance.sqrt()).max(0.0);
    Some((2.0 * Normal::standard().sf(z)).min(1.0))
}

/// The smallest two-sided p-value that a permutation test of `a` against `b` values can give: 2 / C(a + b, a).
pub fn least_p(a: usize, b: usize) -> f64 {
    let few = a.min(b);
    let ways: f64 = (1..=few)
        .map(|i| (a + b - few + i) as f64 / i as f64)
        .product();
    (2.0 / ways).min(1.0)
}

/// Sum of the ranks of the first side, ties sharing their mean, and Σ (t³ - t) over groups of ties.
struct Ranks {
    of_first: f64,
    ties: f64,
}

impl Ranks {
    fn of(a: &[f64], b: &[f64]) -> Self {
        let first = a.iter().map(|value| (*value, true));
        let mut all: Vec<(f64, bool)> = first.chain(b.iter().map(|v| (*v, false))).collect();
        all.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        let mut ranks = Self {
            of_first: 0.0,
            ties: 0.0,
        };
        let mut before = 0;
        for group in all.chunk_by(|left, right| left.0.total_cmp(&right.0).is_eq()) {
            let size = group.len() as f64;
            let rank = before as f64 + f64::midpoint(1.0, size);
            ranks.of_first += rank * group.iter().filter(|(_, is_first)| *is_first).count() as f64;
            ranks.ties += size.powi(3) - size;
            before += group.len();
        }
        ranks
    }
}

/// 2 P(U ≤ u): how many of the ways to choose n of n + m ranks give at most u, counted by their sums.
fn exact_mann_whitney(u: usize, n: usize, m: usize) -> f64 {
    // ways[j][s]: ways to place j values of the first side with s values of the second below them in all.
    let most = n * m;
    let mut ways = vec![vec![0.0_f64; most + 1]; n + 1];
    ways[0][0] = 1.0;
    for below in 0..=m {
        for placed in 1..=n {
            for sum in below..=most {
                ways[placed][sum] += ways[placed - 1][sum - below];
            }
        }
    }
    let total: f64 = ways[n].iter().sum();
    let at_most: f64 = ways[n][..=u.min(most)].iter().sum();
    (2.0 * at_most / total).min(1.0)
}

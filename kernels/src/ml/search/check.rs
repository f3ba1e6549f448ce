//! What a search should have found: the same by a plain loop, in `f64`, which inputs of few bits make exact.

use rayon::prelude::*;

use super::ivf::{File, IvfScan, Lists};
use super::{Clusters, Found, KMeans, Metric, Search, key, result};
use crate::check;
use crate::program::{Checked, Outcome};

/// Multiplications that a check may make.
const BUDGET: usize = 1 << 33;

/// What a vector's distance from a query is ordered by.
fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
    let pairs = query.iter().zip(vector);
    let terms = pairs.map(|(q, x)| (f64::from(*q), f64::from(*x)));
    let exact: f64 = match metric {
        Metric::L2 => terms.map(|(q, x)| (q - x) * (q - x)).sum(),
        Metric::InnerProduct => terms.map(|(q, x)| -(q * x)).sum(),
    };
    exact as f32
}

/// The `k` nearest keys of some.
fn nearest(mut keys: Vec<u64>, k: usize) -> Vec<u64> {
    keys.sort_unstable();
    keys.resize(k.min(keys.len()), 0);
    keys.resize(k, super::NOTHING);
    keys
}

/// Counts results that are not those expected: of as many queries as the budget allows, the first and the last among them, of
/// all; of the others, results that are not as near as they say or not in order.
fn compare(
    metric: Metric,
    (values, places): (&[f32], &[u32]),
    [queries, k, cost]: [usize; 3],
    expected: impl Fn(usize) -> Vec<u64> + Sync,
    is_sound: impl Fn(usize, f32, u32) -> bool + Sync,
) -> Checked {
    let chosen = (BUDGET / cost.max(1)).max(16);
    let every = queries.div_ceil(chosen);
    let wrong_of = |query: usize| {
        let found = values[query * k..][..k]
            .iter()
            .zip(&places[query * k..][..k]);
        if query.is_multiple_of(every) || query == queries - 1 {
            let expected = expected(query).into_iter().map(|key| result(metric, key));
            let is_wrong = |((v, p), (value, place)): &((&f32, &u32), (f32, u32))| {
                v.to_bits() != value.to_bits() || **p != *place
            };
            return found.zip(expected).filter(is_wrong).count();
        }
        let ordered = |value: f32, place| match metric {
            Metric::L2 => key(value, place),
            Metric::InnerProduct => key(-value, place),
        };
        let mut before = 0;
        let is_wrong = |(value, place): &(&f32, &u32)| {
            let own = ordered(**value, **place);
            let falls = own < before || (own == before && before != 0);
            before = own;
            falls || !is_sound(query, **value, **place)
        };
        found.filter(is_wrong).count()
    };
    let different = (0..queries).into_par_iter().map(wrong_of).sum();
    Checked::exact(different, "how many results differ")
}

/// Results of a search.
pub fn search(outcome: &Outcome, shape: Search, found: Found) -> Checked {
    let Search {
        queries,
        vectors,
        width,
        k,
        metric,
    } = shape;
    let [of_queries, base] = [found.queries, found.base].map(|buffer| outcome.get::<f32>(buffer));
    let query = |index: usize| &of_queries[index * width..][..width];
    let of =
        |index: usize, place: usize| score(metric, query(index), &base[place * width..][..width]);
    let expected = |index: usize| {
        let keys = (0..vectors).map(|place| key(of(index, place), place as u32));
        nearest(keys.collect(), k)
    };
    let is_sound = |index: usize, value: f32, place: u32| {
        (place as usize) < vectors
            && result(metric, key(of(index, place as usize), place))
                .0
                .to_bits()
                == value.to_bits()
    };
    let results = (outcome.get(found.values), outcome.get(found.places));
    compare(
        metric,
        results,
        [queries, k, vectors * width],
        expected,
        is_sound,
    )
}

/// Results of a scan.
pub fn ivf(outcome: &Outcome, shape: IvfScan, lists: Lists) -> Checked {
    let IvfScan {
        queries,
        width,
        k,
        nprobe,
        metric,
        ..
    } = shape;
    let file = File {
        vectors: outcome.get(lists.vectors),
        ids: outcome.get(lists.ids),
        offsets: outcome.get(lists.offsets),
    };
    let [of_queries, centroids] =
        [lists.queries, lists.centroids].map(|buffer| outcome.get::<f32>(buffer));
    let of = |index: usize, vectors: &[f32], row: usize| {
        let query = &of_queries[index * width..][..width];
        score(metric, query, &vectors[row * width..][..width])
    };
    let expected = |index: usize| {
        let coarse = (0..shape.lists).map(|list| key(of(index, centroids, list), list as u32));
        let probed = nearest(coarse.collect(), nprobe);
        let rows = probed.into_iter().flat_map(|key| file.list(key as u32));
        let keys = rows.map(|row| key(of(index, file.vectors, row), file.ids[row]));
        nearest(keys.collect(), k)
    };
    // Names go from the last row to the first.
    let is_sound = |index: usize, value: f32, id: u32| {
        if id == u32::MAX {
            return value.to_bits() == metric.nothing().to_bits();
        }
        let row = (shape.vectors - 1).checked_sub(id as usize);
        row.is_some_and(|row| {
            let exact = result(metric, key(of(index, file.vectors, row), id)).0;
            exact.to_bits() == value.to_bits()
        })
    };
    let cost = width * (shape.lists + shape.vectors * nprobe / shape.lists);
    let results = (outcome.get(lists.values), outcome.get(lists.places));
    compare(metric, results, [queries, k, cost], expected, is_sound)
}

/// Centroids of points, and their means.
pub fn kmeans(outcome: &Outcome, brick: KMeans, clusters: Clusters) -> Checked {
    let KMeans {
        points,
        centroids,
        width,
    } = brick;
    let search_of = Search {
        queries: points,
        vectors: centroids,
        width,
        k: 1,
        metric: Metric::L2,
    };
    let found = Found {
        queries: clusters.points,
        base: clusters.centroids,
        values: clusters.distances,
        places: clusters.nearest,
    };
    let assigned = search(outcome, search_of, found);
    let of_points = outcome.get::<f32>(clusters.points);
    let nearest = outcome.get::<u32>(clusters.nearest);
    let before = outcome.get::<f32>(clusters.centroids);
    let next = outcome.get::<f32>(clusters.next);
    let mut sums = vec![0.0_f64; centroids * width];
    let mut counts = vec![0_u32; centroids];
    for (point, place) in of_points.chunks_exact(width).zip(nearest) {
        let place = *place as usize;
        // Counted as wrong where it is assigned.
        if place >= centroids {
            continue;
        }
        counts[place] += 1;
        let of_cluster = sums[place * width..][..width].iter_mut();
        of_cluster
            .zip(point)
            .for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let wrong = check::count(next.len(), |i| {
        let count = counts[i / width];
        let exact = if count == 0 {
            before[i]
        } else {
            (sums[i] / f64::from(count)) as f32
        };
        exact.to_bits() != next[i].to_bits()
    });
    Checked::exact(
        assigned.error as usize + wrong,
        "how many points have another centroid or distance, and how many numbers of the next centroids differ",
    )
}

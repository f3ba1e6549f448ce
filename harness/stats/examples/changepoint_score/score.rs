//! How well detected change points agree with people's: F1 and Cover.
//!
//! As the Turing Change Point Dataset defines them: van den Burg and Williams 2020, "An Evaluation of Change Point Detection
//! Algorithms", arXiv:2003.06222, section 4.1 (metrics). Index 0 counts as a change point for everybody.

use std::collections::BTreeSet;

/// A detected point this far from a labelled one still matches it.
const MARGIN: usize = 5;

/// The two measures, both in \[0, 1\].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Harmonic mean of precision against all annotators together and recall, averaged over annotators.
    pub f1: f64,
    /// Overlap of the labelled segments with the best detected ones, averaged over annotators.
    pub cover: f64,
}

/// The score of `detected` in a series of `count` points; `None` without annotators or points.
pub fn score(annotators: &[Vec<usize>], detected: &[usize], count: usize) -> Option<Score> {
    (!annotators.is_empty() && count > 0).then(|| Score {
        f1: f1(annotators, detected),
        cover: cover(annotators, detected, count),
    })
}

/// The mean of both measures; `None` of nothing.
pub fn mean(scores: &[Score]) -> Option<Score> {
    let count = scores.len() as f64;
    (!scores.is_empty()).then(|| Score {
        f1: scores.iter().map(|score| score.f1).sum::<f64>() / count,
        cover: scores.iter().map(|score| score.cover).sum::<f64>() / count,
    })
}

fn f1(annotators: &[Vec<usize>], detected: &[usize]) -> f64 {
    let detected = with_start(detected);
    let labelled: Vec<_> = annotators.iter().map(|points| with_start(points)).collect();
    let all: BTreeSet<usize> = labelled.iter().flatten().copied().collect();
    let precision = matched(&all, &detected) as f64 / detected.len() as f64;
    let recalls = labelled
        .iter()
        .map(|points| matched(points, &detected) as f64 / points.len() as f64);
    let recall = recalls.sum::<f64>() / labelled.len() as f64;
    2.0 * precision * recall / (precision + recall) // index 0 always matches, so neither is zero
}

/// How many labelled points have a detected one of their own within the margin; each takes the nearest that is left.
fn matched(labelled: &BTreeSet<usize>, detected: &BTreeSet<usize>) -> usize {
    let mut left = detected.clone();
    let mut found = 0;
    for &point in labelled {
        let near = left
            .range(point.saturating_sub(MARGIN)..=point + MARGIN)
            .copied()
            .min_by_key(|other| (other.abs_diff(point), *other));
        if let Some(other) = near {
            left.remove(&other);
            found += 1;
        }
    }
    found
}

fn cover(annotators: &[Vec<usize>], detected: &[usize], count: usize) -> f64 {
    let found = segments(detected, count);
    let best = |segment: (usize, usize)| {
        found
            .iter()
            .map(|&other| jaccard(segment, other))
            .fold(0.0, f64::max)
    };
    let covered = annotators.iter().map(|points| {
        let labelled = segments(points, count).into_iter();
        labelled
            .map(|segment| (segment.1 - segment.0) as f64 * best(segment))
            .sum::<f64>()
    });
    covered.sum::<f64>() / (annotators.len() * count) as f64
}

/// The stretches between change points, each from its first point to the one after its last.
fn segments(points: &[usize], count: usize) -> Vec<(usize, usize)> {
    let starts = with_start(points);
    let ends = starts.iter().skip(1).copied().chain([count]);
    starts.iter().copied().zip(ends).collect()
}

/// Shared points over all points of two segments.
fn jaccard(one: (usize, usize), other: (usize, usize)) -> f64 {
    let shared = one.1.min(other.1).saturating_sub(one.0.max(other.0));
    let all = one.1.max(other.1) - one.0.min(other.0);
    shared as f64 / all as f64
}

fn with_start(points: &[usize]) -> BTreeSet<usize> {
    points.iter().copied().chain([0]).collect()
}

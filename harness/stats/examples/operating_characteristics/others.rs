//! The published default rules of other tools, as they decide between two runs or on a history.
//!
//! Each sees the same samples as Assay. A call in either direction counts, where the tool makes both.

use assay_stats::{mann_whitney_p, quantile};

use crate::noise::Run;
use crate::random::Random;

/// A run in the numbers that these rules ask for; times, not logarithms.
pub struct Seen<'a> {
    run: &'a Run,
    mean: f64,
    variance: f64,
    median: f64,
    count: f64,
}

impl<'a> Seen<'a> {
    pub fn of(run: &'a Run) -> Self {
        let count = run.samples.len() as f64;
        let times = || run.samples.iter().map(|log| log.exp());
        let mean = times().sum::<f64>() / count;
        let variance = times().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self {
            run,
            mean,
            variance,
            median: assay_stats::median(&run.samples).map_or(f64::NAN, f64::exp),
            count,
        }
    }

    /// Standard deviation over mean.
    fn noise(&self) -> f64 {
        self.variance.sqrt() / self.mean
    }
}

/// A rule that sees the runs before tonight, newest last, and tonight's times by a factor.
pub struct Rule {
    pub name: &'static str,
    pub decides: &'static str,
    pub calls: fn(&[Seen<'_>], &Seen<'_>, f64) -> bool,
}

pub const RULES: [Rule; 5] = [
    Rule {
        name: "Criterion",
        decides: "bootstrap p < 0.05, and the 95 % interval of the mean change outside 1 %",
        calls: criterion,
    },
    Rule {
        name: "asv compare",
        decides: "medians apart by a factor of 1.1, and Mann-Whitney p < 0.002",
        calls: asv,
    },
    Rule {
        name: "github-action-benchmark",
        decides: "twice the time of the run before",
        calls: |before, now, factor| {
            before
                .last()
                .is_some_and(|last| now.mean * factor > 2.0 * last.mean)
        },
    },
    Rule {
        name: "NVBench (legacy)",
        decides: "difference of means beyond the smaller of the two noises",
        calls: nvbench,
    },
    Rule {
        name: "rustc-perf",
        decides: "change from the run before of at least Q3 + 3 IQR of the last 30 changes",
        calls: rustc_perf,
    },
];

/// With many samples the bootstrap distributions of t and of the mean change are normal; `criterion_bootstrap` is the rule
/// itself, and the share of equal decisions is printed.
fn criterion(before: &[Seen<'_>], now: &Seen<'_>, factor: f64) -> bool {
    let Some(interval) = criterion_interval(before, now, factor) else {
        return false;
    };
    // An interval outside 1 % excludes 0, which is p < 0.05.
    interval.0 > 0.01 || interval.1 < -0.01
}

/// 95 % interval of the relative change of the mean, by the delta method.
pub fn criterion_interval(before: &[Seen<'_>], now: &Seen<'_>, factor: f64) -> Option<(f64, f64)> {
    let last = before.last()?;
    let ratio = now.mean * factor / last.mean;
    let error =
        ratio * (now.noise().powi(2) / now.count + last.noise().powi(2) / last.count).sqrt();
    Some((ratio - 1.0 - 1.96 * error, ratio - 1.0 + 1.96 * error))
}

/// Criterion's rule with its two bootstraps, of `resamples` each (its default is 100,000).
pub fn criterion_bootstrap(
    last: &Seen<'_>,
    now: &Seen<'_>,
    factor: f64,
    resamples: usize,
    random: &mut Random,
) -> bool {
    let before: Vec<f64> = last.run.samples.iter().map(|log| log.exp()).collect();
    let after: Vec<f64> = now
        .run
        .samples
        .iter()
        .map(|log| log.exp() * factor)
        .collect();
    let pooled: Vec<f64> = before.iter().chain(&after).copied().collect();
    let t = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0) / ((a.1 + b.1) / before.len() as f64).sqrt();
    let observed = t(moments(&after), moments(&before));
    let (mut beyond, mut changes) = (0, Vec::with_capacity(resamples));
    for _ in 0..resamples {
        let mut draw = |from: &[f64]| -> (f64, f64) {
            let taken: Vec<f64> = (0..before.len())
                .map(|_| from[random.index(from.len())])
                .collect();
            moments(&taken)
        };
        beyond += usize::from(t(draw(&pooled), draw(&pooled)).abs() >= observed.abs());
        changes.push(draw(&after).0 / draw(&before).0 - 1.0);
    }
    let p = beyond as f64 / resamples as f64;
    let end = |share| quantile(&changes, share).unwrap_or(0.0);
    p < 0.05 && (end(0.025) > 0.01 || end(0.975) < -0.01)
}

/// Mean and variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0))
}

fn asv(before: &[Seen<'_>], now: &Seen<'_>, factor: f64) -> bool {
    let Some(last) = before.last() else {
        return false;
    };
    let ratio = now.median * factor / last.median;
    if (1.0 / 1.1..=1.1).contains(&ratio) {
        return false;
    }
    let shifted: Vec<f64> = now
        .run
        .samples
        .iter()
        .map(|log| log + factor.ln())
        .collect();
    mann_whitney_p(&last.run.samples, &shifted).is_some_and(|p| p < 0.002)
}

fn nvbench(before: &[Seen<'_>], now: &Seen<'_>, factor: f64) -> bool {
    before.last().is_some_and(|last| {
        (now.mean * factor / last.mean - 1.0).abs() > last.noise().min(now.noise())
    })
}

fn rustc_perf(before: &[Seen<'_>], now: &Seen<'_>, factor: f64) -> bool {
    let Some(last) = before.last() else {
        return false;
    };
    let newest = &before[before.len().saturating_sub(31)..];
    let changes: Vec<f64> = newest
        .windows(2)
        .map(|pair| (pair[1].median / pair[0].median - 1.0).abs())
        .collect();
    let quartile = |share| quantile(&changes, share).unwrap_or(f64::INFINITY);
    let (first, third) = (quartile(0.25), quartile(0.75));
    (now.median * factor / last.median - 1.0).abs() >= third + 3.0 * (third - first)
}

//! Laws that hold for any input: scale, order, symmetry, monotonicity, and that nothing panics.

use assay_stats::{
    Position, RatioInterval, Summary, benjamini_hochberg, effective_sample_size,
    geometric_mean_interval, holm, lag_one, mean_interval, median, median_interval,
    paired_log_ratio, position, quantile, ratio_across_runs, rounds_needed, steady_from,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn times() -> impl Strategy<Value = Vec<f64>> {
    vec(1.0..1e6, 1..60)
}

fn rounds() -> impl Strategy<Value = Vec<f64>> {
    vec(50.0..200.0, 2..20)
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

fn reversed(values: &[f64]) -> Vec<f64> {
    values.iter().rev().copied().collect()
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

fn same(found: &RatioInterval, expected: &RatioInterval) -> bool {
    close(found.ratio, expected.ratio)
        && close(found.low, expected.low)
        && close(found.high, expected.high)
}

proptest! {
    #[test]
    fn summary_is_ordered_and_ignores_order(samples in times()) {
        let found = Summary::of(&samples).unwrap();
        let ordered = [found.minimum, found.first_quartile, found.median, found.third_quartile, found.maximum];
        prop_assert!(ordered.is_sorted());
        prop_assert!(found.mean >= found.minimum * (1.0 - 1e-12) && found.mean <= found.maximum * (1.0 + 1e-12));
        prop_assert_eq!(Some(found), Summary::of(&reversed(&samples)));
        prop_assert_eq!(Some(found.median), median(&samples));
    }

    #[test]
    fn quantile_rises_with_p(samples in times(), p in 0.0..1.0, q in 0.0..1.0) {
        prop_assert!(quantile(&samples, f64::min(p, q)) <= quantile(&samples, f64::max(p, q)));
    }

    #[test]
    fn intervals_hold_their_estimate_and_scale(samples in times(), factor in 0.001..1000.0) {
        for interval in [median_interval, mean_interval, geometric_mean_interval] {
            let Some(found) = interval(&samples, 0.95) else { continue };
            prop_assert!(found.contains(found.estimate) || found.half_width() < 1e-9);
            let other = interval(&scaled(&samples, factor), 0.95).unwrap();
            prop_assert!((other.low - found.low * factor).abs() <= 1e-9 * other.high.abs().max(other.estimate));
            prop_assert!((other.high - found.high * factor).abs() <= 1e-9 * other.high.abs());
        }
    }

    #[test]
    fn median_interval_grows_with_confidence(samples in times(), less in 0.01..0.99, more in 0.01..0.99) {
        let narrow = median_interval(&samples, f64::min(less, more)).unwrap();
        let wide = median_interval(&samples, f64::max(less, more)).unwrap();
        prop_assert!(wide.low <= narrow.low && wide.high >= narrow.high && wide.confidence >= narrow.confidence);
    }

    #[test]
    fn ratio_ignores_scale_and_order(a in rounds(), b in rounds(), sd in 0.0..0.05, factor in 0.001..1000.0) {
        let found = ratio_across_runs(&a, &b, sd, 0.95).unwrap();
        let other = ratio_across_runs(&scaled(&a, factor), &scaled(&b, factor), sd, 0.95).unwrap();
        prop_assert!(same(&other, &found));
        let other = ratio_across_runs(&reversed(&a), &reversed(&b), sd, 0.95).unwrap();
        prop_assert!(same(&other, &found));
        prop_assert!(found.contains(found.ratio));
    }

    #[test]
    fn swapping_sides_inverts_the_ratio_and_mirrors_the_position(a in rounds(), b in rounds(), sd in 0.0..0.05, margin in 0.0..0.2) {
        let found = ratio_across_runs(&a, &b, sd, 0.95).unwrap();
        let swapped = ratio_across_runs(&b, &a, sd, 0.95).unwrap();
        prop_assert!(close(swapped.ratio, 1.0 / found.ratio));
        prop_assert!(close(swapped.low, 1.0 / found.high) && close(swapped.high, 1.0 / found.low));
        prop_assert!(close(swapped.p_value_below(1.0), found.p_value_above(1.0)));
        let mirrored = match position(&swapped, margin) {
            Position::Above => Position::Below,
            Position::Below => Position::Above,
            other => other,
        };
        prop_assert_eq!(mirrored, position(&found, margin));
    }

    #[test]
    fn ratio_follows_a_true_effect_exactly(a in rounds(), b in rounds(), effect in 0.5..2.0, sd in 0.0..0.05) {
        let before = ratio_across_runs(&a, &b, sd, 0.95).unwrap();
        let after = ratio_across_runs(&a, &scaled(&b, effect), sd, 0.95).unwrap();
        prop_assert!(close(after.ratio, before.ratio * effect) && close(after.low, before.low * effect));
    }

    #[test]
    fn ratio_is_less_sure_with_more_variance_between_runs(a in rounds(), b in rounds(), sd in 0.001..0.05) {
        let quiet = ratio_across_runs(&a, &b, 0.0, 0.95).unwrap();
        let noisy = ratio_across_runs(&a, &b, sd, 0.95).unwrap();
        prop_assert!(noisy.log_standard_error > quiet.log_standard_error);
    }

    #[test]
    fn one_wild_round_does_not_move_a_trimmed_ratio(a in vec(99.0..101.0, 6..12), b in vec(99.0..101.0, 6..12), wild in 2.0..100.0) {
        let mut disturbed = b.clone();
        disturbed[0] *= wild;
        for found in [ratio_across_runs(&a, &disturbed, 0.0, 0.95), ratio_across_runs(&disturbed, &a, 0.0, 0.95)] {
            prop_assert!((found.unwrap().ratio - 1.0).abs() < 0.021);
        }
    }

    #[test]
    fn pairs_may_come_in_any_order_and_share_any_drift(
        pairs in vec((50.0..200.0, 50.0..200.0, 0.1..10.0), 2..20), swap in any::<bool>(),
    ) {
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|&(a, b, _): &(f64, f64, f64)| (a, b)).unzip();
        let (c, d): (Vec<f64>, Vec<f64>) = pairs.iter().map(|&(a, b, drift)| (a * drift, b * drift)).unzip();
        let found = paired_log_ratio(&a, &b, 0.95).unwrap();
        prop_assert!(same(&paired_log_ratio(&reversed(&c), &reversed(&d), 0.95).unwrap(), &found));
        if swap {
            prop_assert!(close(paired_log_ratio(&b, &a, 0.95).unwrap().low, 1.0 / found.high));
        }
    }

    #[test]
    fn position_is_unsure_less_often_the_clearer_the_effect(a in rounds(), b in rounds(), margin in 0.0..0.1) {
        let positions: Vec<_> = (0..40)
            .map(|step| ratio_across_runs(&a, &scaled(&b, 1.3_f64.powi(step - 20)), 0.01, 0.95).unwrap())
            .map(|found| position(&found, margin))
            .collect();
        let height = |position: &Position| match position {
            Position::Below => 0,
            Position::Within | Position::Straddles => 1,
            Position::Above => 2,
        };
        prop_assert!(positions.iter().map(height).is_sorted());
    }

    #[test]
    fn adjusted_p_values_keep_order_and_only_grow(p in vec(0.0..=1.0, 0..40)) {
        for adjusted in [benjamini_hochberg(&p).unwrap(), holm(&p).unwrap()] {
            for (i, &raw) in p.iter().enumerate() {
                prop_assert!(adjusted[i] >= raw && adjusted[i] <= 1.0);
                prop_assert!(p.iter().zip(&adjusted).all(|(&other, &found)| other < raw || found >= adjusted[i]));
            }
        }
        let pairs = benjamini_hochberg(&p).unwrap().into_iter().zip(holm(&p).unwrap());
        prop_assert!(pairs.into_iter().all(|(mild, strict)| mild <= strict * (1.0 + 1e-12)));
    }

    #[test]
    fn more_noise_needs_more_rounds(quiet in 0.001..0.1, more in 1.0..3.0, margin in 0.01..0.1) {
        let (easy, hard) = (rounds_needed(quiet, 0.0, margin, 0.95), rounds_needed(quiet * more, 0.0, margin, 0.95));
        prop_assert!(hard.is_none() || easy <= hard);
    }

    #[test]
    fn effective_size_is_between_one_and_all(samples in times()) {
        let found = effective_sample_size(&samples).unwrap();
        prop_assert!(found >= 1.0 && found <= samples.len() as f64);
        prop_assert!(lag_one(&samples).is_none_or(|found| found.abs() <= 1.0));
    }

    #[test]
    fn nothing_panics(a in vec(any::<f64>(), 0..20), b in vec(any::<f64>(), 0..20), x in any::<f64>(), y in any::<f64>()) {
        let _ = (Summary::of(&a), median_interval(&a, x), mean_interval(&a, x), geometric_mean_interval(&a, x), quantile(&a, x));
        let _ = (steady_from(&a), effective_sample_size(&a), lag_one(&a), benjamini_hochberg(&a), holm(&a), rounds_needed(x, y, x, 0.9));
        if let Some(found) = ratio_across_runs(&a, &b, x, 0.9) {
            let _ = (position(&found, y), found.p_value_above(y), found.p_value_below(y));
        }
        let _ = paired_log_ratio(&a, &b, 0.9);
    }
}

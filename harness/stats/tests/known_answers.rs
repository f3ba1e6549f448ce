//! Published or hand-derived numbers.

use assay_stats::{
    RatioInterval, Summary, benjamini_hochberg, effective_sample_size, geometric_mean,
    geometric_mean_interval, holm, lag_one, mean_interval, median, median_interval,
    paired_log_ratio, quantile, ratio_across_runs, rounds_needed, runs_needed,
};

fn one_to(count: u32) -> Vec<f64> {
    (1..=count).map(f64::from).collect()
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

#[test]
fn summary_of_one_to_ten() {
    let found = Summary::of(&one_to(10)).unwrap();
    assert_eq!((found.count, found.minimum, found.maximum), (10, 1.0, 10.0));
    close(found.mean, 5.5);
    close(found.standard_deviation, 3.027_650_354);
    close(found.first_quartile, 3.25);
    close(found.median, 5.5);
    close(found.third_quartile, 7.75);
    close(found.mad, 2.5);
}

/// R: `quantile(c(1, 2, 4, 8), 0.9)` is 6.8.
#[test]
fn quantile_is_type_seven() {
    close(quantile(&[8.0, 1.0, 4.0, 2.0], 0.9).unwrap(), 6.8);
    assert_eq!(quantile(&[8.0, 1.0], 0.0), Some(1.0));
    assert_eq!(quantile(&[8.0, 1.0], 1.0), Some(8.0));
    assert_eq!(quantile(&[8.0, 1.0], 1.1), None);
    assert_eq!(quantile(&[8.0, 1.0], f64::NAN), None);
}

/// Ranks and coverages of the order-statistic interval, as tabulated in Conover 1999 and ISO 16269-7.
#[test]
fn median_interval_matches_binomial_tables() {
    for (count, low, high, coverage) in [
        (6, 1.0, 6.0, 0.968_75),
        (7, 1.0, 7.0, 0.984_375),
        (8, 1.0, 8.0, 0.992_187_5),
        (9, 2.0, 8.0, 0.960_937_5),
        (10, 2.0, 9.0, 0.978_515_625),
        (12, 3.0, 10.0, 0.961_425_781),
        (15, 4.0, 12.0, 0.964_843_75),
        (20, 6.0, 15.0, 0.958_610_535),
        (25, 8.0, 18.0, 0.956_714_749),
    ] {
        let found = median_interval(&one_to(count), 0.95).unwrap();
        assert_eq!((found.low, found.high), (low, high), "{count}");
        close(found.confidence, coverage);
        close(found.estimate, f64::from(count + 1) / 2.0);
    }
}

#[test]
fn median_interval_of_too_few_says_what_it_reaches() {
    for (count, attained) in [(1, 0.0), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)] {
        let found = median_interval(&one_to(count), 0.95).unwrap();
        assert_eq!((found.low, found.high), (1.0, f64::from(count)));
        close(found.confidence, attained);
    }
}

/// Mean 3, s = 1.581139, t(0.975, 4) = 2.776445.
#[test]
fn mean_interval_of_one_to_five() {
    let found = mean_interval(&one_to(5), 0.95).unwrap();
    close(found.estimate, 3.0);
    close(
        found.half_width(),
        2.776_445_105 * std::f64::consts::FRAC_1_SQRT_2,
    );
    let logs =
        geometric_mean_interval(&one_to(5).iter().map(|x| x.exp()).collect::<Vec<_>>(), 0.95)
            .unwrap();
    close(logs.high.ln(), found.high);
    close(geometric_mean(&[1.0, 10.0, 100.0]).unwrap(), 10.0);
}

/// Logs 1..6 trimmed by one at each end: mean 3.5, winsorized squares 9.5, squared error 9.5 / (4 * 3), 3 degrees of freedom,
/// t(0.975, 3) = 3.182446. Two such sides: 6 degrees of freedom, t(0.975, 6) = 2.446912.
#[test]
fn trimmed_intervals_by_hand() {
    let a: Vec<f64> = one_to(6).iter().map(|x| x.exp()).collect();
    let b: Vec<f64> = one_to(6).iter().map(|x| (2.0 * x).exp()).collect();
    let paired = paired_log_ratio(&a, &b, 0.95).unwrap();
    close(paired.ratio.ln(), 3.5);
    close(paired.log_standard_error.powi(2), 9.5 / 12.0);
    close(
        (paired.high / paired.ratio).ln(),
        3.182_446_305 * (9.5_f64 / 12.0).sqrt(),
    );
    let welch = ratio_across_runs(&a, &a, 0.0, 0.95).unwrap();
    close(welch.degrees_of_freedom, 6.0);
    close(welch.high.ln(), 2.446_911_851 * (9.5_f64 / 6.0).sqrt());
    let noisy = ratio_across_runs(&a, &a, 1.0, 0.95).unwrap();
    close(noisy.log_standard_error.powi(2), 9.5 / 6.0 + 2.0);
    close(
        noisy.degrees_of_freedom,
        6.0 * ((9.5 / 6.0 + 2.0) / (9.5 / 6.0_f64)).powi(2),
    );
}

/// With only a known variance between runs, the interval is the normal one: exp(± 1.959964 * sqrt(2) * sd).
#[test]
fn known_variance_alone_gives_a_normal_interval() {
    let found = ratio_across_runs(&[5.0; 6], &[5.0; 6], 0.01, 0.95).unwrap();
    close(found.high, (1.959_963_985 * 2.0_f64.sqrt() * 0.01).exp());
    let exact = ratio_across_runs(&[5.0; 6], &[10.0; 6], 0.0, 0.95).unwrap();
    close(exact.low, 2.0);
    close(exact.high, 2.0);
    assert_eq!(
        (exact.p_value_above(1.0), exact.p_value_below(1.0)),
        (0.0, 1.0)
    );
    assert_eq!(
        (exact.p_value_above(-1.0), exact.p_value_above(f64::NAN)),
        (1.0, 1.0)
    );
}

/// One end of a 95 % interval is where the one-sided p-value is 2.5 %.
#[test]
fn p_values_agree_with_the_interval() {
    let RatioInterval { low, high, .. } =
        ratio_across_runs(&[1.0, 1.1, 1.2], &[1.3, 1.2, 1.5], 0.02, 0.95).unwrap();
    let found = ratio_across_runs(&[1.0, 1.1, 1.2], &[1.3, 1.2, 1.5], 0.02, 0.95).unwrap();
    close(found.p_value_above(low), 0.025);
    close(found.p_value_below(high), 0.025);
    close(found.p_value_above(found.ratio), 0.5);
}

/// The 15 p-values of Benjamini and Hochberg 1995, section 3: at 5 % their procedure rejects four, Holm's three.
#[test]
fn corrections_on_the_published_example() {
    let p = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0,
    ];
    let rejected = |adjusted: Vec<f64>| adjusted.iter().filter(|&&p| p <= 0.05).count();
    assert_eq!(rejected(benjamini_hochberg(&p).unwrap()), 4);
    assert_eq!(rejected(holm(&p).unwrap()), 3);
    for (found, expected) in holm(&[0.01, 0.04, 0.03, 0.02])
        .unwrap()
        .iter()
        .zip([0.04, 0.06, 0.06, 0.06])
    {
        close(*found, expected);
    }
    assert_eq!(benjamini_hochberg(&[]), Some(vec![]));
    assert_eq!(benjamini_hochberg(&[0.5, f64::NAN]), None);
    assert_eq!(holm(&[1.5]), None);
}

/// 1..5: products of neighbours around the mean are 2, 0, 0, 2, squares 10.
#[test]
fn autocorrelation_by_hand() {
    close(lag_one(&one_to(5)).unwrap(), 0.4);
    assert_eq!(lag_one(&[3.0; 9]), Some(0.0));
    assert_eq!(lag_one(&[3.0]), None);
    assert_eq!(effective_sample_size(&[3.0; 9]), Some(9.0));
    assert_eq!(
        effective_sample_size(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]),
        Some(6.0)
    );
}

/// Large-sample check by hand: (1.96 + 1.2816)² · 2 σ² / ln(1.03)² = 24.05 for σ = 0.0316; t and trimming add a little.
#[test]
fn planning_matches_the_normal_formula() {
    let rounds = rounds_needed(0.0316, 0.0, 0.03, 0.95).unwrap();
    assert!((27..=31).contains(&rounds), "{rounds}");
    assert_eq!(rounds_needed(0.01, 0.015, 0.03, 0.95), None);
    let runs = runs_needed(0.01, 6, 0.015, 0.03, 0.95).unwrap();
    assert!((6..=7).contains(&runs), "{runs}");
    assert_eq!(rounds_needed(0.0, 0.0, 0.03, 0.95), Some(2));
    assert_eq!(rounds_needed(f64::NAN, 0.0, 0.03, 0.95), None);
    assert_eq!(rounds_needed(0.01, 0.0, 0.0, 0.95), None);
    assert_eq!(runs_needed(0.01, 1, 0.0, 0.03, 0.95), None);
}

#[test]
fn bad_input_is_none() {
    for samples in [&[][..], &[f64::NAN, 1.0], &[1.0, f64::INFINITY]] {
        assert_eq!(Summary::of(samples), None);
        assert_eq!(median(samples), None);
        assert_eq!(quantile(samples, 0.5), None);
        assert_eq!(geometric_mean(samples), None);
        assert_eq!(median_interval(samples, 0.95), None);
        assert_eq!(mean_interval(samples, 0.95), None);
        assert_eq!(effective_sample_size(samples), None);
        assert_eq!(ratio_across_runs(samples, &[1.0, 1.0], 0.0, 0.95), None);
        assert_eq!(paired_log_ratio(samples, samples, 0.95), None);
    }
    for confidence in [0.0, 1.0, -1.0, f64::NAN] {
        assert_eq!(median_interval(&[1.0, 2.0], confidence), None);
        assert_eq!(mean_interval(&[1.0, 2.0], confidence), None);
        assert_eq!(
            ratio_across_runs(&[1.0, 2.0], &[1.0, 2.0], 0.0, confidence),
            None
        );
    }
    assert_eq!(mean_interval(&[1.0], 0.95), None);
    assert_eq!(geometric_mean(&[1.0, 0.0]), None);
    assert_eq!(ratio_across_runs(&[1.0], &[1.0, 2.0], 0.0, 0.95), None);
    assert_eq!(
        ratio_across_runs(&[1.0, -2.0], &[1.0, 2.0], 0.0, 0.95),
        None
    );
    assert_eq!(
        ratio_across_runs(&[1.0, 2.0], &[1.0, 2.0], -0.1, 0.95),
        None
    );
    assert_eq!(paired_log_ratio(&[1.0, 2.0], &[1.0, 2.0, 3.0], 0.95), None);
}

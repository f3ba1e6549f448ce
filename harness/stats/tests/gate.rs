//! Runs as units, the decision over a suite, the common shift, and tests without a distribution: known answers and laws.

use assay_stats::{
    Position, RatioInterval, Rules, confirm, expected_false_alarms, least_p, levels,
    mann_whitney_p, movement, ratio_of_runs, ratio_of_values, screen, sign_flip_p,
};
use proptest::prelude::*;

/// A ratio with a standard error of its logarithm, as from very many runs.
fn effect(ratio: f64, error: f64) -> RatioInterval {
    RatioInterval {
        ratio,
        low: ratio * (-1.96 * error).exp(),
        high: ratio * (1.96 * error).exp(),
        confidence: 0.95,
        log_standard_error: error,
        degrees_of_freedom: 1e6,
    }
}

fn close(is: f64, expected: f64) {
    assert!(
        (is - expected).abs() < 1e-4 * expected.abs().max(1e-3),
        "{is} is not {expected}"
    );
}

/// As `scipy.stats.ttest_ind` gives it for one value against five; by hand:
/// logs -0.02 .. 0.02 have variance 0.00025, the error is sqrt(0.00025 * 1.2), t(0.975, 4) = 2.776445.
#[test]
fn one_run_against_five_is_a_prediction_interval() {
    let runs: Vec<Vec<f64>> = [-0.02_f64, -0.01, 0.0, 0.01, 0.02]
        .iter()
        .map(|log| vec![log.exp(); 3])
        .collect();
    let found = ratio_of_runs(&runs, &[vec![0.03_f64.exp()]], 0, 0.95).unwrap();
    close(found.ratio.ln(), 0.03);
    close(found.log_standard_error, 0.017_320_5);
    close(found.high.ln(), 0.03 + 2.776_445 * 0.017_320_5);
    close(found.degrees_of_freedom, 4.0);
    // t = 1.7320 with 4 degrees of freedom.
    close(found.p_value(), 0.158_302);
}

#[test]
fn few_runs_and_bad_values_have_no_interval() {
    let run = vec![1.0, 1.1];
    let runs = |count: usize| vec![run.clone(); count];
    assert!(ratio_of_runs(&runs(4), &runs(1), 0, 0.95).is_none());
    assert!(ratio_of_runs(&runs(5), &[], 0, 0.95).is_none());
    assert!(ratio_of_runs(&runs(5), &[vec![]], 0, 0.95).is_none());
    assert!(ratio_of_runs(&runs(5), &[vec![f64::NAN]], 0, 0.95).is_none());
    assert!(ratio_of_runs(&runs(5), &[vec![-1.0]], 0, 0.95).is_none());
    assert!(ratio_of_runs(&runs(5), &runs(1), 0, 1.0).is_none());
    let equal = ratio_of_runs(&runs(5), &runs(1), 0, 0.95).unwrap();
    assert!((equal.p_value() - 1.0).abs() < 1e-12, "{equal:?}");
    let other = ratio_of_runs(&runs(5), &[vec![2.0, 2.2]], 0, 0.95).unwrap();
    assert!(other.p_value() < 1e-12, "{other:?}");
}

/// Groups (1, 2, 3), (4, 5, 6): MSW = 1, MSB = 13.5, n0 = 3, so 1 and (13.5 - 1) / 3.
#[test]
fn variance_components_match_the_analysis_of_variance() {
    let runs: Vec<Vec<f64>> = [[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.0]]
        .iter()
        .map(|run| run.iter().map(|log| log.exp()).collect())
        .collect();
    let found = levels(&runs).unwrap();
    close(found.round_sd, 1.0);
    close(found.run_sd.powi(2), 12.5 / 3.0);
    assert_eq!((found.runs, found.rounds), (2, 6));
    assert!(levels(&runs[..1]).is_none());
    assert!(levels(&[vec![1.0], vec![2.0]]).is_none());
}

#[test]
fn a_sure_change_is_called_even_inside_the_margin_and_a_tiny_one_never() {
    let rules = Rules::default();
    let judged = |ratio, error| screen(&[Some(effect(ratio, error))], &rules)[0].unwrap();
    assert_eq!(judged(1.02, 0.001).position, Position::Above);
    assert_eq!(judged(1.0 / 1.02, 0.001).position, Position::Below);
    let tiny = judged(1.005, 0.0001);
    assert_eq!((tiny.position, tiny.suspect), (Position::Within, false));
    let unsure = judged(1.02, 0.015);
    assert_eq!(
        (unsure.position, unsure.suspect),
        (Position::Straddles, false)
    );
    // Nominally p = 0.03, but one night does not show the tail. Equal enough, and yet worth running again.
    let suspect = judged(1.015, 0.007);
    assert_eq!(
        (suspect.position, suspect.suspect),
        (Position::Within, true)
    );
}

#[test]
fn a_suite_needs_smaller_p_values_than_a_case() {
    let rules = Rules::default();
    let mut effects = vec![Some(effect(1.0, 0.01)); 99];
    effects.push(Some(effect(1.025, 0.01)));
    effects.push(None);
    let judged = screen(&effects, &rules);
    assert!(judged[100].is_none());
    let last = judged[99].unwrap();
    assert!(last.suspect && !last.position.is_called(), "{last:?}");
    assert!((expected_false_alarms(&judged, &rules) - 0.05).abs() < 1e-12);
    let confirmed = confirm(&[Some(effect(1.025, 0.005)), None], &rules);
    assert_eq!(confirmed[0].unwrap().position, Position::Above);
}

/// Twenty cases over twenty runs whose values differ by `spread`, and a candidate that moved by `shifts`.
fn suite(spread: f64, shifts: &[f64]) -> (Vec<Vec<Option<f64>>>, Vec<Option<f64>>) {
    let wobble =
        |run: usize, case: usize| spread * (((run * 7 + case * 3) % 11) as f64 / 5.0 - 1.0);
    let value = |case: usize| 10.0 + case as f64;
    let runs = (0..20).map(|run| {
        let cases = (0..shifts.len()).map(|case| Some(value(case) + wobble(run, case)));
        cases.collect()
    });
    let now = shifts.iter().enumerate();
    let now = now.map(|(case, shift)| Some(value(case) + shift)).collect();
    (runs.collect(), now)
}

#[test]
fn most_cases_together_are_one_event() {
    let shifted = |shifts: &[f64]| {
        let (baseline, candidate) = suite(0.002, shifts);
        movement(&baseline, &candidate, 0, 0.01)
    };
    let found = shifted(&[0.05; 20]).unwrap();
    let event = found.event.unwrap();
    assert_eq!((event.moved, event.cases), (20, 20));
    assert!(
        (event.ratio.estimate.ln() - 0.05).abs() < 0.002,
        "{event:?}"
    );
    assert!((found.candidate - 0.05).abs() < 0.001 && found.is_removable);
    // Three fifths of them move the middle, a third does not; less than matters is nothing, and too few cases have no middle.
    let share = |fifths: i32| -> Vec<f64> {
        (0..20)
            .map(|i| if i % 5 < fifths { 0.05 } else { 0.0 })
            .collect()
    };
    let event = shifted(&share(3)).unwrap().event.unwrap();
    assert_eq!((event.moved, event.cases), (12, 20));
    assert!(shifted(&share(2)).unwrap().event.is_none());
    assert!(shifted(&[0.005; 20]).unwrap().event.is_none());
    assert!(shifted(&[0.05; 5]).is_none());
    assert!(!shifted(&[0.05; 6]).unwrap().is_removable);
}

/// A night on which nothing could be measured, and a case that is new: neither takes the movement away from the others.
#[test]
fn a_movement_survives_empty_nights_and_new_cases() {
    let (mut baseline, candidate) = suite(0.002, &[0.05; 20]);
    baseline[7].fill(None);
    baseline.iter_mut().take(18).for_each(|run| run[3] = None);
    let found = movement(&baseline, &candidate, 0, 0.01).unwrap();
    assert!(found.event.is_some() && found.baseline[7].is_none());
    let values = |case: usize| -> Vec<(usize, f64)> {
        let runs = baseline.iter().enumerate();
        runs.filter_map(|(run, cases)| Some((run, cases[case]?)))
            .collect()
    };
    let raw = effect(0.05_f64.exp(), 0.001);
    for case in [0, 3] {
        let relative = found.relative(&values(case), candidate[case].unwrap(), 0, &raw);
        assert!((relative.ratio - 1.0).abs() < 0.003, "{case}: {relative:?}");
    }
}

#[test]
fn a_suite_that_often_moves_together_has_no_event() {
    let (mut baseline, candidate) = suite(0.002, &[0.05; 20]);
    for (number, run) in baseline.iter_mut().enumerate() {
        let night = if number % 3 == 0 { 0.05 } else { -0.03 };
        run.iter_mut().flatten().for_each(|value| *value += night);
    }
    assert!(
        movement(&baseline, &candidate, 0, 0.01)
            .unwrap()
            .event
            .is_none()
    );
}

/// Sixteen runs that climb by 1 % each: every forecast from the eight before is 4.5 % too low, and so is the next.
#[test]
fn the_error_of_the_forecast_is_that_of_the_past() {
    let runs: Vec<f64> = (0..16).map(|night| 0.01 * f64::from(night)).collect();
    let found = ratio_of_values(&runs, &[0.16], 0, 0.95).unwrap();
    close(found.ratio.ln(), 0.045);
    close(found.log_standard_error, 0.045);
    close(found.degrees_of_freedom, 0.7 * 8.0);
    assert!(
        found.contains(1.0),
        "the next of a climb is no change: {found:?}"
    );
    assert!(
        !ratio_of_values(&runs[..15], &[0.30], 0, 0.95)
            .unwrap()
            .contains(1.0)
    );
}

/// R: wilcox.test(c(1,2,3), c(4,5,6)), wilcox.test(c(1,4,6,7), c(2,3,5,8,9)); sign flips by hand.
#[test]
fn exact_tests_match_known_answers() {
    close(
        mann_whitney_p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap(),
        0.1,
    );
    close(
        mann_whitney_p(&[1.0, 4.0, 6.0, 7.0], &[2.0, 3.0, 5.0, 8.0, 9.0]).unwrap(),
        0.730_159,
    );
    close(least_p(3, 3), 0.1);
    close(least_p(5, 3), 2.0 / 56.0);
    close(sign_flip_p(&[1.0, 2.0, 3.0]).unwrap(), 0.25);
    close(sign_flip_p(&[1.0; 6]).unwrap(), 2.0 / 64.0);
    close(sign_flip_p(&[0.0, 0.0]).unwrap(), 1.0);
    assert!((mann_whitney_p(&[1.0; 40], &[1.0; 40]).unwrap() - 1.0).abs() < 1e-12);
    assert!(mann_whitney_p(&[], &[1.0]).is_none() && sign_flip_p(&[f64::NAN]).is_none());
}

fn runs() -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(0.5f64..2.0, 1..8), 5..12)
}

proptest! {
    #[test]
    fn scale_drops_out_and_order_does_not_matter(mut base in runs(), one in prop::collection::vec(0.5f64..2.0, 1..8), scale in 1e-3f64..1e6) {
        let found = ratio_of_runs(&base, std::slice::from_ref(&one), 0, 0.95).unwrap();
        let scaled: Vec<Vec<f64>> = base.iter().map(|run| run.iter().map(|x| x * scale).collect()).collect();
        let other = ratio_of_runs(&scaled, &[one.iter().map(|x| x * scale).collect()], 0, 0.95).unwrap();
        prop_assert!((found.ratio / other.ratio - 1.0).abs() < 1e-9);
        base.reverse();
        for run in &mut base { run.reverse(); }
        let reversed = ratio_of_runs(&base, &[one], 0, 0.95).unwrap();
        prop_assert!((found.high / reversed.high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_larger_effect_is_never_less_sure(base in runs(), step in 1.0f64..1.5) {
        let slower = |by: f64| ratio_of_runs(&base, &[vec![3.0 * by]], 0, 0.95).unwrap().p_value();
        prop_assert!(slower(step) <= slower(1.0) + 1e-12);
    }

    #[test]
    fn exact_p_values_do_not_know_the_order_or_the_scale(mut a in prop::collection::vec(-1e3f64..1e3, 2..8), b in prop::collection::vec(-1e3f64..1e3, 2..8)) {
        let (flip, rank) = (sign_flip_p(&a).unwrap(), mann_whitney_p(&a, &b).unwrap());
        prop_assert!((rank - mann_whitney_p(&b, &a).unwrap()).abs() < 1e-12);
        prop_assert!(rank >= least_p(a.len(), b.len()) - 1e-12);
        a.reverse();
        prop_assert!((flip - sign_flip_p(&a).unwrap()).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&flip) && (0.0..=1.0).contains(&rank));
    }

    #[test]
    fn calls_are_never_more_than_the_cases_alone_say(ratios in prop::collection::vec(0.9f64..1.1, 1..40)) {
        let effects: Vec<_> = ratios.iter().map(|ratio| Some(effect(*ratio, 0.01))).collect();
        for judged in screen(&effects, &Rules::default()).into_iter().flatten() {
            prop_assert!(judged.adjusted >= judged.p_value - 1e-15);
            prop_assert!(judged.suspect || !judged.position.is_called());
        }
    }
}

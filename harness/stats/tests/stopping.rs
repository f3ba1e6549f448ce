//! The stopping policies at their edges.

use assay_stats::stopping::{deviation_between_rounds, deviation_of_pairs, round_target, widening};
use assay_stats::{AcrossRounds, Decision, StopReason, WithinRound};

/// Three to ten pairs, to ± 1 %.
const ACROSS: AcrossRounds = AcrossRounds {
    target_relative_half_width: 0.01,
    min_rounds: 6,
    max_rounds: 20,
    block: 2,
};

const WITHIN: WithinRound = WithinRound {
    target_relative_half_width: 0.01,
    min_samples: 10,
    max_samples: 100,
    budget_ns: 1_000,
};

fn noisy(count: u32) -> Vec<f64> {
    (0..count)
        .map(|index| if index % 2 == 0 { 100.0 } else { 150.0 })
        .collect()
}

#[test]
fn precise_after_the_minimum_and_not_before() {
    assert_eq!(WITHIN.decide(&[100.0; 9], 0), Decision::Continue);
    assert_eq!(
        WITHIN.decide(&[100.0; 10], 0),
        Decision::Stop(StopReason::Precise)
    );
    assert_eq!(
        WITHIN.decide(&[100.0; 10], 5_000),
        Decision::Stop(StopReason::Precise)
    );
}

#[test]
fn a_small_minimum_still_needs_the_samples_that_95_percent_takes() {
    let eager = WithinRound {
        min_samples: 1,
        ..WITHIN
    };
    assert_eq!(eager.decide(&[100.0; 5], 0), Decision::Continue);
    assert_eq!(
        eager.decide(&[100.0; 6], 0),
        Decision::Stop(StopReason::Precise)
    );
}

#[test]
fn noise_goes_on_to_the_largest_count_or_the_budget() {
    assert_eq!(WITHIN.decide(&noisy(99), 999), Decision::Continue);
    assert_eq!(
        WITHIN.decide(&noisy(99), 1_000),
        Decision::Stop(StopReason::Budget)
    );
    assert_eq!(
        WITHIN.decide(&noisy(100), 1_000),
        Decision::Stop(StopReason::MaxSamples)
    );
    assert_eq!(
        WITHIN.decide(&[], 1_000),
        Decision::Stop(StopReason::Budget)
    );
    assert_eq!(WITHIN.decide(&[], 0), Decision::Continue);
    assert_eq!(WITHIN.decide(&[f64::NAN; 50], 0), Decision::Continue);
}

#[test]
fn rounds_come_in_whole_blocks() {
    let policy = ACROSS;
    assert_eq!(policy.decide(&[]), Decision::Continue);
    assert_eq!(policy.decide(&[100.0; 5]), Decision::Continue);
    assert_eq!(
        policy.decide(&[100.0; 6]),
        Decision::Stop(StopReason::Precise)
    );
    assert_eq!(policy.decide(&[100.0; 7]), Decision::Continue);
    assert_eq!(policy.decide(&noisy(18)), Decision::Continue);
    assert_eq!(
        policy.decide(&noisy(20)),
        Decision::Stop(StopReason::MaxRounds)
    );
    assert_eq!(
        policy.decide(&[f64::NAN; 20]),
        Decision::Stop(StopReason::MaxRounds)
    );
}

#[test]
fn the_maximum_is_never_passed() {
    for (min_rounds, max_rounds, block) in [
        (6, 7, 2),
        (6, 4, 2),
        (1, 1, 2),
        (3, 10, 0),
        (6, 0, 2),
        (4, 9, 4),
    ] {
        let policy = AcrossRounds {
            target_relative_half_width: 0.01,
            min_rounds,
            max_rounds,
            block,
        };
        let mut rounds = Vec::new();
        while policy.decide(&rounds) == Decision::Continue {
            rounds.push(100.0 + 50.0 * (rounds.len() % 2) as f64);
            assert!(rounds.len() <= max_rounds);
        }
        assert_eq!(
            policy.decide(&rounds),
            Decision::Stop(StopReason::MaxRounds)
        );
    }
}

/// Samples around 100 with a deviation of 0.5, each keeping `memory` of the one before (AR(1)).
fn remembering(memory: f64, count: usize) -> Vec<f64> {
    let mut state = 0.0_f64;
    let mut bits = 7_u64;
    let mut noise = || {
        // Twelve uniform numbers make a normal one, near enough.
        let sum: f64 = (0..12)
            .map(|_| {
                bits = bits
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (bits >> 11) as f64 / (1_u64 << 53) as f64
            })
            .sum();
        sum - 6.0
    };
    let fresh = (1.0 - memory * memory).sqrt();
    let step = |_| {
        state = memory * state + fresh * noise();
        100.0 + 0.5 * state
    };
    (0..count + 50).map(step).skip(50).collect()
}

#[test]
fn samples_that_repeat_each_other_count_for_less() {
    let (alone, alike) = (remembering(0.0, 400), remembering(0.7, 400));
    assert!(widening(&alone) < 1.3, "{}", widening(&alone));
    // (1 + 0.7) / (1 - 0.7) is 5.7: samples worth a sixth, an interval 2.4 times as wide.
    assert!(
        (1.8..3.2).contains(&widening(&alike)),
        "{}",
        widening(&alike)
    );
    let strict = WithinRound {
        target_relative_half_width: 0.001,
        max_samples: 5_000,
        ..WITHIN
    };
    let until_precise = |samples: &[f64]| {
        (10..samples.len()).find(|&count| strict.decide(&samples[..count], 0) != Decision::Continue)
    };
    let independent = until_precise(&remembering(0.0, 4_000)).unwrap();
    let correlated = until_precise(&remembering(0.7, 4_000)).unwrap();
    assert!(
        correlated > 2 * independent,
        "{correlated} against {independent}"
    );
}

#[test]
fn widening_never_narrows_and_rubbish_widens_nothing() {
    for samples in [&noisy(50)[..], &[1.0; 9], &[], &[f64::NAN; 9]] {
        assert!(widening(samples) >= 1.0);
    }
}

#[test]
fn a_round_need_be_no_more_precise_than_a_third_of_what_rounds_differ_by() {
    assert!((round_target(0.01, None) - 0.01).abs() < 1e-12);
    assert!(
        (round_target(0.01, Some(0.06)) - 0.02).abs() < 1e-12,
        "looser where rounds differ"
    );
    assert!(
        (round_target(0.01, Some(0.006)) - 0.002).abs() < 1e-12,
        "stricter where they are alike"
    );
    assert!(
        (round_target(0.01, Some(0.0)) - 0.001).abs() < 1e-12,
        "and never below a tenth"
    );
}

#[test]
fn what_two_arms_share_is_no_deviation_of_their_pairs() {
    let drifting = [100.0, 110.0, 121.0, 133.1];
    let slower = drifting.map(|median| 1.5 * median);
    assert!(deviation_between_rounds(&drifting).unwrap() > 0.1);
    assert!(deviation_of_pairs(&drifting, &slower).unwrap() < 1e-12);
    assert_eq!(deviation_between_rounds(&drifting[..2]), None);
    assert_eq!(deviation_of_pairs(&drifting, &slower[..3]), None);
    assert_eq!(deviation_between_rounds(&[1.0, 0.0, 1.0]), None);
}

#[test]
fn paired_rounds_stop_by_their_ratio() {
    let policy = ACROSS;
    let (a, b) = (
        noisy(6),
        noisy(6).iter().map(|x| 2.0 * x).collect::<Vec<_>>(),
    );
    assert_eq!(policy.decide(&a), Decision::Continue);
    assert_eq!(
        policy.decide_paired(&a, &b),
        Decision::Stop(StopReason::Precise)
    );
    assert_eq!(policy.decide_paired(&a, &[100.0; 6]), Decision::Continue);
    assert_eq!(policy.decide_paired(&a[..4], &b[..4]), Decision::Continue);
    let spent = policy.decide_paired(&noisy(20), &[100.0; 20]);
    assert_eq!(spent, Decision::Stop(StopReason::MaxRounds));
}
